package push_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
	return testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: "../../charts/lockstep/crds"})
})

func TestMain(m *testing.M) { testenv.Main(m) }

// vault is a store that can be written.
type vault struct {
	mu     sync.Mutex
	values map[providers.Target]string
	writes int
}

// Read implements providers.Reader.
func (v *vault) Read(_ context.Context, ref providers.Ref) (providers.Value, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	value, ok := v.values[providers.Target{Path: ref.Path}]
	if !ok {
		return providers.Value{}, providers.ErrNotFound
	}
	return providers.NewValue([]byte(value)), nil
}

// Write implements providers.Writer.
func (v *vault) Write(_ context.Context, to providers.Target, value providers.Value, _ json.RawMessage) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if to.Path == "foreign" {
		return providers.ErrForeign
	}
	v.writes++
	v.values[to] = string(value.Bytes())
	return nil
}

// Delete implements providers.Writer.
func (v *vault) Delete(_ context.Context, to providers.Target) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.values, to)
	return nil
}

// text is what the store holds, in order.
func (v *vault) text() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := map[string]string{}
	for to, value := range v.values {
		out[strings.TrimSuffix(to.Path+"#"+to.Property, "#")] = value
	}
	b, err := json.Marshal(out)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// readOnly is a store that cannot be written.
type readOnly struct{ providers.Reader }

func TestLifeOfAPushSecret(t *testing.T) {
	b := start(t)
	canary := testenv.NewCanary(t)
	b.apply("metadata: {name: db}\nstringData: {user: ada, pass: "+canary.Value()+"}", &corev1.Secret{})
	b.apply(`
metadata: {name: app}
spec:
  deletionPolicy: Delete
  secretStoreRefs: [{name: store}]
  selector: {secret: {name: db}}
  data:
  - match: {secretKey: user, remoteRef: {remoteKey: app/user}}
  - match: {secretKey: pass, remoteRef: {remoteKey: app, property: pass}}
`, &esv1alpha1.PushSecret{})
	holds := func(user, pass string) string { return fmt.Sprintf(`{"app#pass":%q,"app/user":%q}`, pass, user) }
	b.holds(holds("ada", canary.Value()))
	ps := b.ready("app", "True/Synced/PushSecret synced successfully")
	if got := ps.Status.SyncedPushSecrets["SecretStore/store"]; len(got) != 2 || got["app/pass"].Match.SecretKey != "pass" {
		t.Errorf("status.syncedPushSecrets: %v", got)
	}
	t.Run("Quiet", func(t *testing.T) {
		before := b.vault.writes
		time.Sleep(time.Second)
		if b.vault.writes != before {
			t.Errorf("%d writes though nothing changed", b.vault.writes-before)
		}
	})
	t.Run("SecretChanges", func(t *testing.T) {
		since := time.Now()
		b.change(&corev1.Secret{}, "db", `{"stringData":{"user":"eve"}}`)
		b.holds(holds("eve", canary.Value()))
		t.Logf("a changed Secret was pushed after %s", time.Since(since).Round(time.Millisecond))
	})
	t.Run("LessIsAskedFor", func(t *testing.T) {
		b.change(&esv1alpha1.PushSecret{}, "app", `{"spec":{"data":[{"match":{"secretKey":"user","remoteRef":{"remoteKey":"app/user"}}}]}}`)
		b.holds(`{"app/user":"eve"}`)
	})
	t.Run("SourceDeleted", func(t *testing.T) {
		if err := b.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "db"}}); err != nil {
			t.Fatal(err)
		}
		b.holds(`{}`)
		b.ready("app", "True/SourceDeleted")
		b.apply("metadata: {name: db}\nstringData: {user: bob}", &corev1.Secret{})
		b.holds(`{"app/user":"bob"}`)
	})
	t.Run("Deleted", func(t *testing.T) {
		if err := b.Delete(t.Context(), ps); err != nil {
			t.Fatal(err)
		}
		b.holds(`{}`)
		b.eventually("the PushSecret to go", func() string {
			if err := b.Get(t.Context(), client.ObjectKeyFromObject(ps), ps); !apierrors.IsNotFound(err) {
				return fmt.Sprint(err)
			}
			return ""
		})
	})
}

