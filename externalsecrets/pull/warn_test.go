package pull_test

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
)

// TestGeneratorWarnings wants what there is to say of the settings of a
// generator to be told by an Event, once in a generation, and the
// ExternalSecret to be in order.
func TestGeneratorWarnings(t *testing.T) {
	b := newBench(t)
	b.makers = providers.Generators{genv1.VaultDynamicSecretKind: func(ctx context.Context, _ any, _ providers.Config) (providers.Made, error) {
		providers.Warn(ctx, "spec.provider.vault.auth.ldap: it makes no difference: auth.appRole counts; remove one of them")
		return providers.Made{Values: map[string]providers.Value{"a": providers.NewValue([]byte("b"))}}, nil
	}}
	b.run()
	b.apply("metadata: {name: role}\nspec: {path: database/creds/app, provider: {server: https://vault}}", &genv1.VaultDynamicSecret{})
	b.external("app", "refreshInterval: 1h\ndataFrom: [{sourceRef: {generatorRef: {kind: VaultDynamicSecret, name: role}}}]")
	b.ready("app", "True/SecretSynced/secret synced")
	told := func() int {
		n := 0
		var list corev1.EventList
		if err := b.List(t.Context(), &list, client.InNamespace(b.ns)); err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			if e.InvolvedObject.Name == "app" && e.Type == corev1.EventTypeWarning && e.Reason == esv1.ReasonSecretSynced &&
				e.Message == `VaultDynamicSecret "role": spec.provider.auth.ldap: it makes no difference: auth.appRole counts; remove one of them` {
				n += int(max(e.Count, 1))
			}
		}
		return n
	}
	b.eventually("the warning", func() bool { return told() == 1 })
	read := func(synced string) {
		b.eventually("another read", func() bool {
			es := &esv1.ExternalSecret{}
			return b.Get(t.Context(), b.key("app"), es) == nil && es.Status.SyncedResourceVersion != synced
		})
	}
	before := b.ready("app", "True").Status.SyncedResourceVersion
	b.change("app", func(es *esv1.ExternalSecret) { es.Annotations = map[string]string{"force-sync": "now"} })
	read(before)
	if got := told(); got != 1 {
		t.Errorf("after another read in the generation: told %d times, want once", got)
	}
	b.change("app", func(es *esv1.ExternalSecret) { es.Spec.Target.Name = "other" })
	b.eventually("the warning of the next generation", func() bool { return told() == 2 })
}
