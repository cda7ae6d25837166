package pull_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// tally counts the reads of each secret.
type tally struct {
	mu   sync.Mutex
	n    map[string]int
	from time.Time // when it was reset
	last time.Time // when one was read
}

// took is from the reset to the last read.
func (c *tally) took() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last.Sub(c.from)
}

func (c *tally) add(refs []providers.Ref) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = time.Now()
	for _, ref := range refs {
		c.n[ref.Path]++
	}
}

// sum is how often any of keys was read.
func (c *tally) sum(keys []string) (n int) {
	for _, key := range keys {
		n += c.of(key)
	}
	return n
}

func (c *tally) of(key string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[key]
}

func (c *tally) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n, c.from = map[string]int{}, time.Now()
}

// prompt is a store whose list is hardly ever late, so that an interval of
// seconds is long enough for it: with the five minutes of AWS it would be one
// of 50.
type prompt struct {
	providers.VersionLister

	reads *tally
}

// Listing implements providers.VersionLister.
func (p prompt) Listing() providers.Listing {
	l := p.VersionLister.Listing()
	l.Late = 100 * time.Millisecond
	return l
}

// ReadAll implements providers.BatchReader.
func (p prompt) ReadAll(ctx context.Context, refs []providers.Ref) []providers.Result {
	p.reads.add(refs)
	return p.VersionLister.ReadAll(ctx, refs)
}

// prompted opens prompt stores of a.
func prompted(a *testenv.AWS, reads *tally) providers.Open {
	open := aws.New(aws.Endpoints{SecretsManager: a.Address(), STS: a.Address(), CA: a.CA})
	return func(ctx context.Context, c providers.Config) (providers.Reader, error) {
		r, err := open(ctx, c)
		if err != nil {
			return nil, err
		}
		return prompt{r.(providers.VersionLister), reads}, nil
	}
}

const (
	listedSecrets = 300 // that the store holds
	changedOnes   = 30
	listInterval  = 8 * time.Second
)

// mostCalls is what an interval may cost: a page of a list for each 100
// secrets, a batch for each 20 of those that have changed, and two more of each.
func mostCalls(secrets, changed int) int {
	return (secrets+99)/100 + 2 + (changed+19)/20 + 2
}

// TestOneListForAll has as many ExternalSecrets as secrets in Secrets Manager,
// of which some change and one appears: the next interval costs a list and the
// reads of these.
func TestOneListForAll(t *testing.T) {
	a, reads := amazon.Get(t), &tally{n: map[string]int{}}
	b := newBench(t)
	b.registry = providers.Registry{"aws": prompted(a, reads)}
	put := func(key, value string) {
		t.Helper()
		if _, err := a.PutSecret(t.Context(), region, b.ns+"/"+key, value); err != nil {
			t.Fatal(err)
		}
	}
	b.amazonStore(a, "listed")
	const missing = "missing"
	keys := []string{missing}
	for i := 1; i < listedSecrets; i++ {
		keys = append(keys, fmt.Sprint(i))
		put(keys[i], "old")
	}
	b.listed(missing, time.Hour)
	for _, key := range keys[1:] {
		b.listed(key, listInterval)
	}
	b.run()
	b.within(2*time.Minute, "the first sync", func() bool { return b.count("True") == listedSecrets-1 && b.count("False") == 1 })
	b.tire(reads, missing)
	b.align(reads, keys[1:])

	if err := a.ResetCounts(t.Context()); err != nil {
		t.Fatal(err)
	}
	reads.reset()
	changed, unchanged := keys[:changedOnes+1], keys[changedOnes+1:]
	for _, key := range changed {
		put(key, "new")
	}
	for _, key := range changed {
		b.within(time.Minute, "the new value of "+key, func() bool { return b.data("es-" + key)["value"] == "new" })
	}
	time.Sleep(listInterval / 10) // for what should not follow
	counts, err := a.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d secrets, of which %d have changed, and one that was missing: %v", listedSecrets, changedOnes, counts)
	lists, most := counts["secretsmanager:ListSecrets"], mostCalls(listedSecrets, len(changed))
	if calls := lists + counts["secretsmanager:BatchGetSecretValue"] + counts["secretsmanager:GetSecretValue"]; calls > most || lists < listedSecrets/100 {
		t.Errorf("an interval: %v, want at most %d calls, and a list among them", counts, most)
	}
	if most := mostCalls(1000, 101); most > 55 {
		t.Errorf("1,000 secrets of which a tenth has changed would cost %d calls, and 55 is the aim", most)
	}
	if got := reads.sum(changed); got != len(changed) {
		t.Errorf("%d secrets that have changed were read %d times, want each once", len(changed), got)
	}
	// Who asks in the very moment in which a list is begun is read with those
	// that have changed.
	if got := reads.sum(unchanged); got > listedSecrets/50 {
		t.Errorf("%d secrets were read that have not changed, want next to none", got)
	}
}

