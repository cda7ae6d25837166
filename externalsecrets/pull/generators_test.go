package pull_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

func TestGenerators(t *testing.T) {
	b := start(t)
	b.external("app", `
dataFrom:
- {sourceRef: {generatorRef: {kind: Password, name: pw}}, rewrite: [{transform: {template: "db-{{ .value }}"}}]}
- {sourceRef: {generatorRef: {apiVersion: generators.external-secrets.io/v1alpha1, kind: Fake, name: fake}}}`)
	if message := b.ready("app", "False").GetConditions()[0].Message; !strings.Contains(message, `spec.dataFrom[0].sourceRef.generatorRef: no such generator: Password "pw" does not exist`) {
		t.Errorf("message: %s", message)
	}
	b.apply("metadata: {name: pw}\nspec: {length: 12}", &genv1.Password{})
	b.apply("metadata: {name: fake}\nspec: {data: {a: b}}", &genv1.Fake{})
	b.ready("app", "True") // the watch tells that they have come
	got := b.data("app")
	if len(got["db-password"]) != 12 || got["a"] != "b" {
		t.Errorf("got %v", got)
	}
	time.Sleep(time.Second)
	if again := b.data("app"); again["db-password"] != got["db-password"] {
		t.Error("the password changed by itself")
	}
	b.external("other", "dataFrom: [{sourceRef: {generatorRef: {kind: GithubAccessToken, name: x}}}]")
	if message := b.ready("other", "False").GetConditions()[0].Message; !strings.Contains(message, "not supported by this version, which has ClusterGenerator, ECRAuthorizationToken, Fake, ") {
		t.Errorf("message: %s", message)
	}
}

// cluster makes a ClusterGenerator, with the namespace in its name, and returns
// what the API server keeps of it.
func (b *bench) cluster(name, spec string) *unstructured.Unstructured {
	b.t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte("metadata: {name: "+b.ns+"-"+name+"}\nspec: "+spec), &o.Object); err != nil {
		b.t.Fatal(err)
	}
	o.SetGroupVersionKind(genv1.GroupVersion.WithKind(genv1.ClusterGeneratorKind))
	if err := b.Create(b.t.Context(), o); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := b.Delete(context.WithoutCancel(b.t.Context()), o); err != nil {
			b.t.Errorf("delete: %v", err)
		}
	})
	return o
}

func TestClusterGenerators(t *testing.T) {
	b := start(t)
	from := func(name string) string {
		return "dataFrom: [{sourceRef: {generatorRef: {kind: ClusterGenerator, name: " + b.ns + "-" + name + "}}}]"
	}
	b.external("fake", from("fake"))
	if message := b.ready("fake", "False").GetConditions()[0].Message; !strings.Contains(message, "does not exist in this cluster: create it") {
		t.Errorf("message: %s", message)
	}
	b.cluster("fake", "{kind: Fake, generator: {fakeSpec: {data: {a: b}}}}")
	b.ready("fake", "True") // the watch tells that it has come
	b.holds("fake", `{"a":"b"}`)

	for name, tc := range map[string]struct{ spec, want string }{
		"other":  {"{kind: UUID, generator: {fakeSpec: {data: {a: b}}}}", "spec.generator.uuidSpec: invalid generator: it is missing, and spec.kind is UUID"},
		"quay":   {"{kind: QuayAccessToken, generator: {quayAccessTokenSpec: {robotAccount: r}}}", `spec.kind "QuayAccessToken": not supported by this version, which has`},
		"absent": {"{kind: GCRAccessToken, generator: {gcrAccessTokenSpec: {projectID: p}}}", "this build has no backend"},
	} {
		kept := b.cluster(name, tc.spec)
		b.external(name, from(name))
		if message := b.ready(name, "False/SecretSyncedError").GetConditions()[0].Message; !strings.Contains(message, tc.want) || !strings.Contains(message, "spec.dataFrom[0].sourceRef.generatorRef") {
			t.Errorf("%s: got %q, want %q and the field in it", name, message, tc.want)
		}
		if robot, _, _ := unstructured.NestedString(kept.Object, "spec", "generator", "quayAccessTokenSpec", "robotAccount"); name == "quay" && robot != "r" {
			t.Errorf("a spec that is not served: got %v, want it kept", kept.Object["spec"])
		}
	}
}

