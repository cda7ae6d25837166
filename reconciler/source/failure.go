package source

import (
	"context"
	"errors"
	"fmt"
	"strings"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// classify tells what can cure a failure: a change of the spec or the Secret,
// the next interval, or another try.
func classify(r *sourcev1.GitRepository, err error, f fetching) error {
	later := r.Spec.Interval.Duration
	url := r.Spec.URL

	var (
		wrong   *invalid
		refused *untrusted
		ref     *refError
		tree    *treeError
		host    *hostError
		app     *appError
		module  *moduleError
		login   *loginError
	)
	at := url // what the failure is about
	if errors.As(err, &module) {
		at += ": submodule " + module.path
	}
	switch {
	case errors.As(err, &wrong):
		return reconciler.Final(wrong.reason, err)
	case errors.As(err, &login):
		return login.error
	case errors.As(err, &refused):
		return reconciler.Wait(refused.reason, later, fmt.Errorf("%s: %w: sign it with a key of the Secret %s/%s, or add the key there", url, refused, r.Namespace, r.Spec.Verification.SecretRef.Name))
	case errors.As(err, &ref):
		return reconciler.Wait(reasonOperation, later, err)
	case errors.As(err, &app):
		return reconciler.Wait(reasonAuthentication, later, app)
	case errors.As(err, &host):
		return reconciler.Wait(reasonAuthentication, later, fmt.Errorf("%s: %w", url, host))
	case errors.Is(err, errTooLarge):
		return reconciler.Wait(reasonTooLarge, later, fmt.Errorf("%s: %w", url, err))
	case errors.As(err, &tree):
		return reconciler.Wait(sourcev1.InvalidPathReason, later, fmt.Errorf("%s: %w", url, err))
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed), isSSHDenied(err):
		if f.state != nil {
			f.state.passes.Drop()
		}
		return reconciler.Wait(reasonAuthentication, later, fmt.Errorf("%s: %s", at, denied(r)))
	case Untrusted(err):
		return reconciler.Wait(reasonOperation, later, fmt.Errorf("%s: the server's certificate is not trusted: put its authority into ca.crt of the Secret of spec.secretRef", at))
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return reconciler.Wait(reasonOperation, later, fmt.Errorf("%s: there is no such repository, or the credentials do not show it: check spec.url and spec.secretRef", at))
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return reconciler.Wait(reasonOperation, later, fmt.Errorf("%s: the repository is empty: push a commit", at))
	case errors.Is(err, context.DeadlineExceeded):
		return reconciler.Temporary(reasonOperation, fmt.Errorf("%s: no answer within %s: see that the server is well, or raise spec.timeout", at, timeout(r)))
	default:
		return reconciler.Temporary(reasonOperation, fmt.Errorf("%s: %s", url, f.redact(err.Error())))
	}
}

func denied(r *sourcev1.GitRepository) string {
	if r.Spec.Provider == sourcev1.GitProviderAzure {
		return "the server refuses the token of " + r.Spec.Provider + ": give its identity the right to read the repository"
	}
	if r.Spec.SecretRef == nil {
		return "the server asks for credentials: name a Secret with them in spec.secretRef"
	}
	return fmt.Sprintf("the server refuses the credentials of the Secret %s/%s: put the right ones into it", r.Namespace, r.Spec.SecretRef.Name)
}

// isSSHDenied knows the error of golang.org/x/crypto/ssh, which has no type,
// for a server that takes none of our keys.
func isSSHDenied(err error) bool {
	return strings.Contains(err.Error(), "ssh: unable to authenticate")
}

// redact takes all credentials of a fetch out of a text.
func (f fetching) redact(text string) string {
	text = redact(redact(text, f.secret), f.proxy)
	if f.state != nil && f.state.token.value != "" {
		text = strings.ReplaceAll(text, f.state.token.value, "[secret]")
	}
	if f.state != nil && f.state.passes.pass.Password != "" {
		text = strings.ReplaceAll(text, f.state.passes.pass.Password, "[secret]")
	}
	return text
}

// redact takes credentials out of a text that a server or a library made.
func redact(text string, secret credentials) string {
	for _, key := range []string{keyPassword, keyToken, keyIdentity, keyKey, keyAppKey} {
		if value := strings.TrimSpace(string(secret[key])); value != "" {
			text = strings.ReplaceAll(text, value, "[secret]")
		}
	}
	return text
}
