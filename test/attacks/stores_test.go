package attacks

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/externalsecrets/generators"
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/providers"
)

// namespaced are the references that can name a namespace.
var namespaced = map[reflect.Type]bool{
	reflect.TypeFor[esv1.SecretKeySelector]():      true,
	reflect.TypeFor[esv1.ServiceAccountSelector](): true,
	reflect.TypeFor[esv1.CAProvider]():             true,
	reflect.TypeFor[esv1.GCPSecretName]():          true,
	reflect.TypeFor[esv1.GCPConfigMapKey]():        true,
}

// The namespace of who uses a store or generator, and another one.
const (
	users     = "users"
	elsewhere = "elsewhere"
)

// name gives a reference a name, and a namespace.
func name(v reflect.Value, namespace string) {
	v.FieldByName("Name").SetString("theirs")
	if field := v.FieldByName("Namespace"); field.Kind() == reflect.String {
		field.SetString(namespace)
	} else if namespace != "" {
		field.Set(reflect.ValueOf(&namespace))
	}
	if kind := v.FieldByName("Type"); kind.IsValid() {
		kind.SetString("Secret")
	}
}

// cluster has one object, of our own kinds, and of all others nothing; it
// remembers where it was asked for those.
type cluster struct {
	client.Client

	object client.Object
	looked []string
}

// Get implements client.Reader.
func (c *cluster) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if reflect.TypeOf(into) == reflect.TypeOf(c.object) && key == client.ObjectKeyFromObject(c.object) {
		reflect.ValueOf(into).Elem().Set(reflect.ValueOf(c.object).Elem())
		return nil
	}
	c.looked = append(c.looked, key.Namespace)
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

// SubResource implements client.Client.
func (c *cluster) SubResource(string) client.SubResourceClient { return tokens{c: c} }

type tokens struct {
	client.SubResourceClient

	c *cluster
}

// Create implements client.SubResourceClient.
func (t tokens) Create(ctx context.Context, account, _ client.Object, _ ...client.SubResourceCreateOption) error {
	return t.c.Get(ctx, client.ObjectKeyFromObject(account), account)
}

// verdict is what a reference to a namespace should come to.
type verdict struct {
	namespace string // that the reference names
	looks     string // where it is looked for; "" if it is refused first
	err       error
}

// expect compares what came of a reference with its verdict.
func (v verdict) expect(t *testing.T, field string, c *cluster, err error) {
	t.Helper()
	if got := strings.Join(c.looked, " "); got != v.looks || !errors.Is(err, v.err) {
		t.Errorf("namespace %q: looked in %q, got %v, want it in %q, and %v", v.namespace, got, err, v.looks, v.err)
	}
	if v.looks == "" && !strings.Contains(err.Error(), field+":") && !strings.Contains(err.Error(), field+".namespace:") {
		t.Errorf("namespace %q: %v does not name %s", v.namespace, err, field)
	}
}

func tryStore(t *testing.T, p place) {
	t.Helper()
	verdicts := []verdict{{elsewhere, "", providers.ErrInvalid}, {users, users, stores.ErrReference}, {"", users, stores.ErrReference}}
	if p.kind.Name() == esv1.ClusterSecretStoreKind {
		verdicts = []verdict{{elsewhere, elsewhere, stores.ErrReference}, {"", users, stores.ErrReference}}
		if p.leaf == reflect.TypeFor[esv1.CAProvider]() {
			verdicts[1] = verdict{"", "", providers.ErrInvalid} // whom to trust is not for its users to say
		}
	}
	for _, v := range verdicts {
		c := &cluster{object: reflect.New(p.kind).Interface().(client.Object)}
		c.object.SetName("store")
		if p.kind.Name() == esv1.SecretStoreKind {
			c.object.SetNamespace(users)
		}
		plant(reflect.ValueOf(c.object), p.path, func(ref reflect.Value) { name(ref, v.namespace) })
		s := &stores.Stores{Client: c, Reader: c, Metadata: c}
		_, err := s.Get(t.Context(), p.kind.Name(), users, "store")
		v.expect(t, p.String(), c, err)
	}
}

func tryGenerator(t *testing.T, p place) {
	t.Helper()
	for _, v := range []verdict{{elsewhere, "", providers.ErrInvalid}, {users, users, stores.ErrReference}, {"", users, stores.ErrReference}} {
		c := &cluster{object: reflect.New(p.kind).Interface().(client.Object)}
		c.object.SetName("generator")
		c.object.SetNamespace(users)
		plant(reflect.ValueOf(c.object), p.path, func(ref reflect.Value) { name(ref, v.namespace) })
		field := p.String()
		if cluster, ok := c.object.(*genv1.ClusterGenerator); ok {
			c.object.SetNamespace("")
			spec, _ := reflect.TypeFor[genv1.GeneratorSpec]().FieldByName(p.path[2])
			cluster.Spec.Kind = p.path[2]
			field = "spec." + p.from(spec.Type, p.path[3:])
		}
		s := &stores.Stores{Client: c, Reader: c, Metadata: c}
		g := &generators.Generators{Reader: c, References: s.References, Registry: providers.Registry{"webhook": curious}, Backends: providers.Generators{}}
		for kind := range generators.Kinds() {
			g.Backends[kind] = func(ctx context.Context, spec any, config providers.Config) (providers.Made, error) {
				return providers.Made{}, ask(ctx, reflect.ValueOf(spec), config.References)
			}
		}
		_, err := g.Generate(t.Context(), users, esv1.GeneratorRef{Kind: p.kind.Name(), Name: "generator"})
		v.expect(t, field, c, err)
	}
}

// curious is a backend that reads all that its settings refer to.
func curious(ctx context.Context, config providers.Config) (providers.Reader, error) {
	return nil, ask(ctx, reflect.ValueOf(config.Provider.Webhook), config.References)
}

// ask reads all that settings refer to, and returns the first error.
func ask(ctx context.Context, v reflect.Value, refs providers.References) error {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return ask(ctx, v.Elem(), refs)
	case reflect.Slice:
		for i := range v.Len() {
			if err := ask(ctx, v.Index(i), refs); err != nil {
				return err
			}
		}
	case reflect.Struct:
		if namespaced[v.Type()] {
			return read(ctx, v.Interface(), refs)
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				if err := ask(ctx, v.Field(i), refs); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// read reads what a reference means, if there is one.
func read(ctx context.Context, ref any, refs providers.References) error {
	var err error
	switch r := ref.(type) {
	case esv1.SecretKeySelector:
		if r.Name != "" {
			_, err = refs.Secret(ctx, r)
		}
	case esv1.ServiceAccountSelector:
		if r.Name != "" {
			_, err = refs.Annotations(ctx, r)
		}
	case esv1.CAProvider:
		if r.Name != "" {
			_, err = refs.CA(ctx, r)
		}
	case esv1.GCPSecretName:
		if r.Name != "" {
			_, err = refs.Keys(ctx, esv1.SecretKeySelector{Name: r.Name, Namespace: &r.Namespace})
		}
	case esv1.GCPConfigMapKey:
		if r.Name != "" {
			_, err = refs.CA(ctx, esv1.CAProvider{Type: esv1.CAConfigMap, Name: r.Name, Namespace: &r.Namespace})
		}
	}
	return err
}
