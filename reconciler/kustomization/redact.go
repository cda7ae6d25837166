package kustomization

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// shortest is the length in bytes below which a value is not looked for in
// messages: a port or "yes" would blank out half of them.
const shortest = 6

// redact takes values that were substituted from Secrets or decrypted out of
// an error that is on its way to a condition. What is left keeps the loop's
// class, but not the chain.
func (r *run) redact(err error) error {
	if err == nil {
		return nil
	}
	text := hide(err.Error(), r.state.rendered.secrets)
	if text == err.Error() {
		return err
	}
	if e, ok := errors.AsType[*reconciler.Error](err); ok {
		return &reconciler.Error{Reason: e.Reason, After: e.After, Final: e.Final, Progress: e.Progress, Err: errors.New(text)}
	}
	return errors.New(text)
}

// hide replaces secret values in a text, also as base64, as JSON writes them,
// and line by line: who repeats a value may repeat a part of it.
func hide(text string, secrets []string) string {
	for _, secret := range secrets {
		for _, form := range forms(secret) {
			if len(form) >= shortest {
				text = strings.ReplaceAll(text, form, "[secret]")
			}
		}
	}
	return text
}

func forms(secret string) []string {
	all := []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))}
	if raw, err := base64.StdEncoding.DecodeString(secret); err == nil {
		all = append(all, string(raw))
	}
	if quoted, err := json.Marshal(secret); err == nil {
		all = append(all, strings.Trim(string(quoted), `"`))
	}
	if strings.Contains(secret, "\n") {
		all = append(all, strings.Split(secret, "\n")...)
	}
	return all
}
