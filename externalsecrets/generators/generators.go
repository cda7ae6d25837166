// Package generators makes values up, as the kinds of
// generators.external-secrets.io describe them.
package generators

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/providers"
)

// Errors of this package, besides those of package providers. Their text names
// fields, never what was made.
var (
	ErrInvalid     = errors.New("invalid generator")             // it can never work as written
	ErrMissing     = errors.New("no such generator")             // the reference names nothing
	ErrUnsupported = errors.New("not supported by this version") // another kind
)

// timeout is for what a generator asks of a service: a login and a request.
const timeout = 30 * time.Second

// Generators makes values. Reader is required; without the others, there are
// only the kinds that ask no service. It is safe for use by many goroutines.
type Generators struct {
	Reader client.Reader // of generators
	// References are what objects of a namespace may refer to.
	References func(namespace string) providers.References
	Registry   providers.Registry   // has the webhook
	Backends   providers.Generators // the kinds that ask a cloud
	// Ambient reports whether objects of a namespace may use the controller's
	// own identity in a cloud. Nil: none may; a ClusterGenerator may anyway.
	Ambient func(namespace string) bool
	// LinkLocal allows connections to link-local addresses.
	LinkLocal bool
	// Class is that of this controller; generators of another are left alone.
	Class string
}

// Kinds returns an empty object of each kind that is served, by its name.
func Kinds() map[string]client.Object {
	return map[string]client.Object{
		genv1.ClusterGeneratorKind:      &genv1.ClusterGenerator{},
		genv1.ECRAuthorizationTokenKind: &genv1.ECRAuthorizationToken{},
		genv1.FakeKind:                  &genv1.Fake{},
		genv1.GCRAccessTokenKind:        &genv1.GCRAccessToken{},
		genv1.PasswordKind:              &genv1.Password{},
		genv1.SSHKeyKind:                &genv1.SSHKey{},
		genv1.STSSessionTokenKind:       &genv1.STSSessionToken{},
		genv1.UUIDKind:                  &genv1.UUID{},
		genv1.VaultDynamicSecretKind:    &genv1.VaultDynamicSecret{},
		genv1.WebhookKind:               &genv1.Webhook{},
	}
}

