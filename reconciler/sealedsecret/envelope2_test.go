package sealedsecret_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// seal2 returns a value as envelope 2, for the key of the bench.
func (b *bench) seal2(at sealer.Place, value string) string {
	b.t.Helper()
	b.key()
	key, _ := b.ring.Newest()
	text, err := sealer.SealItem([]byte(value), at, key.Hybrid.Recipient)
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}

// A SealedSecret may have items of both envelopes, and the status names the
// one key that has both halves.
func TestBothEnvelopes(t *testing.T) {
	b := newBench(t)
	b.run()
	canary := testenv.NewCanary(t)
	ss := b.sealed("db", b.strict("db"), b.key(), "first")
	for _, item := range []string{"token", "user", "zone"} {
		ss.Spec.EncryptedData[item] = b.seal2(sealer.Place{Binding: b.strict("db"), Item: item}, canary.Value())
	}
	b.create(ss)
	got := b.synced("db", "True")
	s := b.secret("db")
	if string(s.Data["password"]) != "first" || string(s.Data["token"]) != canary.Value() || len(s.Data) != 4 {
		t.Errorf("the Secret has %d items, which are not what was sealed", len(s.Data))
	}
	if key, _ := b.ring.Newest(); got.Status.Target.Key != key.Fingerprint {
		t.Errorf("status.target.key is %q, want %q", got.Status.Target.Key, key.Fingerprint)
	}
	canary.NotInCluster(t, b.cp, types.NamespacedName{Namespace: b.ns, Name: "db"})
}

// What is wrong with a value of envelope 2 is named.
func TestEnvelope2Refused(t *testing.T) {
	b := newBench(t)
	b.run()
	here := sealer.Place{Binding: b.strict("db"), Item: "password"}
	stranger, err := sealer.NewHybridKey(sealer.NewClusterID())
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := sealer.SealItem([]byte("v"), here, stranger.Recipient)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct{ text, want string }{
		"item":      {b.seal2(sealer.Place{Binding: b.strict("item"), Item: "user"}, "v"), `another item than "password"`},
		"name":      {b.seal2(here, "v"), `another name of the Secret than "name"`},
		"namespace": {b.seal2(sealer.Place{Binding: sealer.Binding{Namespace: "other", Name: "namespace"}, Item: "password"}, "v"), "another namespace"},
		"scope":     {b.seal2(sealer.Place{Binding: sealer.Binding{Scope: sealer.ClusterWide}, Item: "password"}, "v"), "another scope"},
		"db":        {foreign, "another cluster"},
		"cut":       {foreign[:len(foreign)-4], "not a sealed value"},
	}
	for name, tc := range cases {
		ss := b.sealed(name, b.strict(name), b.key(), "v")
		ss.Spec.EncryptedData = bitnamiv1alpha1.EncryptedData{"password": tc.text}
		b.create(ss)
	}
	for name, tc := range cases {
		got := b.synced(name, "False")
		if m := got.Status.Conditions[0].Message; !strings.Contains(m, "no key could decrypt secret (password): ") || !strings.Contains(m, tc.want) {
			t.Errorf("%s: the message is %q, want %q in it", name, m, tc.want)
		}
	}
}
