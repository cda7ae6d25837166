package pull_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

const threeOfOne = `
data:
- {secretKey: user, remoteRef: {key: db, property: user}}
- {secretKey: pass, remoteRef: {key: db, property: pass}}
- {secretKey: all, remoteRef: {key: db}}`

func TestLifeOfAnExternalSecret(t *testing.T) {
	b := start(t)
	canary := testenv.NewCanary(t)
	value := func(user string) string { return `{"user":"` + user + `","pass":"` + canary.Value() + `"}` }
	holds := func(user string) string {
		return fmt.Sprintf(`{"all":%q,"pass":%q,"user":%q}`, value(user), canary.Value(), user)
	}
	b.backend.set("db", value("ada"))

	writes, reads, calls := b.costs(func() {
		b.external("app", threeOfOne)
		b.ready("app", "True/SecretSynced/secret synced")
	})
	if writes != 2 || reads != 0 || calls != 1 {
		t.Errorf("first sync: %d writes, %d reads, %d provider calls, want 2, 0 and 1", writes, reads, calls)
	}
	b.holds("app", holds("ada"))
	secret := b.secret("app")
	if !metav1.IsControlledBy(secret, b.ready("app", "True")) || secret.Labels[esv1.LabelManaged] != "true" || len(secret.Labels[esv1.LabelOwner]) != 56 {
		t.Errorf("the Secret's owner and labels: %v, %v", secret.OwnerReferences, secret.Labels)
	}

	t.Run("ForceSync", func(t *testing.T) {
		writes, reads, calls := b.costs(func() {
			b.change("app", func(es *esv1.ExternalSecret) { es.Annotations = map[string]string{"force-sync": "1"} })
		})
		if writes != 1 || reads != 0 || calls != 1 {
			t.Errorf("a refresh that changes nothing: %d writes, %d reads, %d provider calls, want 1 (the status), 0 and 1", writes, reads, calls)
		}
		if rv := b.secret("app").ResourceVersion; rv != secret.ResourceVersion {
			t.Error("the Secret was written")
		}
	})
	t.Run("NewValue", func(t *testing.T) {
		b.backend.set("db", value("eve"))
		b.change("app", func(es *esv1.ExternalSecret) { es.Annotations["force-sync"] = "2" })
		b.holds("app", holds("eve"))
	})
	t.Run("DriftEdited", func(t *testing.T) {
		b.ready("app", "True")
		writes, reads, calls := b.costs(func() {
			secret := b.secret("app")
			secret.Data["user"] = []byte("mallory")
			if err := b.Update(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
			since := time.Now()
			b.holds("app", holds("eve"))
			if took := time.Since(since); took > time.Second {
				t.Errorf("the edit stayed for %s, want less than 1s", took)
			}
		})
		if calls != 0 || reads != 0 || writes != 2 {
			t.Errorf("drift: %d writes, %d reads, %d provider calls, want 2, 0 and 0", writes, reads, calls)
		}
	})
	t.Run("DriftDeleted", func(t *testing.T) {
		_, _, calls := b.costs(func() {
			if err := b.Delete(t.Context(), b.secret("app")); err != nil {
				t.Fatal(err)
			}
			since := time.Now()
			b.holds("app", holds("eve"))
			if took := time.Since(since); took > time.Second {
				t.Errorf("the Secret was gone for %s, want less than 1s", took)
			}
		})
		if calls != 0 {
			t.Errorf("drift: %d provider calls, want none", calls)
		}
	})
	t.Run("Restart", func(t *testing.T) {
		b.stop()
		writes, _, calls := b.costs(b.run)
		if writes != 0 || calls != 0 {
			t.Errorf("a restart: %d writes and %d provider calls, want none", writes, calls)
		}
		secret := b.secret("app")
		delete(secret.Data, "user")
		if err := b.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		before := b.backend.reads.Load()
		b.holds("app", holds("eve"))
		if got := b.backend.reads.Load() - before; got > 1 {
			t.Errorf("drift after a restart: %d provider calls, want one", got)
		}
	})
	t.Run("NewTargetName", func(t *testing.T) {
		b.change("app", func(es *esv1.ExternalSecret) { es.Spec.Target.Name = "other" })
		b.holds("other", holds("eve"))
		b.eventually("the Secret of the former name to go", func() bool { return b.data("app") == nil })
		if es := b.ready("app", "True"); es.Status.Binding.Name != "other" {
			t.Errorf("status.binding.name: got %q, want other", es.Status.Binding.Name)
		}
	})
	canary.NotInCluster(t, b.cp, b.key("other"))
	logs.Lock()
	defer logs.Unlock()
	canary.NotIn(t, "the log", logs.Bytes())
}

func TestFight(t *testing.T) {
	b := start(t)
	b.backend.set("db", `{"user":"ada","pass":"x"}`)
	b.external("app", threeOfOne)
	b.ready("app", "True")
	writes, _, calls := b.costs(func() {
		for i := range 60 {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "app"}}
			patch := fmt.Sprintf(`{"stringData":{"user":"mallory %d"}}`, i)
			if err := b.Patch(t.Context(), secret, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	// Five repairs with their status, and one status that tells.
	if writes > 11 || calls > 0 {
		t.Errorf("60 changes by someone else: %d writes and %d provider calls, want at most 11 and none", writes, calls)
	}
	es := b.ready("app", "False/SecretSyncedError/")
	if message := es.GetConditions()[0].Message; !strings.Contains(message, "again and again") {
		t.Errorf("message: %s", message)
	}
	b.ready("app", "True")
	b.eventually("the Secret to be as it should", func() bool { return b.data("app")["user"] == "ada" })
}

func TestPeriodicRefresh(t *testing.T) {
	b := start(t)
	b.backend.set("db", `{"user":"ada","pass":"x"}`)
	b.external("app", "refreshInterval: 2s"+threeOfOne)
	b.ready("app", "True")
	b.backend.set("db", `{"user":"eve","pass":"x"}`)
	b.eventually("the new value", func() bool { return b.data("app")["user"] == "eve" })

	b.external("never", "refreshInterval: \"0\""+threeOfOne)
	b.ready("never", "True")
	b.backend.set("db", `{"user":"bob","pass":"x"}`)
	b.eventually("the new value", func() bool { return b.data("app")["user"] == "bob" })
	if got := b.data("never")["user"]; got != "eve" {
		t.Errorf("refreshInterval 0: got %q, want no new read", got)
	}
	b.change("never", func(es *esv1.ExternalSecret) { es.Labels = map[string]string{"any": "change"} })
	b.eventually("a change to bring a read", func() bool { return b.data("never")["user"] == "bob" })
}

func TestErrorsAndRecovery(t *testing.T) {
	b := start(t)
	canary := testenv.NewCanary(t)
	b.backend.set("db", `{"user":"`+canary.Value()+`"}`)
	const spec = "refreshInterval: 1s\ndata:\n- {secretKey: user, remoteRef: {key: db, property: user}}"
	b.external("app", spec)
	b.ready("app", "True")
	before := b.data("app")

	cases := []struct {
		name, reason string
		hurt, heal   func()
		want         []string
	}{
		{"NotFound", "a secret that is gone is named, with the field",
			func() { b.backend.remove("db") }, func() { b.backend.set("db", `{"user":"`+canary.Value()+`"}`) },
			[]string{`spec.data[0].remoteRef.key: SecretStore "store" has no secret "db"`, "create it there"}},
		{"Denied", "so is one that may not be read",
			func() { b.backend.fail("db", providers.ErrDenied) }, func() { b.backend.fail("db", nil) },
			[]string{"spec.data[0].remoteRef.key", "does not let us read", "the right to"}},
		{"Sealed", "a service that is down says so",
			func() { b.backend.fail("", fmt.Errorf("vault is sealed: %w", providers.ErrUnavailable)) }, func() { b.backend.fail("", nil) },
			[]string{"cannot be reached", "unsealed", "vault is sealed"}},
		{"Throttled", "one that asks to wait is left alone for so long",
			func() { b.backend.fail("", providers.Throttled{After: 500 * time.Millisecond}) }, func() { b.backend.fail("", nil) },
			[]string{"asks to wait"}},
		{"NoProperty", "a property that is gone is named",
			func() { b.backend.set("db", `{"other":"`+canary.Value()+`"}`) }, func() { b.backend.set("db", `{"user":"`+canary.Value()+`"}`) },
			[]string{`spec.data[0].remoteRef.property: no such property "user"`}},
	}
	warnings := 0
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			tc.hurt()
			es := b.ready("app", "False/SecretSyncedError/")
			for _, want := range tc.want {
				if message := es.GetConditions()[0].Message; !strings.Contains(message, want) {
					t.Errorf("%s: got %q, want %q in it", tc.reason, message, want)
				}
			}
			if got := b.data("app"); got["user"] != before["user"] {
				t.Error("the Secret did not stay as it was")
			}
			time.Sleep(1500 * time.Millisecond) // for more than one try
			warnings++
			if got := b.warnings("app"); got != warnings {
				t.Errorf("%d warnings, want %d: one per transition", got, warnings)
			}
			tc.heal()
			b.ready("app", "True/SecretSynced/secret synced")
		})
	}
	canary.NotInCluster(t, b.cp, b.key("app"))
}

