package push_test

import (
	"context"
	"encoding/json"
	"testing"

	corev1 "k8s.io/api/core/v1"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
)

// below is a store that keeps all it gets below a path.
type below struct {
	*vault

	path string
}

// Write implements providers.Writer.
func (s below) Write(ctx context.Context, to providers.Target, v providers.Value, metadata json.RawMessage) error {
	to.Path = s.path + to.Path
	return s.vault.Write(ctx, to, v, metadata)
}

// TestSetsOfStores has entries of dataTo for one store of two, for one that is
// labelled later, and for none: that is told of, and keeps no other entry from
// being pushed.
func TestSetsOfStores(t *testing.T) {
	v := &vault{values: map[providers.Target]string{}}
	b := startWith(t, providers.Registry{
		"first":  func(context.Context, providers.Config) (providers.Reader, error) { return below{v, "1/"}, nil },
		"second": func(context.Context, providers.Config) (providers.Reader, error) { return below{v, "2/"}, nil },
	})
	b.vault = v
	b.apply("metadata: {name: first}\nspec: {provider: {first: {}}}", &esv1.SecretStore{})
	b.apply("metadata: {name: second}\nspec: {provider: {second: {}}}", &esv1.SecretStore{})
	b.apply("metadata: {name: db}\nstringData: {a: '1', b: '2', c: '3'}", &corev1.Secret{})
	b.apply(`
metadata: {name: push}
spec:
  secretStoreRefs: [{name: first}, {name: second}]
  selector: {secret: {name: db}}
  data: [{match: {secretKey: a, remoteRef: {remoteKey: a}}}]
  dataTo:
  - {storeRef: {name: second}, match: {regexp: b}}
  - {storeRef: {labelSelector: {matchLabels: {team: mine}}}, match: {regexp: c}}
`, &esv1alpha1.PushSecret{})
	b.ready("push", "True/Synced/PushSecret synced successfully")
	b.holds(`{"1/a":"1","2/a":"1","2/b":"2"}`)
	b.warned("push", "Synced spec.dataTo[1].storeRef.labelSelector: none of the stores that spec.secretStoreRefs choose has these labels: nothing of this entry was pushed; label a store, or remove the entry")
	b.change(&esv1.SecretStore{}, "first", `{"metadata":{"labels":{"team":"mine"}}}`)
	b.holds(`{"1/a":"1","1/c":"3","2/a":"1","2/b":"2"}`)
}
