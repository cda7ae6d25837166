package attacks

import (
	"encoding/base64"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// TestK5LabelsOnPurpose makes the Secrets that other controllers act upon, which
// manifests in use need: a repository of Argo CD, and a release of Helm. The
// page says what follows from it.
func TestK5LabelsOnPurpose(t *testing.T) {
	s := shared.Get(t)
	ns := s.Cluster.Namespace(t)
	referents(t, s, ns, "mine", "plain")
	if _, err := s.Vault.Put(t.Context(), ns+"/read", map[string]any{"text": "default"}); err != nil {
		t.Fatal(err)
	}
	for system, want := range map[string]struct {
		kind   corev1.SecretType
		labels map[string]string
	}{
		"argocd": {corev1.SecretTypeOpaque, map[string]string{"argocd.argoproj.io/secret-type": "repository"}},
		"helm":   {"helm.sh/release.v1", map[string]string{"owner": "helm", "status": "deployed", "name": "app", "version": "1"}},
	} {
		e := escalation{kind: want.kind}
		es := &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "es-" + system}, Spec: e.spec(t, ns, "es-"+system)}
		es.Spec.Target.Template.Metadata.Labels = want.labels
		ces := &esv1.ClusterExternalSecret{ObjectMeta: metav1.ObjectMeta{Name: ns + "-ces-" + system}}
		ces.Spec.Namespaces, ces.Spec.ExternalSecretSpec = []string{ns}, *es.Spec.DeepCopy()
		ces.Spec.ExternalSecretSpec.Target.Name = "ces-" + system
		ss := sealed(t, s, ns, "ss-"+system, e)
		ss.Spec.Template.Labels = want.labels
		if err := s.Ensure(t.Context(), es, ces, ss); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Client.Delete(lasting(t), ces) })
		for name, o := range map[string]conditioned{
			"es-" + system: es, "ss-" + system: ss,
			"ces-" + system: &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: ces.Name}},
		} {
			t.Run(name, func(t *testing.T) {
				settled(t, s, o, "True")
				secret := &corev1.Secret{}
				if err := s.Client.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, secret); err != nil {
					t.Fatal(err)
				}
				for k, v := range want.labels {
					if secret.Labels[k] != v {
						t.Errorf("label %s: got %q, want %q", k, secret.Labels[k], v)
					}
				}
				if secret.Type != want.kind || len(secret.Data["text"]) == 0 {
					t.Errorf("got a Secret of type %s with %d items, want %s with text", secret.Type, len(secret.Data), want.kind)
				}
			})
		}
	}
}

// TestStoreOfThePage applies the ClusterSecretStore of docs/security.md with
// another address, and reads by it what it admits, and what it does not.
func TestStoreOfThePage(t *testing.T) {
	s := shared.Get(t)
	canary := testenv.NewCanary(t)
	team, id := fmt.Sprintf("team-%d", time.Now().UnixNano()), fmt.Sprint(time.Now().UnixNano())
	other, prefixed := "other-"+id, "x-"+team
	readsAsPlatform(t, s, team, other, prefixed)
	for _, path := range []string{team, "shared/" + id, "teams/" + id, "private/" + id, other, prefixed} {
		if _, err := s.Vault.Put(t.Context(), path+"/db", map[string]any{"text": canary.Value()}); err != nil {
			t.Fatal(err)
		}
	}
	store := &esv1.ClusterSecretStore{}
	fill(t, store, storeOfThePage(t, s.Vault))
	if err := s.Ensure(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Client.Delete(lasting(t), store) })

	var allowed []client.ObjectKey
	for i, tc := range []struct{ ns, read, ready, says string }{
		{team, one(team), "True", ""},
		{team, one("shared/" + id), "True", ""},
		{team, one("teams/" + id), "True", ""},
		{team, "dataFrom: [{find: {path: shared/" + id + ", name: {regexp: .*}}}]", "True", ""},
		{team, one("private/" + id), "False", "private/"},
		{team, one(other), "False", other},
		{team, one(prefixed), "False", prefixed},
		{team, "dataFrom: [{extract: {key: private/" + id + "/db}}]", "False", "private/"},
		{team, "dataFrom: [{find: {name: {regexp: .*}}}]", "False", "path"},
		{team, "dataFrom: [{find: {path: private, name: {regexp: .*}}}]", "False", "private"},
		{other, one(other), "False", "namespace is not admitted"},
		{other, one("shared/" + id), "False", "namespace is not admitted"},
		{prefixed, one(prefixed), "False", "namespace is not admitted"},
	} {
		es := &esv1.ExternalSecret{}
		fill(t, es, fmt.Sprintf("metadata: {namespace: %s, name: case-%d}\nspec: {secretStoreRef: {kind: ClusterSecretStore, name: company}, %s}", tc.ns, i, tc.read))
		if err := s.Ensure(t.Context(), es); err != nil {
			t.Fatal(err)
		}
		c := settled(t, s, es, tc.ready)
		if !strings.Contains(c.Message, tc.says) {
			t.Errorf("%s reads %s: got %q, want a message with %q", tc.ns, tc.read, c.Message, tc.says)
		}
		err := s.Client.Get(t.Context(), client.ObjectKeyFromObject(es), &corev1.Secret{})
		if (err == nil) != (tc.ready == "True") {
			t.Errorf("%s reads %s: the Secret: %v", tc.ns, tc.read, err)
		}
		if tc.ready == "True" {
			allowed = append(allowed, client.ObjectKeyFromObject(es))
		}
	}
	canary.NotInCluster(t, s.Cluster, allowed...)
}

// readsAsPlatform makes namespaces, and what the store of the page logs in as.
func readsAsPlatform(t *testing.T, s *stage.Stage, namespaces ...string) {
	t.Helper()
	for _, name := range append(namespaces, "platform") {
		if err := s.Ensure(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ensure(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "platform", Name: "reader"}}); err != nil {
		t.Fatal(err)
	}
	role := testenv.VaultRole{Name: "platform", Policy: "path \"secret/*\" { capabilities = [\"read\", \"list\"] }"}
	if err := s.Vault.KubernetesRole(t.Context(), s.Cluster, role, testenv.VaultSubject{Namespace: "platform", Name: "reader"}); err != nil {
		t.Fatal(err)
	}
}

// one reads an item below a path.
func one(path string) string {
	return "data: [{secretKey: text, remoteRef: {key: " + path + "/db, property: text}}]"
}

// storeOfThePage is the manifest of docs/security.md for another server.
func storeOfThePage(t *testing.T, v *testenv.Vault) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	const server = "server: https://vault.example.com,"
	if len(blocks) != 1 || !strings.Contains(blocks[0][1], server) {
		t.Fatalf("the page has %d manifests, want one of a store of Vault: apply the others too", len(blocks))
	}
	return strings.Replace(blocks[0][1], server, "server: "+v.Address()+", caBundle: "+base64.StdEncoding.EncodeToString(v.CA)+",", 1)
}
