package e2e

import (
	"encoding/base64"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// exampleServer is where Vault or OpenBao is in the pages.
var exampleServer = regexp.MustCompile(`server: https://(vault|openbao)\.example\.com:8200`)

// heredocs are the texts between << and the word of a page.
func heredocs(t *testing.T, page, word string) []string {
	t.Helper()
	var all []string
	for _, found := range regexp.MustCompile(`(?s)<<'?`+word+`'?\n(.*?)\n`+word+`\n`).FindAllStringSubmatch(page, -1) {
		all = append(all, found[1]+"\n")
	}
	if len(all) == 0 {
		t.Fatalf("the page has no <<%s", word)
	}
	return all
}

// TestVaultPage applies the manifests of docs/external-secrets-vault.md, with
// another address and namespace, as a user would: AppRole, then Kubernetes auth, and OpenBao.
func TestVaultPage(t *testing.T) {
	s := shared.Get(t)
	text, err := os.ReadFile("../../docs/external-secrets-vault.md")
	if err != nil {
		t.Fatal(err)
	}
	ns := s.Cluster.Namespace(t)
	page := strings.ReplaceAll(string(text), "team-a", ns)
	canary, next := testenv.NewCanary(t), testenv.NewCanary(t)
	put := func(c *testenv.Canary) {
		t.Helper()
		if _, err := s.Vault.Put(t.Context(), ns+"/db", map[string]any{"username": "app", "password": c.Value()}); err != nil {
			t.Fatal(err)
		}
	}
	put(canary)
	role := testenv.VaultRole{Name: ns, Policy: heredocs(t, page, "HCL")[0]}
	id, secret, err := s.Vault.AppRole(t.Context(), role)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Vault.KubernetesRole(t.Context(), s.Cluster, role, testenv.VaultSubject{Namespace: ns, Name: "secrets-reader", Audience: "vault"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Ensure(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "vault-approle"}, StringData: map[string]string{"secret-id": secret}}); err != nil {
		t.Fatal(err)
	}

	manifests := heredocs(t, page, "YAML")
	at := key(ns, "db")
	for i, store := range []string{"vault", "vault", "openbao"} {
		manifest := strings.ReplaceAll(manifests[i], "$(cat role-id)", id)
		if !exampleServer.MatchString(manifest) {
			t.Fatalf("manifest %d has no server:\n%s", i, manifest)
		}
		manifest = exampleServer.ReplaceAllString(manifest, "server: "+s.Vault.Address()+"\n      caBundle: "+base64.StdEncoding.EncodeToString(s.Vault.CA))
		if i == 1 { // where kubectl apply changes what is there, apply leaves it alone
			if err := s.Client.Delete(t.Context(), &esv1.SecretStore{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: store}}); err != nil {
				t.Fatal(err)
			}
		}
		apply(t, s, manifest)
		eventually(t, enough, func() string { return notReady(t, s, &esv1.SecretStore{}, key(ns, store)) })
		if i == 0 {
			eventually(t, enough, func() string { return secretHolds(t, s, at, map[string]string{"password": canary.Value()}) })
		}
	}
	// The store with Kubernetes auth is what a forced read goes through.
	put(next)
	es := &esv1.ExternalSecret{}
	if err := s.Client.Get(t.Context(), at, es); err != nil {
		t.Fatal(err)
	}
	before := es.DeepCopy()
	metav1.SetMetaDataAnnotation(&es.ObjectMeta, "force-sync", "now")
	if err := s.Client.Patch(t.Context(), es, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	eventually(t, enough, func() string { return secretHolds(t, s, at, map[string]string{"password": next.Value()}) })
	for _, c := range []*testenv.Canary{canary, next} {
		noLeak(t, s, c, at)
	}
	if got := len(manifests); got != 3 {
		t.Errorf("the page has %d manifests, of which 3 are tried: add the others", got)
	}
}

// takes wants the API server to take each object of a manifest, without a field
// that it does not know. Nothing is made.
func takes(t *testing.T, s *stage.Stage, what, manifest string) {
	t.Helper()
	for part := range strings.SplitSeq("\n"+manifest, "\n---\n") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(part), &o.Object); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if err := s.Client.Create(t.Context(), o, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestPagesOfStores wants the API server to take every manifest of the pages of
// the providers, without a field that it does not know.
func TestPagesOfStores(t *testing.T) {
	s := shared.Get(t)
	ns := s.Cluster.Namespace(t)
	for _, name := range []string{"aws", "gcp", "vault"} {
		text, err := os.ReadFile("../../docs/external-secrets-" + name + ".md")
		if err != nil {
			t.Fatal(err)
		}
		for i, manifest := range heredocs(t, strings.ReplaceAll(string(text), "team-a", ns), "YAML") {
			takes(t, s, fmt.Sprintf("%s, manifest %d", name, i), manifest)
		}
	}
}
