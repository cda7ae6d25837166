package attacks

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
)

// refusedFirst are ExternalSecrets that may not have what they ask for, and
// what their condition says. URL is that of the service, NS the namespace.
var refusedFirst = map[string]struct{ spec, says string }{
	"not-admitted":  {"{secretStoreRef: {kind: ClusterSecretStore, name: NS-closed}, data: [{secretKey: a, remoteRef: {key: a}}]}", "namespace is not admitted"},
	"key-policy":    {"{secretStoreRef: {kind: ClusterSecretStore, name: NS-policy}, data: [{secretKey: a, remoteRef: {key: other/a}}]}", "key is not for this namespace"},
	"key-stray":     {"{secretStoreRef: {kind: ClusterSecretStore, name: NS-policy}, data: [{secretKey: a, remoteRef: {key: NS/../other/a}}]}", "key is not for this namespace"},
	"key-extract":   {"{secretStoreRef: {kind: ClusterSecretStore, name: NS-policy}, dataFrom: [{extract: {key: other/a}}]}", "key is not for this namespace"},
	"type-token":    {"{secretStoreRef: {kind: ClusterSecretStore, name: NS-open}, target: {template: {type: kubernetes.io/service-account-token}}, data: [{secretKey: a, remoteRef: {key: a}}]}", "spec.target.template.type"},
	"type-boot":     {"{secretStoreRef: {kind: ClusterSecretStore, name: NS-open}, target: {template: {type: bootstrap.kubernetes.io/token}}, data: [{secretKey: a, remoteRef: {key: a}}]}", "spec.target.template.type"},
	"generator":     {"{dataFrom: [{sourceRef: {generatorRef: {kind: Webhook, name: foreign}}}]}", "a generator refers to its user's namespace only"},
	"generator-all": {"{dataFrom: [{sourceRef: {generatorRef: {kind: ClusterGenerator, name: NS-foreign}}}]}", "a generator refers to its user's namespace only"},
}

// TestK7RefusedFirst has a service count the requests for what nobody may have:
// it is asked only for what may be read, and not to be told so afterwards.
func TestK7RefusedFirst(t *testing.T) {
	s := shared.Get(t)
	ns := s.Cluster.Namespace(t)
	var asked atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, `{"a":"b"}`)
	}))
	t.Cleanup(service.Close)
	hook := "webhook: {url: '" + service.URL + "/{{ .remoteRef.key }}'}"
	for name, spec := range map[string]string{"open": "", "policy": "", "closed": ", conditions: [{namespaces: [elsewhere]}]"} {
		store := &esv1.ClusterSecretStore{ObjectMeta: metav1.ObjectMeta{Name: ns + "-" + name}}
		fill(t, store, "spec: {provider: {"+hook+"}"+spec+"}")
		if name == "policy" {
			store.Annotations = map[string]string{"lockstep.dev/key-policy": `[{prefixes: ["{{namespace}}/"]}]`}
		}
		if err := s.Ensure(t.Context(), store); err != nil {
			t.Fatal(err)
		}
	}
	foreign := "url: '" + service.URL + "', secrets: [{name: x, secretRef: {name: x, key: x, namespace: kube-system}}]"
	one := &genv1.Webhook{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "foreign"}}
	fill(t, one, "spec: {"+foreign+"}")
	all := &genv1.ClusterGenerator{ObjectMeta: metav1.ObjectMeta{Name: ns + "-foreign"}}
	fill(t, all, "spec: {kind: Webhook, generator: {webhookSpec: {"+foreign+"}}}")
	if err := s.Ensure(t.Context(), one, all); err != nil {
		t.Fatal(err)
	}
	external := func(name, spec string) *esv1.ExternalSecret {
		es := &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
		fill(t, es, "spec: "+strings.ReplaceAll(spec, "NS", ns))
		if err := s.Ensure(t.Context(), client.Object(es)); err != nil {
			t.Fatal(err)
		}
		return es
	}
	for name, tc := range refusedFirst {
		t.Run(name, func(t *testing.T) {
			if message := settled(t, s, external(name, tc.spec), "False").Message; !strings.Contains(message, tc.says) {
				t.Errorf("got %q, want %q in it", message, tc.says)
			}
			if n := asked.Load(); n > 0 {
				t.Errorf("the service was asked %d times", n)
			}
		})
	}
	settled(t, s, external("good", "{secretStoreRef: {kind: ClusterSecretStore, name: NS-policy}, data: [{secretKey: a, remoteRef: {key: NS/a}}]}"), "True")
	if asked.Load() == 0 {
		t.Error("the service was never asked: the test proves nothing")
	}
}