func TestStoreComesAndChanges(t *testing.T) {
	b := newBench(t)
	b.run()
	b.backend.set("db", `{"user":"ada","pass":"x"}`)
	b.external("app", threeOfOne)
	es := b.ready("app", "False/SecretSyncedError/")
	if message := es.GetConditions()[0].Message; !strings.Contains(message, `SecretStore "store" does not exist: create it`) {
		t.Errorf("message: %s", message)
	}
	b.backend.close(fmt.Errorf("connection refused: %w", providers.ErrUnavailable))
	b.apply("metadata: {name: store}\nspec: {provider: {example: {}}}", &esv1.SecretStore{})
	b.ready("app", "False/SecretSyncedError/spec.data[0].remoteRef.key: SecretStore \"store\" cannot be reached")
	b.backend.close(nil)
	b.ready("app", "True")

	before := b.backend.reads.Load()
	store := &esv1.SecretStore{}
	if err := b.Get(t.Context(), b.key("store"), store); err != nil {
		t.Fatal(err)
	}
	store.Spec.Provider.Other["example"] = []byte(`{"changed":true}`)
	if err := b.Update(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	b.eventually("a changed store to be read", func() bool { return b.backend.reads.Load() > before })

	t.Run("OtherClass", func(t *testing.T) {
		b.apply("metadata: {name: theirs}\nspec: {controller: other, provider: {example: {}}}", &esv1.SecretStore{})
		b.apply("metadata: {name: theirs, finalizers: ["+esv1.Finalizer+"]}\nspec: {secretStoreRef: {name: theirs}, data: [{secretKey: a, remoteRef: {key: db}}]}", &esv1.ExternalSecret{})
		time.Sleep(500 * time.Millisecond)
		es := &esv1.ExternalSecret{}
		if err := b.Get(t.Context(), b.key("theirs"), es); err != nil || len(es.Status.Conditions) != 0 {
			t.Errorf("an object of another controller: %v, %v, want it left alone", err, es.Status)
		}
		if err := b.Delete(t.Context(), es); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		if err := b.Get(t.Context(), b.key("theirs"), es); err != nil {
			t.Errorf("an object of another controller was finalized: %v", err)
		}
		b.change("theirs", func(es *esv1.ExternalSecret) { es.Finalizers = nil })
	})
}

func TestCreationPolicies(t *testing.T) {
	b := start(t)
	b.backend.set("db", "value")
	const data = "\ndata: [{secretKey: ours, remoteRef: {key: db}}]"
	make := func(name string) {
		b.apply("metadata: {name: "+name+", labels: {theirs: yes}}\nstringData: {theirs: kept}", &corev1.Secret{})
	}
	t.Run("OwnerTakesOver", func(t *testing.T) {
		make("owner")
		b.external("owner", "target: {}"+data)
		b.ready("owner", "True")
		b.holds("owner", `{"ours":"value","theirs":"kept"}`)
	})
	t.Run("FromExternalSecretsOperator", func(t *testing.T) {
		theirs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "eso", Annotations: map[string]string{esv1.AnnotationDataHash: "x"}}}
		theirs.StringData = map[string]string{"ours": "value", "former": "value"}
		if err := b.Create(t.Context(), theirs, client.FieldOwner(esv1.FieldManagerPrefix+"eso")); err != nil {
			t.Fatal(err)
		}
		theirs.StringData = map[string]string{"kept": "someone else's"}
		if err := b.Update(t.Context(), theirs, client.FieldOwner("someone")); err != nil {
			t.Fatal(err)
		}
		b.external("eso", "target: {}"+data)
		b.ready("eso", "True")
		b.holds("eso", `{"kept":"someone else's","ours":"value"}`)
		if s := b.secret("eso"); s.Annotations[esv1.AnnotationDataHash] != "" {
			t.Error("the hash of the data is still there")
		}
	})
	t.Run("OwnerConflict", func(t *testing.T) {
		b.external("second", "target: {name: owner}"+data)
		es := b.ready("second", "False/SecretSyncedError/")
		if message := es.GetConditions()[0].Message; !strings.Contains(message, `spec.target.name: Secret "owner" belongs to ExternalSecret "owner"`) {
			t.Errorf("message: %s", message)
		}
	})
	t.Run("Orphan", func(t *testing.T) {
		b.external("orphan", "target: {creationPolicy: Orphan}"+data)
		b.ready("orphan", "True")
		b.holds("orphan", `{"ours":"value"}`)
		if s := b.secret("orphan"); len(s.OwnerReferences) != 0 || s.Labels[esv1.LabelManaged] != "true" {
			t.Errorf("an orphan has owners %v and labels %v", s.OwnerReferences, s.Labels)
		}
	})
	t.Run("Merge", func(t *testing.T) {
		b.external("merge", "target: {creationPolicy: Merge}"+data)
		b.ready("merge", "False/SecretMissing/")
		make("merge")
		b.ready("merge", "True")
		b.holds("merge", `{"ours":"value","theirs":"kept"}`)
		if s := b.secret("merge"); len(s.OwnerReferences) != 0 {
			t.Errorf("a merged Secret has owners %v", s.OwnerReferences)
		}
	})
	t.Run("None", func(t *testing.T) {
		b.external("none", "target: {creationPolicy: None}"+data)
		b.ready("none", "True")
		if got := b.data("none"); got != nil {
			t.Error("creationPolicy None made a Secret")
		}
	})
	t.Run("Immutable", func(t *testing.T) {
		b.external("fixed", "target: {immutable: true}"+data)
		b.ready("fixed", "True")
		if s := b.secret("fixed"); s.Immutable == nil || !*s.Immutable {
			t.Error("the Secret is not immutable")
		}
		b.backend.set("db", "other")
		b.change("fixed", func(es *esv1.ExternalSecret) { es.Annotations = map[string]string{"force-sync": "1"} })
		es := b.ready("fixed", "False/SecretSyncedError/")
		if message := es.GetConditions()[0].Message; !strings.Contains(message, "immutable") || !strings.Contains(message, "delete it") {
			t.Errorf("message: %s", message)
		}
		b.holds("fixed", `{"ours":"value"}`)
		if err := b.Delete(t.Context(), b.secret("fixed")); err != nil {
			t.Fatal(err)
		}
		b.holds("fixed", `{"ours":"other"}`)
	})
}

