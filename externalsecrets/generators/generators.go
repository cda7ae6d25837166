// Package generators makes values up, as the kinds of
// generators.external-secrets.io describe them.
package generators

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
)

// Errors of this package. Their text names fields, never what was made.
var (
	ErrInvalid     = errors.New("invalid generator")             // it can never work as written
	ErrMissing     = errors.New("no such generator")             // the reference names nothing
	ErrUnsupported = errors.New("not supported by this version") // another kind
)

// kinds are those that are served.
var kinds = []string{genv1.FakeKind, genv1.PasswordKind, genv1.SSHKeyKind, genv1.UUIDKind}

// Generate reads the generator that ref names in namespace, and lets it make
// values.
func Generate(ctx context.Context, reader client.Reader, namespace string, ref esv1.GeneratorRef) (map[string][]byte, error) {
	if ref.APIVersion != "" && ref.APIVersion != genv1.GroupVersion.String() {
		return nil, fmt.Errorf("apiVersion %q: %w: use %s", ref.APIVersion, ErrUnsupported, genv1.GroupVersion)
	}
	var obj client.Object
	switch ref.Kind {
	case genv1.PasswordKind:
		obj = &genv1.Password{}
	case genv1.UUIDKind:
		obj = &genv1.UUID{}
	case genv1.SSHKeyKind:
		obj = &genv1.SSHKey{}
	case genv1.FakeKind:
		obj = &genv1.Fake{}
	default:
		return nil, fmt.Errorf("kind %q: %w, which has %s", ref.Kind, ErrUnsupported, strings.Join(kinds, ", "))
	}
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, obj)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%w: %s %q does not exist in this namespace: create it, or correct the reference", ErrMissing, ref.Kind, ref.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %q: %w", ref.Kind, ref.Name, err)
	}
	values, err := generate(obj)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", ref.Kind, ref.Name, err)
	}
	return values, nil
}

func generate(obj client.Object) (map[string][]byte, error) {
	switch o := obj.(type) {
	case *genv1.Password:
		return passwords(&o.Spec)
	case *genv1.UUID:
		return map[string][]byte{"uuid": []byte(uuid())}, nil
	case *genv1.SSHKey:
		return sshKey(&o.Spec)
	case *genv1.Fake:
		values := make(map[string][]byte, len(o.Spec.Data))
		for key, value := range o.Spec.Data {
			values[key] = []byte(value)
		}
		return values, nil
	default:
		return nil, ErrUnsupported
	}
}