// Generate reads the generator that ref names for an object in namespace, and
// lets it make values. The warnings name the generator.
func (g *Generators) Generate(ctx context.Context, namespace string, ref esv1.GeneratorRef) (providers.Made, error) {
	kind, spec, err := g.spec(ctx, namespace, ref)
	if err != nil {
		return providers.Made{}, err
	}
	// All of them, before anyone is asked for anything.
	if err := stores.Stays(spec, namespace); err != nil {
		return providers.Made{}, fmt.Errorf("%s %q: %w", ref.Kind, ref.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	config := providers.Config{
		Store:     providers.Store{Kind: ref.Kind, Name: ref.Name, Namespace: namespace},
		Ambient:   ref.Kind == genv1.ClusterGeneratorKind || g.Ambient != nil && g.Ambient(namespace),
		LinkLocal: g.LinkLocal,
	}
	if g.References != nil {
		config.References = g.References(namespace)
	}
	listening, heard := providers.Listen(ctx)
	made, err := g.make(listening, kind, spec, config)
	if err != nil {
		return providers.Made{}, fmt.Errorf("%s %q: %w", ref.Kind, ref.Name, inSpec(kind, err))
	}
	for _, warning := range heard.All() {
		made.Warnings = append(made.Warnings, fmt.Sprintf("%s %q: %s", ref.Kind, ref.Name, fieldsOf(kind, warning)))
	}
	return made, nil
}

// Serves reports whether a generator is this controller's to serve. One that
// cannot be read is, so that someone says so.
func (g *Generators) Serves(ctx context.Context, namespace string, ref esv1.GeneratorRef) bool {
	_, spec, err := g.spec(ctx, namespace, ref)
	if err != nil {
		return true
	}
	class := ""
	switch s := spec.(type) {
	case *genv1.FakeSpec:
		class = s.Controller
	case *genv1.VaultDynamicSecretSpec:
		class = s.Controller
	}
	return class == "" || class == g.Class
}

// Refers reports whether a generator refers to an object of a kind, which is
// Secret, ConfigMap or ServiceAccount, in the namespace of who uses it.
func (g *Generators) Refers(ctx context.Context, namespace string, ref esv1.GeneratorRef, kind, name string) bool {
	_, spec, err := g.spec(ctx, namespace, ref)
	return err == nil && stores.Refers(spec, kind, name)
}

// spec reads a generator: its kind, or that of what a ClusterGenerator stands
// for, and its spec.
func (g *Generators) spec(ctx context.Context, namespace string, ref esv1.GeneratorRef) (string, any, error) {
	// Manifests have that of the stores, too: External Secrets Operator looks at
	// the kind only.
	if group, _, _ := strings.Cut(ref.APIVersion, "/"); group != "" && group != genv1.GroupVersion.Group && group != esv1.GroupVersion.Group {
		return "", nil, fmt.Errorf("apiVersion %q: %w: use %s", ref.APIVersion, ErrUnsupported, genv1.GroupVersion)
	}
	obj := Kinds()[ref.Kind]
	if obj == nil {
		return "", nil, unsupported("kind", ref.Kind)
	}
	key, where := client.ObjectKey{Namespace: namespace, Name: ref.Name}, "in this namespace"
	if ref.Kind == genv1.ClusterGeneratorKind {
		key.Namespace, where = "", "in this cluster"
	}
	err := g.Reader.Get(ctx, key, obj)
	if apierrors.IsNotFound(err) {
		return "", nil, fmt.Errorf("%w: %s %q does not exist %s: create it, or correct the reference", ErrMissing, ref.Kind, ref.Name, where)
	}
	if err != nil {
		return "", nil, fmt.Errorf("read %s %q: %w", ref.Kind, ref.Name, err)
	}
	cluster, ok := obj.(*genv1.ClusterGenerator)
	if !ok {
		return ref.Kind, specOf(obj), nil
	}
	spec, err := chosen(&cluster.Spec)
	if err != nil {
		return "", nil, fmt.Errorf("%s %q: %w", ref.Kind, ref.Name, err)
	}
	return cluster.Spec.Kind, spec, nil
}

func unsupported(field, kind string) error {
	var kinds []string
	for k := range Kinds() {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	return fmt.Errorf("%s %q: %w, which has %s", field, kind, ErrUnsupported, strings.Join(kinds, ", "))
}

func specOf(obj client.Object) any {
	switch o := obj.(type) {
	case *genv1.ECRAuthorizationToken:
		return &o.Spec
	case *genv1.Fake:
		return &o.Spec
	case *genv1.GCRAccessToken:
		return &o.Spec
	case *genv1.Password:
		return &o.Spec
	case *genv1.SSHKey:
		return &o.Spec
	case *genv1.STSSessionToken:
		return &o.Spec
	case *genv1.UUID:
		return &o.Spec
	case *genv1.VaultDynamicSecret:
		return &o.Spec
	case *genv1.Webhook:
		return &o.Spec
	default:
		return nil
	}
}

// chosen returns the spec in a ClusterGenerator that belongs to its kind.
func chosen(spec *genv1.ClusterGeneratorSpec) (any, error) {
	s := &spec.Generator
	all := map[string]struct {
		field string
		set   bool
		spec  any
	}{
		genv1.ECRAuthorizationTokenKind: {"ecrAuthorizationTokenSpec", s.ECRAuthorizationToken != nil, s.ECRAuthorizationToken},
		genv1.FakeKind:                  {"fakeSpec", s.Fake != nil, s.Fake},
		genv1.GCRAccessTokenKind:        {"gcrAccessTokenSpec", s.GCRAccessToken != nil, s.GCRAccessToken},
		genv1.PasswordKind:              {"passwordSpec", s.Password != nil, s.Password},
		genv1.SSHKeyKind:                {"sshKeySpec", s.SSHKey != nil, s.SSHKey},
		genv1.STSSessionTokenKind:       {"stsSessionTokenSpec", s.STSSessionToken != nil, s.STSSessionToken},
		genv1.UUIDKind:                  {"uuidSpec", s.UUID != nil, s.UUID},
		genv1.VaultDynamicSecretKind:    {"vaultDynamicSecretSpec", s.VaultDynamicSecret != nil, s.VaultDynamicSecret},
		genv1.WebhookKind:               {"webhookSpec", s.Webhook != nil, s.Webhook},
	}
	mine, ok := all[spec.Kind]
	switch {
	case !ok:
		return nil, unsupported("spec.kind", spec.Kind)
	case !mine.set:
		return nil, fmt.Errorf("spec.generator.%s: %w: it is missing, and spec.kind is %s", mine.field, ErrInvalid, spec.Kind)
	default:
		return mine.spec, nil
	}
}