func TestDeletionPolicies(t *testing.T) {
	b := start(t)
	const data = "\nrefreshInterval: 1s\ndata: [{secretKey: a, remoteRef: {key: a}}, {secretKey: b, remoteRef: {key: b}}]"
	b.backend.set("a", "1")
	b.backend.set("b", "2")
	b.external("delete", "target: {deletionPolicy: Delete}"+data)
	b.external("merge", "target: {deletionPolicy: Merge}"+data)
	b.external("retain", "target: {}"+data)
	for _, name := range []string{"delete", "merge", "retain"} {
		b.ready(name, "True/SecretSynced")
		b.holds(name, `{"a":"1","b":"2"}`)
	}
	b.backend.remove("a")
	b.holds("delete", `{"b":"2"}`)
	b.holds("merge", `{"b":"2"}`)
	b.ready("retain", "False/SecretSyncedError/spec.data[0].remoteRef.key")

	t.Run("UnreachableIsNotGone", func(t *testing.T) {
		b.backend.fail("", providers.ErrUnavailable)
		b.ready("delete", "False/SecretSyncedError/")
		b.holds("delete", `{"b":"2"}`)
		b.backend.fail("", nil)
		b.ready("delete", "True/SecretSynced")
	})
	b.backend.remove("b")
	b.ready("delete", "True/SecretDeleted/secret deleted due to DeletionPolicy")
	if b.data("delete") != nil {
		t.Error("deletionPolicy Delete left the Secret")
	}
	b.holds("merge", `{}`)
	b.holds("retain", `{"a":"1","b":"2"}`)
	b.backend.set("a", "3")
	b.holds("delete", `{"a":"3"}`)

	es := b.ready("delete", "True")
	if len(es.Finalizers) != 1 || es.Finalizers[0] != esv1.Finalizer {
		t.Errorf("finalizers: %v", es.Finalizers)
	}
	if got := b.ready("retain", "False").Finalizers; len(got) != 0 {
		t.Errorf("finalizers without deletionPolicy Delete: %v", got)
	}
	if err := b.Delete(t.Context(), es); err != nil {
		t.Fatal(err)
	}
	b.eventually("the Secret to be deleted with its ExternalSecret", func() bool { return b.data("delete") == nil })
}