// amazonStore makes a SecretStore of Secrets Manager for the secrets below the
// name of the namespace, whose ExternalSecrets go with the test.
func (b *bench) amazonStore(a *testenv.AWS, name string) {
	b.t.Helper()
	b.t.Cleanup(func() {
		if err := b.DeleteAllOf(context.WithoutCancel(b.t.Context()), &esv1.ExternalSecret{}, client.InNamespace(b.ns)); err != nil {
			b.t.Errorf("delete: %v", err)
		}
	})
	user, err := a.User(b.t.Context(), name+"-"+b.ns)
	if err != nil {
		b.t.Fatal(err)
	}
	b.apply("metadata: {name: user}\nstringData: {id: "+user.ID+", secret: "+user.Secret+"}", &corev1.Secret{})
	b.apply("metadata: {name: "+name+"}\nspec: {provider: {aws: {service: SecretsManager, region: "+region+", prefix: "+b.ns+"/, auth: {secretRef: {accessKeyIDSecretRef: {name: user, key: id}, secretAccessKeySecretRef: {name: user, key: secret}}}}}}", &esv1.SecretStore{})
}

// listed makes an ExternalSecret of a key of the store "listed".
func (b *bench) listed(key string, every time.Duration) {
	b.t.Helper()
	es := &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "es-" + key}}
	es.Spec = esv1.ExternalSecretSpec{
		SecretStoreRef: esv1.SecretStoreRef{Name: "listed"}, RefreshInterval: &metav1.Duration{Duration: every},
		Data: []esv1.ExternalSecretData{{SecretKey: "value", RemoteRef: esv1.RemoteRef{Key: key}}},
	}
	if err := b.Create(b.t.Context(), es); err != nil {
		b.t.Fatal(err)
	}
}

// count is how many ExternalSecrets of the namespace have a status of Ready.
func (b *bench) count(status metav1.ConditionStatus) (n int) {
	b.t.Helper()
	var list esv1.ExternalSecretList
	if err := b.List(b.t.Context(), &list, client.InNamespace(b.ns)); err != nil {
		b.t.Fatal(err)
	}
	for i := range list.Items {
		if apimeta.IsStatusConditionPresentAndEqual(list.Items[i].GetConditions(), "Ready", status) {
			n++
		}
	}
	return n
}

// tire lets an ExternalSecret fail so often that its next try by itself comes in
// minutes.
func (b *bench) tire(reads *tally, key string) {
	b.t.Helper()
	for i := range 3 {
		before := reads.of(key)
		b.change("es-"+key, func(es *esv1.ExternalSecret) { es.Annotations = map[string]string{"force-sync": fmt.Sprint(i)} })
		b.within(time.Minute, "a try", func() bool { return reads.of(key) > before })
	}
}

// align has all keys read now, as if they had changed, within a moment: the
// ExternalSecrets were made over some time, and so are due over some time.
func (b *bench) align(reads *tally, keys []string) {
	b.t.Helper()
	took := time.Hour
	for try := 0; try < 10 && took > time.Second; try++ {
		time.Sleep(time.Second) // for the answers of the last, and because hints are followed that often
		reads.reset()
		b.puller.Due(b.t.Context(), esv1.SecretStoreKind, b.ns, "listed", keys)
		b.within(time.Minute, "all to be read", func() bool {
			return !slices.ContainsFunc(keys, func(key string) bool { return reads.of(key) == 0 })
		})
		took = reads.took()
	}
	time.Sleep(500 * time.Millisecond) // for the answers
}

// within is eventually with a limit of the caller's.
func (b *bench) within(limit time.Duration, what string, check func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(limit); !check(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited %s for %s", limit, what)
		}
	}
}
