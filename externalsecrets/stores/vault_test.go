package stores_test

import (
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/providers"
	realvault "github.com/lockstep-dev/lockstep/providers/vault"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var openbao = testenv.Share(func(t testing.TB) (*testenv.Vault, error) {
	return testenv.StartVault(t.Context(), testenv.VaultOptions{})
})

// wire passes connections on to a server, and counts them.
func wire(t *testing.T, to string) (address string, connections *atomic.Int32) {
	t.Helper()
	at, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	connections = &atomic.Int32{}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return // the test is over
			}
			connections.Add(1)
			go pass(in, at.Host)
		}
	}()
	return at.Scheme + "://" + l.Addr().String(), connections
}

func pass(in net.Conn, to string) {
	defer in.Close()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	go func() { _, _ = io.Copy(out, in) }() // either end may hang up
	_, _ = io.Copy(in, out)
}

// tokenCounter counts the TokenRequests of a client.
type tokenCounter struct {
	client.Client

	made atomic.Int32
}

func (c *tokenCounter) SubResource(name string) client.SubResourceClient {
	if name == "token" {
		c.made.Add(1)
	}
	return c.Client.SubResource(name)
}

const threeItems = `
secretStoreRef: {name: vault, kind: SecretStore}
data:
- {secretKey: a, remoteRef: {key: lifetime/app, property: a}}
- {secretKey: b, remoteRef: {key: lifetime/app, property: b}}
- {secretKey: c, remoteRef: {key: lifetime/app, property: c}}
`

// refresh reads what an ExternalSecret needs, as its controller does.
func refresh(t *testing.T, q *queue.Queue, namespace string) {
	t.Helper()
	spec := &esv1.ExternalSecretSpec{}
	if err := yaml.Unmarshal([]byte(threeItems), spec); err != nil {
		t.Fatal(err)
	}
	plan, err := fetch.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	results, err := q.Read(t.Context(), queue.Request{Object: types.NamespacedName{Namespace: namespace, Name: "app"}, Reads: plan.Stored(), Lane: queue.First})
	if err != nil {
		t.Fatal(err)
	}
	for read, result := range results {
		if result.Err != nil {
			t.Fatalf("read %s: %v", read, result.Err)
		}
	}
	if len(results) != 1 {
		t.Errorf("3 items of one path are %d reads, want 1", len(results))
	}
}

// TestRefreshAtVault counts, at a real Vault, what a refresh of three items of
// one path costs with Kubernetes auth: one read, and no login, no connection
// and no token of the ServiceAccount.
func TestRefreshAtVault(t *testing.T) {
	b, v := start(t), openbao.Get(t)
	b.stores.Registry = providers.Registry{"vault": realvault.Open}
	tokens := &tokenCounter{Client: b.stores.Client}
	b.stores.Client = tokens
	b.apply("metadata: {name: app, namespace: NS}", &corev1.ServiceAccount{})
	role := testenv.VaultRole{Name: "lifetime", Policy: testenv.Allow("secret/data/lifetime/*")}
	if err := v.KubernetesRole(t.Context(), b.cp, role, testenv.VaultSubject{Namespace: b.ns, Name: "app", Audience: "vault"}); err != nil {
		t.Fatal(err)
	}
	canary := testenv.NewCanary(t)
	if _, err := v.Put(t.Context(), "lifetime/app", map[string]any{"a": canary.Value(), "b": "2", "c": "3"}); err != nil {
		t.Fatal(err)
	}
	address, connections := wire(t, v.Address())
	store := &esv1.SecretStore{}
	b.apply("metadata: {name: vault, namespace: NS}\nspec: {provider: {vault: {server: '"+address+"', path: secret, caBundle: "+base64.StdEncoding.EncodeToString(v.CA)+
		", auth: {kubernetes: {mountPath: kubernetes, role: lifetime, serviceAccountRef: {name: app}}}}}}", store)
	b.status(store, "True/Valid")

	q := &queue.Queue{Stores: b.stores}
	refresh(t, q, b.ns)
	if err := v.ResetCounts(t.Context()); err != nil {
		t.Fatal(err)
	}
	opened, asked := connections.Load(), tokens.made.Load()
	const times = 5
	for range times {
		refresh(t, q, b.ns)
	}
	counts, err := v.Counts(t.Context())
	if err != nil || len(counts) != 1 || counts["GET secret/data"] != times {
		t.Errorf("%d refreshes of 3 items: got %v, %v, want %d requests GET secret/data and no other", times, counts, err, times)
	}
	if more := connections.Load() - opened; more != 0 || opened != 1 {
		t.Errorf("%d refreshes opened %d connections after the first %d, want none after 1", times, more, opened)
	}
	if more := tokens.made.Load() - asked; more != 0 || asked != 1 {
		t.Errorf("%d refreshes asked for %d tokens after the first %d, want none after 1", times, more, asked)
	}
	canary.NotInCluster(t, b.cp)
}

// TestRebuilt changes all that a store was opened with, one after the other.
func TestRebuilt(t *testing.T) {
	b := start(t)
	token, ca, account := &corev1.Secret{}, &corev1.ConfigMap{}, &corev1.ServiceAccount{}
	b.apply("metadata: {name: token, namespace: NS}\nstringData: {t: token-1}", token)
	b.apply("metadata: {name: ca, namespace: NS}\ndata: {c: ca-1}", ca)
	b.apply("metadata: {name: sa, namespace: NS, annotations: {role: role-1}}", account)
	store := &esv1.SecretStore{}
	b.apply(`
metadata: {name: s, namespace: NS}
spec: {provider: {vault: {server: 'https://v', caProvider: {type: ConfigMap, name: ca, key: c}, auth: {tokenSecretRef: {name: token, key: t}, kubernetes: {mountPath: k, role: r, serviceAccountRef: {name: sa, audiences: [vault]}}}}}}`, store)
	b.status(store, "True/Valid")
	reads := func(want string) {
		t.Helper()
		last := ""
		eventually(t, "the store to be opened with "+want, &last, func() bool {
			last, _ = b.read(esv1.SecretStoreKind, b.ns, "s")
			return last == want
		})
	}
	reads("ca-1;token-1role-1")
	before := b.vault.openings()
	for _, step := range []struct {
		object client.Object
		change func()
		want   string
	}{
		{token, func() { token.Data = map[string][]byte{"t": []byte("token-2")} }, "ca-1;token-2role-1"},
		{ca, func() { ca.Data["c"] = "ca-2" }, "ca-2;token-2role-1"},
		{account, func() { account.Annotations["role"] = "role-2" }, "ca-2;token-2role-2"},
	} {
		step.change()
		if err := b.Update(context.WithoutCancel(t.Context()), step.object); err != nil {
			t.Fatal(err)
		}
		reads(step.want)
	}
	if got := b.vault.openings() - before; got != 3 {
		t.Errorf("3 changes opened the store %d times, want 3", got)
	}
}