func TestWhatIsPushed(t *testing.T) {
	cases := map[string]struct{ reason, spec, want string }{
		"Whole":         {"Without a key, all of it.", "data: [{match: {remoteRef: {remoteKey: all}}}]", `{"all":"{\"a\":\"1\",\"b_U002f_c\":\"2\"}"}`},
		"Unicode":       {"Escapes become characters.", `data: [{match: {secretKey: b/c, remoteRef: {remoteKey: x}}, conversionStrategy: ReverseUnicode}]`, `{"x":"2"}`},
		"DataTo":        {"Every key that matches, under a new name.", `dataTo: [{storeRef: {name: store}, match: {regexp: ^a}, rewrite: [{regexp: {source: ^, target: "pre-"}}]}]`, `{"pre-a":"1"}`},
		"Bundle":        {"Or all in one.", `dataTo: [{storeRef: {name: store}, remoteKey: all}]`, `{"all":"{\"a\":\"1\",\"b_U002f_c\":\"2\"}"}`},
		"NoneOfThem":    {"A set for a store that is not among them is named.", `{dataTo: [{storeRef: {name: store}}, {storeRef: {name: second}}], data: [{match: {secretKey: a, remoteRef: {remoteKey: a}}}]}`, `spec.dataTo[1].storeRef.name: invalid reference: spec.secretStoreRefs do not choose SecretStore "second": add it there, or correct the name`},
		"OtherKind":     {"A kind is a part of the name.", `{dataTo: [{storeRef: {kind: ClusterSecretStore, name: store}}]}`, `spec.dataTo[0].storeRef.name: invalid reference: spec.secretStoreRefs do not choose ClusterSecretStore "store"`},
		"Override":      {"data wins over dataTo.", `{dataTo: [{storeRef: {labelSelector: {matchLabels: {team: a}}}, match: {regexp: ^a$}}], data: [{match: {secretKey: b_U002f_c, remoteRef: {remoteKey: a}}}]}`, `{"a":"2"}`},
		"Template":      {"A template makes the values.", `{template: {data: {x: "<{{ .a }}>"}}, data: [{match: {secretKey: x, remoteRef: {remoteKey: x}}}]}`, `{"x":"\u003c1\u003e"}`},
		"IfNotExists":   {"What is there is left alone.", `{updatePolicy: IfNotExists, data: [{match: {secretKey: a, remoteRef: {remoteKey: there}}}, {match: {secretKey: a, remoteRef: {remoteKey: new}}}]}`, `{"new":"1","there":"old"}`},
		"SelectSecrets": {"Secrets are chosen by label, and stores too.", `{selector: {secret: {name: null, selector: {matchLabels: {push: "yes"}}}}, secretStoreRefs: [{labelSelector: {matchLabels: {team: a}}}], data: [{match: {secretKey: a, remoteRef: {remoteKey: a}}}]}`, `{"a":"1"}`},
		"Generator":     {"A generator is a source, too.", `{selector: {secret: null, generatorRef: {kind: Fake, name: fake}}, data: [{match: {secretKey: f, remoteRef: {remoteKey: f}}}]}`, `{"f":"made"}`},
		"Foreign":       {"What someone else keeps stays.", `data: [{match: {secretKey: a, remoteRef: {remoteKey: foreign}}}]`, "secret of another owner"},
		"NoKey":         {"A key that is not there is named.", `data: [{match: {secretKey: nope, remoteRef: {remoteKey: x}}}]`, `spec.data[0].match.secretKey: no such key: the Secret has no "nope"`},
		"Twice":         {"Two values have no one place.", `data: [{match: {secretKey: a, remoteRef: {remoteKey: x}}}, {match: {secretKey: a, remoteRef: {remoteKey: x}}}]`, `"x" is written by spec.data[0].match already`},
		"NoSource":      {"A Secret that is not there is named.", `{selector: {secret: {name: none}}, data: [{match: {secretKey: a, remoteRef: {remoteKey: x}}}]}`, `Secret "none" does not exist`},
		"NoStore":       {"So is a store.", `{secretStoreRefs: [{name: none}], data: [{match: {secretKey: a, remoteRef: {remoteKey: x}}}]}`, `spec.secretStoreRefs[0].name: no such store: SecretStore "none" does not exist: create it, or correct the reference`},
		"NoStoreToo":    {"Also next to one that is, which is written.", `{secretStoreRefs: [{name: store}, {kind: ClusterSecretStore, name: none}], data: [{match: {secretKey: a, remoteRef: {remoteKey: x}}}]}`, `spec.secretStoreRefs[1].name: no such store: ClusterSecretStore "none" does not exist`},
		"ReadOnly":      {"Some stores cannot be written.", `{secretStoreRefs: [{name: readonly}], data: [{match: {secretKey: a, remoteRef: {remoteKey: x}}}]}`, "is read only here"},
		"Nothing":       {"Something must be pushed.", `{}`, "set data or dataTo"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			if name == "IfNotExists" {
				b.vault.values[providers.Target{Path: "there"}] = "old"
			}
			b.apply("metadata: {name: db, labels: {push: 'yes'}}\nstringData: {a: '1', b_U002f_c: '2'}", &corev1.Secret{})
			b.apply("metadata: {name: readonly}\nspec: {provider: {readonly: {}}}", &esv1.SecretStore{})
			b.apply("metadata: {name: fake}\nspec: {data: {f: made}}", &genv1.Fake{})
			spec, change := map[string]any{}, map[string]any{}
			if err := yaml.Unmarshal([]byte("{selector: {secret: {name: db}}, secretStoreRefs: [{name: store}]}"), &spec); err != nil {
				t.Fatal(err)
			}
			if err := yaml.Unmarshal([]byte(tc.spec), &change); err != nil {
				t.Fatal(err)
			}
			maps.Copy(spec, change)
			text, err := json.Marshal(map[string]any{"metadata": map[string]any{"name": "app"}, "spec": spec})
			if err != nil {
				t.Fatal(err)
			}
			b.apply(string(text), &esv1alpha1.PushSecret{})
			if strings.HasPrefix(tc.want, "{") {
				b.holds(tc.want)
				b.ready("app", "True/Synced")
				return
			}
			b.ready("app", "False/Errored/")
			b.ready("app", tc.want)
		})
	}
}

