package stores

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

func TestCapabilities(t *testing.T) {
	type (
		onlyReads struct{ providers.Reader }
		alsoPuts  struct{ providers.Writer }
	)
	store := &esv1.SecretStore{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "s"}}
	for want, reader := range map[string]providers.Reader{"": nil, esv1.CapabilityReadOnly: onlyReads{}, esv1.CapabilityReadWrite: alsoPuts{}} {
		s := &Stores{open: map[key]*entry{
			{kind: esv1.SecretStoreKind, name: types.NamespacedName{Namespace: "a", Name: "s"}}: {reader: reader},
			{kind: esv1.SecretStoreKind, name: types.NamespacedName{Namespace: "b", Name: "s"}}: {reader: onlyReads{}},
		}}
		if got := s.capabilities(esv1.SecretStoreKind, store); got != want {
			t.Errorf("a store whose reader is a %T: got %q, want %q", reader, got, want)
		}
	}
}