func TestWebhookGenerator(t *testing.T) {
	b := start(t)
	canary := testenv.NewCanary(t)
	answer := atomic.Pointer[string]{}
	set := func(s string) { answer.Store(&s) }
	set(fmt.Sprintf(`{"data":{"user":"ada","pass":%q,"port":5432}}`, canary.Value()))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer knock" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprint(w, *answer.Load())
	}))
	t.Cleanup(server.Close)
	b.apply("metadata: {name: credentials}\nstringData: {token: knock}", &corev1.Secret{})
	hook := func(more string) string {
		return fmt.Sprintf("{url: %q, headers: {Authorization: 'Bearer {{ .auth.token }}'}, result: {jsonPath: $.data}, secrets: [{name: auth, secretRef: {name: credentials, key: token%s}}]}", server.URL, more)
	}
	b.apply("metadata: {name: hook}\nspec: "+hook(""), &genv1.Webhook{})
	b.external("app", "dataFrom: [{sourceRef: {generatorRef: {kind: Webhook, name: hook}}}]")
	b.ready("app", "True")
	b.holds("app", fmt.Sprintf(`{"pass":%q,"port":"5432","user":"ada"}`, canary.Value()))

	b.apply("metadata: {name: elsewhere}\nspec: "+hook(", namespace: default"), &genv1.Webhook{})
	b.external("elsewhere", "dataFrom: [{sourceRef: {generatorRef: {kind: Webhook, name: elsewhere}}}]")
	if message := b.ready("elsewhere", "False").GetConditions()[0].Message; !strings.Contains(message, "a generator refers to its user's namespace only") {
		t.Errorf("message: %s", message)
	}
	for name, text := range map[string]string{"HTML": "<html>" + canary.Value() + "</html>", "List": fmt.Sprintf(`{"data":[%q]}`, canary.Value()), "Empty": ""} {
		set(text)
		b.change("app", func(es *esv1.ExternalSecret) { es.Annotations = map[string]string{"force-sync": name} })
		b.ready("app", "False/SecretSyncedError/spec.dataFrom[0].sourceRef.generatorRef: Webhook \"hook\"")
		b.holds("app", fmt.Sprintf(`{"pass":%q,"port":"5432","user":"ada"}`, canary.Value()))
		set(fmt.Sprintf(`{"data":{"user":"ada","pass":%q,"port":5432}}`, canary.Value()))
		b.change("app", func(es *esv1.ExternalSecret) { es.Annotations = map[string]string{"force-sync": name + " healed"} })
		b.ready("app", "True")
	}
	canary.NotInCluster(t, b.cp, b.key("app"))
}

func TestGeneratorOfAnotherClass(t *testing.T) {
	b := start(t)
	b.apply("metadata: {name: theirs}\nspec: {controller: other, data: {a: b}}", &genv1.Fake{})
	b.apply("metadata: {name: ours}\nspec: {controller: default, data: {a: b}}", &genv1.Fake{})
	time.Sleep(500 * time.Millisecond) // for the cache
	b.external("theirs", "dataFrom: [{sourceRef: {generatorRef: {kind: Fake, name: theirs}}}]")
	b.external("ours", "dataFrom: [{sourceRef: {generatorRef: {kind: Fake, name: ours}}}]")
	b.ready("ours", "True")
	es := &esv1.ExternalSecret{}
	if err := b.Get(t.Context(), b.key("theirs"), es); err != nil || len(es.Status.Conditions) > 0 || b.data("theirs") != nil {
		t.Errorf("a generator of another class: %v, %v, want it left alone", err, es.Status)
	}
}

// TestValuesThatEnd sees that they are made anew before they do, that a
// restart does not forget by when, and that a failure leaves the old ones.
func TestValuesThatEnd(t *testing.T) {
	b := newBench(t)
	var calls atomic.Int64
	var down atomic.Bool
	b.makers = providers.Generators{genv1.VaultDynamicSecretKind: func(context.Context, any, providers.Config) (providers.Made, error) {
		if down.Load() {
			return providers.Made{}, fmt.Errorf("no such role: %w", providers.ErrNotFound)
		}
		n := fmt.Sprint(calls.Add(1))
		return providers.Made{Until: time.Now().Add(9 * time.Second), Values: map[string]providers.Value{"n": providers.NewValue([]byte(n))}}, nil
	}}
	b.run()
	b.apply("metadata: {name: role}\nspec: {path: database/creds/app, provider: {server: https://vault}}", &genv1.VaultDynamicSecret{})
	b.external("app", "refreshInterval: 1h\ntarget: {deletionPolicy: Delete}\ndataFrom: [{sourceRef: {generatorRef: {kind: VaultDynamicSecret, name: role}}}]")
	es := b.ready("app", "True")
	b.holds("app", `{"n":"1"}`)
	if at := es.Status.RenewTime; at == nil || time.Until(at.Time) > 6*time.Second {
		t.Errorf("status.renewTime: got %v, want it within 6s", at)
	}
	b.stop()
	b.run()
	time.Sleep(time.Second)
	if got := calls.Load(); got != 1 {
		t.Errorf("after a restart: %d calls, want the one before", got)
	}
	b.holds("app", `{"n":"2"}`)
	down.Store(true)
	b.ready("app", "False/SecretSyncedError/spec.dataFrom[0].sourceRef.generatorRef: VaultDynamicSecret \"role\": store cannot be reached: no such role")
	if b.data("app") == nil {
		t.Error("a role that is gone has deleted the Secret")
	}
}
