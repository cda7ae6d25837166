package generators

import (
	"context"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
)

// TestWarnings wants what a backend says of settings to be handed on, in the
// fields of the generator.
func TestWarnings(t *testing.T) {
	s := runtime.NewScheme()
	if err := genv1.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	role := &genv1.VaultDynamicSecret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "role"}}
	g := &Generators{Reader: fake.NewClientBuilder().WithScheme(s).WithObjects(role).Build(), Backends: providers.Generators{genv1.VaultDynamicSecretKind: func(ctx context.Context, _ any, _ providers.Config) (providers.Made, error) {
		providers.Warn(ctx, "spec.provider.vault.auth.ldap: it makes no difference")
		return providers.Made{}, nil
	}}}
	made, err := g.Generate(t.Context(), "team", esv1.GeneratorRef{Kind: genv1.VaultDynamicSecretKind, Name: "role"})
	want := []string{`VaultDynamicSecret "role": spec.provider.auth.ldap: it makes no difference`}
	if err != nil || !slices.Equal(made.Warnings, want) {
		t.Errorf("got %q, %v, want %q", made.Warnings, err, want)
	}
}

func TestTold(t *testing.T) {
	var told Told
	obj := &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app", UID: "1", Generation: 1}}
	for i, step := range []struct {
		reason   string
		change   func()
		warnings []string
		want     int
	}{
		{"The first time it is told.", func() {}, []string{"a"}, 1},
		{"Not again.", func() {}, []string{"a"}, 0},
		{"Something else is.", func() {}, []string{"a", "b"}, 2},
		{"Nothing is no news.", func() {}, nil, 0},
		{"It is there again.", func() {}, []string{"a"}, 1},
		{"Another generation is told anew.", func() { obj.Generation++ }, []string{"a"}, 1},
		{"So is another object of the name.", func() { obj.UID = "2" }, []string{"a"}, 1},
		{"And one that was gone.", func() { told.Forget(client.ObjectKeyFromObject(obj)) }, []string{"a"}, 1},
	} {
		step.change()
		if got := told.News(obj, step.warnings); len(got) != step.want {
			t.Errorf("step %d: %s\ngot %q, want %d", i, step.reason, got, step.want)
		}
	}
}
