package pull_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// Find implements providers.Finder: by the begin of the path, the name, and
// the tag that Metadata has.
func (b *backend) Find(_ context.Context, query providers.Query) ([]string, error) {
	b.reads.Add(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	var keys []string
	for ref := range b.values {
		if strings.HasPrefix(ref.Path, query.Path) && (query.Name == nil || query.Name.MatchString(ref.Path)) && (query.Tags == nil || query.Tags["owner"] == "of "+ref.Path) {
			keys = append(keys, ref.Path)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

// Metadata implements providers.MetadataReader.
func (b *backend) Metadata(_ context.Context, ref providers.Ref) (providers.Value, error) {
	return providers.NewValue(fmt.Appendf(nil, `{"owner":"of %s"}`, ref.Path)), nil
}

func TestFindRewriteMetadata(t *testing.T) {
	b := start(t)
	b.backend.set("app/db", `{"user":"ada"}`)
	b.backend.set("app/mail", `{"host":"mx"}`)
	b.backend.set("other/db", "no")
	b.external("app", `
dataFrom:
- find: {path: app/, name: {regexp: "db|mail"}}
  rewrite: [{regexp: {source: "app/(.*)", target: "$1.json"}}]
data:
- {secretKey: owner, remoteRef: {key: app/db, metadataPolicy: Fetch, property: owner}}`)
	b.ready("app", "True")
	b.holds("app", `{"db.json":"{\"user\":\"ada\"}","mail.json":"{\"host\":\"mx\"}","owner":"of app/db"}`)
}

func TestSameSecretManyTimes(t *testing.T) {
	b := start(t)
	b.backend.set("db", "x")
	const many = 40
	for i := range many {
		b.external(fmt.Sprintf("app-%d", i), "refreshInterval: 4s\ndata: [{secretKey: a, remoteRef: {key: db}}]")
	}
	for i := range many {
		b.ready(fmt.Sprintf("app-%d", i), "True")
	}
	writes := b.requests.writes.Load()
	before := b.backend.reads.Load()
	time.Sleep(9 * time.Second)
	if got := b.backend.reads.Load() - before; got < 1 || got > 6 {
		t.Errorf("two intervals of %d objects on one secret: %d reads, want about one each", many, got)
	}
	if got := b.requests.writes.Load() - writes; got != 0 {
		t.Errorf("refreshes that find nothing new: %d writes, want none", got)
	}
}

func TestWakes(t *testing.T) {
	b := start(t)
	b.backend.set("db", "x")
	b.apply("metadata: {name: form}\ndata: {out: 'one {{ .a }}'}", &corev1.ConfigMap{})
	b.external("app", `
target: {template: {templateFrom: [{configMap: {name: form, items: [{key: out}]}}]}}
data: [{secretKey: a, remoteRef: {key: db}}]`)
	b.holds("app", `{"out":"one x"}`)
	t.Run("Template", func(t *testing.T) {
		form := &corev1.ConfigMap{}
		if err := b.Get(t.Context(), b.key("form"), form); err != nil {
			t.Fatal(err)
		}
		form.Data["out"] = "two {{ .a }}"
		if err := b.Update(t.Context(), form); err != nil {
			t.Fatal(err)
		}
		b.holds("app", `{"out":"two x"}`)
	})
	t.Run("NamespaceLabel", func(t *testing.T) {
		name := "css-" + b.ns
		b.apply("metadata: {name: "+name+"}\nspec: {provider: {example: {}}, conditions: [{namespaceSelector: {matchLabels: {admitted: '"+b.ns+"'}}}]}", &esv1.ClusterSecretStore{})
		b.apply("metadata: {name: cluster}\nspec: {secretStoreRef: {kind: ClusterSecretStore, name: "+name+"}, data: [{secretKey: a, remoteRef: {key: db}}]}", &esv1.ExternalSecret{})
		b.ready("cluster", "False")
		patch := fmt.Sprintf(`{"metadata":{"labels":{"admitted":%q}}}`, b.ns)
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.ns}}
		if err := b.Patch(t.Context(), ns, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
			t.Fatal(err)
		}
		b.ready("cluster", "True")
	})
	t.Run("KeyPolicy", func(t *testing.T) {
		name := "policy-" + b.ns
		b.apply("metadata: {name: "+name+", annotations: {lockstep.dev/key-policy: '[{prefixes: [\"{{namespace}}/\"]}]'}}\nspec: {provider: {example: {}}}", &esv1.ClusterSecretStore{})
		b.backend.set(b.ns+"/db", "mine")
		spec := "\nspec: {secretStoreRef: {kind: ClusterSecretStore, name: " + name + "}, data: [{secretKey: a, remoteRef: {key: %s}}]}"
		b.apply("metadata: {name: own}"+fmt.Sprintf(spec, b.ns+"/db"), &esv1.ExternalSecret{})
		b.apply("metadata: {name: foreign}"+fmt.Sprintf(spec, "db"), &esv1.ExternalSecret{})
		b.holds("own", `{"a":"mine"}`)
		if message := b.ready("foreign", "False").GetConditions()[0].Message; !strings.Contains(message, "key is not for this namespace") {
			t.Errorf("message: %s", message)
		}
	})
}

// TestSyncWindows has a time when no store is to be read: what is due on its
// own waits for it to end, what a person asks for does not.
func TestSyncWindows(t *testing.T) {
	b := start(t)
	b.backend.set("db", "1")
	const always = "{kind: deny, windows: [{schedule: '@hourly', duration: 2h}]}"
	b.external("closed", "refreshInterval: 1s\nsyncWindows: "+always+"\ndata: [{secretKey: a, remoteRef: {key: db}}]")
	b.external("open", "refreshInterval: 1s\nsyncWindows: "+strings.Replace(always, "deny", "allow", 1)+"\ndata: [{secretKey: a, remoteRef: {key: db}}]")
	b.ready("closed", "True")
	b.holds("closed", `{"a":"1"}`)
	b.backend.set("db", "2")
	b.holds("open", `{"a":"2"}`)
	b.backend.set("db", "3")
	b.holds("open", `{"a":"3"}`) // two intervals are over
	if got := b.data("closed")["a"]; got != "1" {
		t.Errorf("got %s, which was read outside of the windows", got)
	}
	b.change("closed", func(es *esv1.ExternalSecret) { es.Annotations = map[string]string{"force-sync": "1"} })
	b.holds("closed", `{"a":"3"}`)
	b.change("open", func(es *esv1.ExternalSecret) { es.Spec.Target.DeletionPolicy = esv1.DeletionDelete })
	b.eventually("a finalizer where a deletion has something to do", func() bool { return len(b.ready("open", "True").Finalizers) == 1 })
	b.change("open", func(es *esv1.ExternalSecret) { es.Spec.Target.DeletionPolicy = "" })
	b.eventually("no finalizer where it has not", func() bool { return len(b.ready("open", "True").Finalizers) == 0 })
}

func TestBadInput(t *testing.T) {
	b := start(t)
	b.backend.set("text", "hunter2")
	b.backend.set("html", "<html>hunter2</html>")
	b.backend.set("array", `["hunter2"]`)
	b.backend.set("binary", "\x00\xffhunter2")
	b.backend.set("large", strings.Repeat("x", 1<<20+1))
	b.backend.set("empty", "")
	b.backend.fail("denied", providers.ErrDenied)
	b.apply("metadata: {name: theirs}\ndata: {}", &corev1.Secret{})
	b.external("first", "data: [{secretKey: a, remoteRef: {key: text}}]")
	b.ready("first", "True")
	cases := map[string]struct{ reason, spec, want string }{
		"Denied":        {"A 403 is no missing secret.", "target: {deletionPolicy: Delete}\ndata: [{secretKey: a, remoteRef: {key: denied}}]", "does not let us read"},
		"HTML":          {"A page is not JSON.", "data: [{secretKey: a, remoteRef: {key: html, property: a}}]", "the value is not JSON"},
		"Array":         {"An array is not an object.", "dataFrom: [{extract: {key: array}}]", "is not a JSON object"},
		"Binary":        {"Zero bytes can be refused.", "data: [{secretKey: a, remoteRef: {key: binary, nullBytePolicy: Fail}}]", "zero byte"},
		"BinaryText":    {"Binary is no property.", "data: [{secretKey: a, remoteRef: {key: binary, property: a}}]", "the value is not JSON"},
		"Empty":         {"Nothing is not an object.", "dataFrom: [{extract: {key: empty}}]", "is not a JSON object"},
		"Base64":        {"What cannot be decoded is said without it.", "data: [{secretKey: a, remoteRef: {key: html, decodingStrategy: Base64}}]", "it is not Base64"},
		"Large":         {"A Secret has a size.", "data: [{secretKey: a, remoteRef: {key: large}}]", "of which the value of key \"a\" is 1048577, and 1048576 are allowed: take less of it"},
		"Loop":          {"A template that does not end is ended.", "target: {template: {data: {a: '{{ range until 9999 }}{{ range until 9999 }}{{ range until 9999 }}{{ end }}{{ end }}{{ end }}'}}}\ndata: [{secretKey: a, remoteRef: {key: text}}]", "make it simpler"},
		"Regexp":        {"A pattern that explodes elsewhere does not here; one that is none is refused.", "dataFrom: [{find: {name: {regexp: '(a+'}}}]", "not a regular expression"},
		"TwoOnOne":      {"A Secret has one owner.", "target: {name: first}\ndata: [{secretKey: b, remoteRef: {key: text}}]", `belongs to ExternalSecret "first"`},
		"NoStore":       {"A store of that name must be in the namespace.", "data: [{secretKey: a, remoteRef: {key: text}, sourceRef: {storeRef: {name: elsewhere}}}]", `SecretStore "elsewhere" does not exist`},
		"ServiceToken":  {"No token of a ServiceAccount is minted.", "target: {template: {type: kubernetes.io/service-account-token, metadata: {annotations: {kubernetes.io/service-account.name: default}}}}\ndata: [{secretKey: a, remoteRef: {key: text}}]", "is not allowed"},
		"BootstrapType": {"Nor one that lets nodes in.", "target: {template: {type: bootstrap.kubernetes.io/token}}\ndata: [{secretKey: a, remoteRef: {key: text}}]", "is not allowed"},
		"Manifest":      {"Nor any other object.", "target: {manifest: {apiVersion: v1, kind: ServiceAccount}}\ndata: [{secretKey: a, remoteRef: {key: text}}]", "spec.target.manifest is not supported"},
		"Window":        {"A window that cannot be is named.", "syncWindows: {kind: allow, windows: [{schedule: '* *', duration: 1h}]}\ndata: [{secretKey: a, remoteRef: {key: text}}]", "spec.syncWindows.windows[0].schedule"},
		"Host":          {"A template asks no name server.", "target: {template: {data: {a: '{{ getHostByName .a }}'}}}\ndata: [{secretKey: a, remoteRef: {key: text}}]", "getHostByName is not available"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			object := "bad-" + strings.ToLower(name)
			b.external(object, tc.spec)
			es := b.ready(object, "False/SecretSyncedError/")
			message := es.GetConditions()[0].Message
			if !strings.Contains(message, tc.want) {
				t.Errorf("%s\ngot %q, want %q in it", tc.reason, message, tc.want)
			}
			if strings.Contains(message, "hunter2") {
				t.Errorf("%s\nthe message has the value", tc.reason)
			}
			if b.data(object) != nil {
				t.Errorf("%s\na Secret was written", tc.reason)
			}
		})
	}
	b.holds("first", `{"a":"hunter2"}`)
}
