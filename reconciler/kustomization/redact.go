package kustomization

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// shortest is the length in bytes below which a value is hidden only where the
// API server repeats a field's value: a port or "yes" would blank out half of
// a message.
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
			switch {
			case len(form) >= shortest:
				text = strings.ReplaceAll(text, form, "[secret]")
			case form != "":
				text = repeated(form).Replace(text)
			}
		}
	}
	return text
}

// repeated replaces a value where it stands as that of a field: quoted, or, if
// it is a number or a boolean, behind the words of the API server.
// Source: k8s.io/apimachinery/pkg/util/validation/field, Error.ErrorBody.
func repeated(form string) *strings.Replacer {
	return strings.NewReplacer(`"`+form+`"`, `"[secret]"`, " value: "+form+":", " value: [secret]:")
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
