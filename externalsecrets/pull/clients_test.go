package pull_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/providers/vault"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var (
	bao = testenv.Share(func(t testing.TB) (*testenv.Vault, error) {
		return testenv.StartVault(t.Context(), testenv.VaultOptions{})
	})
	// amazon trusts the ServiceAccounts of cluster.
	amazon = testenv.Share(func(t testing.TB) (*testenv.AWS, error) {
		cp := cluster.Get(t)
		return testenv.StartAWS(t.Context(), testenv.AWSOptions{Issuer: cp.Issuer(), IssuerCA: cp.CA()})
	})
)

const region = "eu-central-1"

// clients counts those that a provider makes, by the name of the store.
type clients struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *clients) count(open providers.Open) providers.Open {
	return func(ctx context.Context, config providers.Config) (providers.Reader, error) {
		c.mu.Lock()
		if c.n == nil {
			c.n = map[string]int{}
		}
		c.n[config.Store.Name]++
		c.mu.Unlock()
		return open(ctx, config)
	}
}

func (c *clients) of(store string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[store]
}

// users makes ExternalSecrets of a store in a namespace, n for each of keys.
func (b *bench) users(ns string, store esv1.SecretStoreRef, keys []string, n int) (all []client.ObjectKey) {
	b.t.Helper()
	for i, key := range keys {
		for j := range n {
			es := &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprintf("%s-%d-%d", store.Name, i, j)}}
			es.Spec.SecretStoreRef = store
			es.Spec.Data = []esv1.ExternalSecretData{{SecretKey: "value", RemoteRef: esv1.RemoteRef{Key: key}}}
			if err := b.Create(b.t.Context(), es); err != nil {
				b.t.Fatal(err)
			}
			b.t.Cleanup(func() { _ = b.Delete(context.WithoutCancel(b.t.Context()), es) }) // the namespace goes, too
			all = append(all, client.ObjectKeyFromObject(es))
		}
	}
	return all
}

