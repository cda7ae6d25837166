package push_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
)

// wary is a store that has something to say of each value that it takes.
type wary struct{ *vault }

// Write implements providers.Writer.
func (s wary) Write(ctx context.Context, to providers.Target, v providers.Value, metadata json.RawMessage) error {
	providers.Warn(ctx, "metadata.place: the secret stays where it is; remove it")
	return s.vault.Write(ctx, to, v, metadata)
}

// TestWarnings wants what a store says of a value that it has taken to be told
// by an Event, and the PushSecret to be in order.
func TestWarnings(t *testing.T) {
	v := &vault{values: map[providers.Target]string{}}
	b := startWith(t, providers.Registry{"example": func(context.Context, providers.Config) (providers.Reader, error) { return wary{v}, nil }})
	b.vault = v
	b.apply("metadata: {name: store}\nspec: {retrySettings: {maxRetries: 1, retryInterval: 1s}, provider: {example: {}}}", &esv1.SecretStore{})
	b.apply("metadata: {name: db}\nstringData: {a: value}", &corev1.Secret{})
	b.apply("metadata: {name: push}\nspec: {secretStoreRefs: [{name: store}], selector: {secret: {name: db}}, data: [{match: {secretKey: a, remoteRef: {remoteKey: app}}}]}", &esv1alpha1.PushSecret{})
	b.ready("push", "True/Synced/PushSecret synced successfully")
	const want = `spec.data[0].match: "app" in SecretStore "store": metadata.place: the secret stays where it is; remove it`
	b.warned("push", "Synced "+want)
}

// warned waits until the warnings about a PushSecret are these, each a reason
// and a message.
func (b *bench) warned(name string, want ...string) {
	b.t.Helper()
	b.eventually("Events that warn", func() string {
		var events corev1.EventList
		if err := b.List(b.t.Context(), &events, client.InNamespace(b.ns)); err != nil {
			b.t.Fatal(err)
		}
		var got []string
		for _, e := range events.Items {
			if e.InvolvedObject.Name == name && e.Type == corev1.EventTypeWarning {
				got = append(got, e.Reason+" "+e.Message)
			}
		}
		return cmp.Diff(want, got)
	})
}

// TestGeneratorWarnings wants what there is to say of the settings of a
// generator to be told like that of a store, once in a generation.
func TestGeneratorWarnings(t *testing.T) {
	b := startWith(t, providers.Registry{"example": func(context.Context, providers.Config) (providers.Reader, error) {
		return &vault{values: map[providers.Target]string{}}, nil
	}})
	b.apply("metadata: {name: store}\nspec: {provider: {example: {}}}", &esv1.SecretStore{})
	b.apply("metadata: {name: wary}\nspec: {path: wary, provider: {server: https://vault}}", &genv1.VaultDynamicSecret{})
	b.apply("metadata: {name: push}\nspec: {refreshInterval: 1s, secretStoreRefs: [{name: store}], selector: {generatorRef: {kind: VaultDynamicSecret, name: wary}}, data: [{match: {secretKey: number, remoteRef: {remoteKey: app}}}]}", &esv1alpha1.PushSecret{})
	first := b.ready("push", "True").Status.RefreshTime
	b.eventually("another push", func() string {
		ps := &esv1alpha1.PushSecret{}
		if err := b.Get(t.Context(), client.ObjectKey{Namespace: b.ns, Name: "push"}, ps); err != nil || !ps.Status.RefreshTime.After(first.Time) {
			return "the first one still"
		}
		return ""
	})
	b.warned("push", `Synced spec.selector.generatorRef: VaultDynamicSecret "wary": spec.provider.auth.ldap: it makes no difference`)
}
