package generators

import (
	"context"
	"errors"
	"fmt"
	"strings"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/providers"
)

// make makes values as the spec of a kind says.
func (g *Generators) make(ctx context.Context, kind string, spec any, config providers.Config) (providers.Made, error) {
	switch s := spec.(type) {
	case *genv1.PasswordSpec:
		return passwords(s)
	case *genv1.UUIDSpec:
		return providers.Made{Values: map[string]providers.Value{"uuid": providers.NewValue([]byte(uuid()))}}, nil
	case *genv1.SSHKeySpec:
		return sshKey(s)
	case *genv1.FakeSpec:
		made := providers.Made{Values: make(map[string]providers.Value, len(s.Data))}
		for key, value := range s.Data {
			made.Values[key] = providers.NewValue([]byte(value))
		}
		return made, nil
	case *genv1.WebhookSpec:
		return g.ask(ctx, s, config)
	}
	backend := g.Backends[kind]
	if backend == nil {
		return providers.Made{}, fmt.Errorf("kind %q: %w: this build has no backend for it", kind, ErrUnsupported)
	}
	if s, ok := spec.(*genv1.VaultDynamicSecretSpec); ok {
		tries, err := stores.Retries(s.RetrySettings)
		if err != nil {
			return providers.Made{}, err
		}
		backend = tries.Generate(backend)
	}
	return backend(ctx, spec, config)
}

// ask has a webhook answer with a JSON object.
func (g *Generators) ask(ctx context.Context, s *genv1.WebhookSpec, config providers.Config) (providers.Made, error) {
	config.Provider = &esv1.SecretStoreProvider{Webhook: s.WebhookProvider.DeepCopy()}
	reader, err := g.Registry.Open(ctx, config)
	if err != nil {
		return providers.Made{}, err
	}
	answer, err := reader.Read(ctx, providers.Ref{})
	if err != nil {
		return providers.Made{}, err
	}
	values, err := providers.Object(answer.Bytes())
	if err != nil {
		return providers.Made{}, fmt.Errorf("what the webhook answers: %w: let it answer with one, or set spec.result.jsonPath to where there is one", err)
	}
	return providers.Made{Values: values}, nil
}

// prefixes are what backends call the spec of a generator: a store's.
var prefixes = map[string]struct{ theirs, ours string }{
	genv1.ECRAuthorizationTokenKind: {"spec.provider.aws.", "spec."},
	genv1.STSSessionTokenKind:       {"spec.provider.aws.", "spec."},
	genv1.GCRAccessTokenKind:        {"spec.provider.gcpsm.", "spec."},
	genv1.VaultDynamicSecretKind:    {"spec.provider.vault.", "spec.provider."},
	genv1.WebhookKind:               {"spec.provider.webhook.", "spec."},
}

// renamed is an error of a backend with the fields as the generator has them.
type renamed struct {
	error

	text string
}

// Error implements error.
func (r renamed) Error() string { return r.text }

// Unwrap gives the class.
func (r renamed) Unwrap() error { return r.error }

// inSpec names the fields of a generator in an error. That there is nothing to
// make does not pass for a secret that is gone, which may be deleted here, too.
func inSpec(kind string, err error) error {
	if errors.Is(err, providers.ErrNotFound) {
		err = fmt.Errorf("%w: %v", providers.ErrUnavailable, err) //nolint:errorlint // the class is hidden on purpose
	}
	if prefixes[kind].theirs == "" {
		return err
	}
	return renamed{err, strings.TrimPrefix(fieldsOf(kind, err.Error()), `read secret "": `)}
}

// fieldsOf gives the fields in a text of a backend the names that they have in
// a generator.
func fieldsOf(kind, text string) string {
	p := prefixes[kind]
	if p.theirs == "" {
		return text
	}
	return strings.ReplaceAll(text, p.theirs, p.ours)
}