// refresh forces a sync of all, and waits until they are.
func (b *bench) refresh(all []client.ObjectKey, mark string) {
	b.t.Helper()
	before := map[client.ObjectKey]string{}
	for _, key := range all {
		es := &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		if err := b.Get(b.t.Context(), key, es); err != nil {
			b.t.Fatal(err)
		}
		before[key] = es.Status.SyncedResourceVersion
		if err := b.Patch(b.t.Context(), es, client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{"force-sync":%q}}}`, mark))); err != nil {
			b.t.Fatal(err)
		}
	}
	b.synced(all, before)
}

// synced waits until all are ready, at other versions than before.
func (b *bench) synced(all []client.ObjectKey, before map[client.ObjectKey]string) {
	b.t.Helper()
	last := ""
	for _, key := range all {
		b.eventually(key.String()+" to be synced", func() bool {
			es := &esv1.ExternalSecret{}
			if err := b.Get(b.t.Context(), key, es); err != nil {
				b.t.Fatal(err)
			}
			last = fmt.Sprint(es.Status.Conditions)
			return apimeta.IsStatusConditionTrue(es.GetConditions(), "Ready") && es.Status.SyncedResourceVersion != before[key]
		}, &last)
	}
}

// logins are the requests that log in at Vault.
func logins(t *testing.T, v *testenv.Vault) (n int) {
	t.Helper()
	counts, err := v.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for operation, times := range counts {
		if strings.HasSuffix(operation, " auth/approle") {
			n += times
		}
	}
	return n
}

// newRole makes a role of Vault with a secret to log in with.
func (b *bench) newRole(v *testenv.Vault) (role, secret string) {
	b.t.Helper()
	role, secret, err := v.AppRole(b.t.Context(), testenv.VaultRole{Name: "clients-" + b.ns, Policy: testenv.Allow("secret/data/clients/*")})
	if err != nil {
		b.t.Fatal(err)
	}
	return role, secret
}

// TestOneLoginForAll has three stores of one Vault, and 20 ExternalSecrets for
// each namespace that may use one. Each store logs in once with its secret, and
// once for each namespace whose own secret it takes; a new secret is logged in
// with once.
func TestOneLoginForAll(t *testing.T) {
	v, made := bao.Get(t), &clients{}
	b := newBench(t)
	b.registry = providers.Registry{"vault": made.count(vault.Open)}
	other := b.cp.Namespace(t)
	_, next := b.newRole(v)
	role, secret := b.newRole(v)
	var keys []string
	for i := range 10 {
		keys = append(keys, fmt.Sprint("clients/", i))
		if _, err := v.Put(t.Context(), keys[i], map[string]any{"v": i}); err != nil {
			t.Fatal(err)
		}
	}
	credentials := map[string]*corev1.Secret{}
	for _, ns := range []string{b.ns, other} {
		credentials[ns] = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "in"}, StringData: map[string]string{"id": secret}}
		if err := b.Create(t.Context(), credentials[ns]); err != nil {
			t.Fatal(err)
		}
	}
	store := func(name, namespace string) string {
		return fmt.Sprintf("metadata: {name: %s}\nspec: {provider: {vault: {server: %q, path: secret, caBundle: %s, auth: {appRole: {path: approle, roleId: %s, secretRef: {name: in, key: id%s}}}}}}",
			name, v.Address(), base64.StdEncoding.EncodeToString(v.CA), role, namespace)
	}
	own, named, each := "own", b.ns+"-named", b.ns+"-each"
	if err := v.ResetCounts(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.apply(store(own, ""), &esv1.SecretStore{})
	b.apply(store(named, ", namespace: "+b.ns), &esv1.ClusterSecretStore{})
	b.apply(store(each, ""), &esv1.ClusterSecretStore{})
	b.run()
	all := b.users(b.ns, esv1.SecretStoreRef{Name: own}, keys, 2)
	for _, name := range []string{named, each} {
		for _, ns := range []string{b.ns, other} {
			all = append(all, b.users(ns, esv1.SecretStoreRef{Name: name, Kind: esv1.ClusterSecretStoreKind}, keys, 2)...)
		}
	}
	b.synced(all, nil)
	want := map[string]int{own: 1, named: 1, each: 2}
	check := func(when string) {
		t.Helper()
		sum := 0
		for store, n := range want {
			sum += n
			if got := made.of(store); got != n {
				t.Errorf("%s: %d clients of store %s, want %d", when, got, store, n)
			}
		}
		if got := logins(t, v); got != sum {
			t.Errorf("%s: %d logins, want %d", when, got, sum)
		}
	}
	check("the first sync")
	for round := range 3 {
		b.refresh(all, fmt.Sprint(round))
	}
	check("three refreshes")

	credentials[other].StringData = map[string]string{"id": next}
	if err := b.Update(t.Context(), credentials[other]); err != nil {
		t.Fatal(err)
	}
	b.refresh(all, "other's")
	want[each]++ // which is all that takes the secret of the other namespace
	check("a new secret in one namespace")
	credentials[b.ns].StringData = map[string]string{"id": next}
	if err := b.Update(t.Context(), credentials[b.ns]); err != nil {
		t.Fatal(err)
	}
	b.refresh(all, "own")
	maps.Copy(want, map[string]int{own: 2, named: 2, each: 4})
	check("a new secret in the other")
}

// TestOneSessionForAll has 40 ExternalSecrets of one store of AWS with IRSA and
// a role: one token, one session and one role for all, however often they are
// read, and one more of each when the ServiceAccount is for another role.
func TestOneSessionForAll(t *testing.T) {
	a, made := amazon.Get(t), &clients{}
	b := newBench(t)
	b.registry = providers.Registry{"aws": made.count(aws.New(aws.Endpoints{SecretsManager: a.Address(), STS: a.Address(), CA: a.CA}))}
	role := func(r testenv.AWSRole) string {
		arn, err := a.Role(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return arn
	}
	subject := "system:serviceaccount:" + b.ns + ":app"
	first, second := role(testenv.AWSRole{Name: "first-" + b.ns, Subject: subject}), role(testenv.AWSRole{Name: "second-" + b.ns, Subject: subject})
	team := role(testenv.AWSRole{Name: "team-" + b.ns, Principals: []string{"arn:aws:sts::*:assumed-role/first-" + b.ns + "/*", "arn:aws:sts::*:assumed-role/second-" + b.ns + "/*"}})
	var keys []string
	for i := range 20 {
		keys = append(keys, fmt.Sprint(b.ns, "/", i))
		if _, err := a.PutSecret(t.Context(), region, keys[i], "v"); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.ResetCounts(t.Context()); err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{}
	b.apply("metadata: {name: app, annotations: {eks.amazonaws.com/role-arn: '"+first+"'}}", account)
	b.apply("metadata: {name: irsa}\nspec: {provider: {aws: {service: SecretsManager, region: "+region+", role: '"+team+"', auth: {jwt: {serviceAccountRef: {name: app}}}}}}", &esv1.SecretStore{})
	b.run()
	all := b.users(b.ns, esv1.SecretStoreRef{Name: "irsa"}, keys, 2)
	b.synced(all, nil)
	check := func(when string, want int) {
		t.Helper()
		counts, err := a.Counts(t.Context())
		if got := []int{made.of("irsa"), int(b.requests.tokens.Load()), counts["sts:AssumeRoleWithWebIdentity"], counts["sts:AssumeRole"]}; err != nil || fmt.Sprint(got) != fmt.Sprint([]int{want, want, want, want}) {
			t.Errorf("%s: clients, TokenRequests, AssumeRoleWithWebIdentity, AssumeRole: got %v, %v, want %d of each", when, got, err, want)
		}
	}
	check("the first sync", 1)
	for round := range 3 {
		b.refresh(all, fmt.Sprint(round))
	}
	check("three refreshes", 1)
	account.Annotations["eks.amazonaws.com/role-arn"] = second
	if err := b.Update(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	b.refresh(all, "second")
	check("another role", 2)
}