func TestCluster(t *testing.T) {
	b := start(t)
	other := cluster.Get(t).Namespace(t)
	name := "cluster-" + b.ns
	label := func(ns, value string) {
		o := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}
		if err := b.Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"labels":{"fan":%s}}}`, value))); err != nil {
			t.Fatal(err)
		}
	}
	label(b.ns, `"`+b.ns+`"`)
	b.apply("metadata: {name: "+name+", annotations: {external-secrets.io/force-sync: '1'}}\nspec: {externalSecretName: app, namespaceSelectors: [{matchLabels: {fan: "+b.ns+"}}], externalSecretMetadata: {labels: {l: v}}, externalSecretSpec: {secretStoreRef: {name: store}, data: [{secretKey: a, remoteRef: {key: b}}]}}", &esv1.ClusterExternalSecret{})
	b.apply("metadata: {name: "+name+"}\nspec: {pushSecretName: app, namespaceSelectors: [{matchLabels: {fan: "+b.ns+"}}], pushSecretSpec: {secretStoreRefs: [{name: store}], selector: {secret: {name: db}}, data: [{match: {secretKey: a, remoteRef: {remoteKey: b}}}]}}", &esv1alpha1.ClusterPushSecret{})
	exist := func(ns string, want bool) {
		t.Helper()
		b.fanned(ns, want)
	}
	exist(b.ns, true)
	exist(other, false)
	label(other, `"`+b.ns+`"`)
	exist(other, true)
	ces := &esv1.ClusterExternalSecret{}
	b.eventually("the status", func() string {
		if err := b.Get(t.Context(), client.ObjectKey{Name: name}, ces); err != nil || len(ces.Status.ProvisionedNamespaces) != 2 || ces.Status.ExternalSecretName != "app" {
			return fmt.Sprint(err, ces.Status)
		}
		return ""
	})
	t.Run("Edited", func(t *testing.T) {
		b.change(&esv1.ExternalSecret{}, "app", `{"spec":{"data":[{"secretKey":"x","remoteRef":{"key":"y"}}]}}`)
		exist(b.ns, true)
	})
	t.Run("NotChosenAnyMore", func(t *testing.T) {
		label(other, "null")
		exist(other, false)
		exist(b.ns, true)
	})
	t.Run("SomeoneElses", func(t *testing.T) {
		theirs := &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: other, Name: "app"}, Spec: *ces.Spec.ExternalSecretSpec.DeepCopy()}
		if err := b.Create(t.Context(), theirs); err != nil {
			t.Fatal(err)
		}
		label(other, `"`+b.ns+`"`)
		b.eventually("the failure", func() string {
			if err := b.Get(t.Context(), client.ObjectKey{Name: name}, ces); err != nil || len(ces.Status.FailedNamespaces) != 1 || !strings.Contains(ces.Status.FailedNamespaces[0].Reason, "not of this object") {
				return fmt.Sprint(err, ces.Status)
			}
			return ""
		})
	})
}

// fanned waits until both kinds are in a namespace, or are not.
func (b *bench) fanned(ns string, want bool) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("objects in %s: %t", ns, want), func() string {
		es, ps := &esv1.ExternalSecret{}, &esv1alpha1.PushSecret{}
		key := client.ObjectKey{Namespace: ns, Name: "app"}
		e, p := b.Get(b.t.Context(), key, es), b.Get(b.t.Context(), key, ps)
		if (e == nil) != want || (p == nil) != want {
			return fmt.Sprint(e, p)
		}
		if want && (es.Labels["l"] != "v" || es.Annotations["external-secrets.io/force-sync"] != "1" || es.Spec.Data[0].RemoteRef.Key != "b") {
			return fmt.Sprint(es)
		}
		return ""
	})
}
