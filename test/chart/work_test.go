package chart

import (
	"crypto/rsa"
	"encoding/base64"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// work is what the controller has to do, from a repository with two folders: a
// ConfigMap in platform, applied as the account that the chart makes; and in
// tenant, applied as an account of a user, a SealedSecret, and an ExternalSecret
// that reads from Vault as a ServiceAccount.
type work struct {
	cp     *testenv.ControlPlane
	ns     string
	canary *testenv.Canary
	vault  *testenv.Vault
	repo   *testenv.Repository
}

func newWork(t *testing.T, cp *testenv.ControlPlane, ns string, canary *testenv.Canary) *work {
	t.Helper()
	w := &work{cp: cp, ns: ns, canary: canary}
	git, err := testenv.StartGit(t.Context(), testenv.GitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(git.Stop)
	if w.repo, err = git.Repository(t.Context(), "public/chart.git"); err != nil {
		t.Fatal(err)
	}
	if w.vault, err = testenv.StartVault(t.Context(), testenv.VaultOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.vault.Stop)
	if _, err := w.vault.Put(t.Context(), "app", map[string]any{"password": canary.Value()}); err != nil {
		t.Fatal(err)
	}
	if _, err := cp.Token(t.Context(), ns, "app"); err != nil { // makes the account
		t.Fatal(err)
	}
	role := testenv.VaultRole{Name: "app", Policy: `path "secret/*" { capabilities = ["create", "read", "update", "delete"] }`}
	if err := w.vault.KubernetesRole(t.Context(), cp, role, testenv.VaultSubject{Namespace: ns, Name: "app"}); err != nil {
		t.Fatal(err)
	}
	return w
}

// push commits what is to be synced, the secret in it sealed with certificate.
func (w *work) push(t *testing.T, certificate []byte) {
	t.Helper()
	cert, err := sealer.ParseCertificate(certificate)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := sealer.Seal(cert.PublicKey.(*rsa.PublicKey), []byte(w.canary.Value()), sealer.Binding{Namespace: w.ns, Name: "sealed"}.Label())
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"platform/config.yaml": manifest(t, object("v1", "ConfigMap", "synced", map[string]any{"data": map[string]any{"a": "b"}})),
		"tenant/sealed.yaml":   manifest(t, object("bitnami.com/v1alpha1", "SealedSecret", "sealed", spec("encryptedData", map[string]any{"password": base64.StdEncoding.EncodeToString(sealed)}))),
		"tenant/store.yaml":    manifest(t, w.secretStore()),
		"tenant/external.yaml": manifest(t, externalSecret()),
	}
	if _, err := w.repo.Commit(t.Context(), "the work", files); err != nil {
		t.Fatal(err)
	}
}

func (w *work) secretStore() map[string]any {
	return object("external-secrets.io/v1", "SecretStore", "vault", spec("provider", map[string]any{"vault": map[string]any{
		"server": w.vault.Address(), "path": "secret", "version": "v2",
		"caBundle": base64.StdEncoding.EncodeToString(w.vault.CA),
		"auth": map[string]any{"kubernetes": map[string]any{
			"mountPath": "kubernetes", "role": "app", "serviceAccountRef": map[string]any{"name": "app"},
		}},
	}}))
}

func externalSecret() map[string]any {
	return object("external-secrets.io/v1beta1", "ExternalSecret", "fetched", map[string]any{"spec": map[string]any{
		"refreshInterval": "1h",
		"secretStoreRef":  map[string]any{"name": "vault", "kind": "SecretStore"},
		"data": []any{map[string]any{
			"secretKey": "password", "remoteRef": map[string]any{"key": "app", "property": "password"},
		}},
	}})
}

// allow makes the account "deployer" with the rights that the tenant's part
// takes, in its namespace only, and the source of both parts.
func (w *work) allow(t *testing.T) {
	t.Helper()
	if _, err := w.cp.Token(t.Context(), w.ns, "deployer"); err != nil { // makes the account
		t.Fatal(err)
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "deployer"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"bitnami.com"}, Resources: []string{"sealedsecrets"}, Verbs: []string{"*"}},
		{APIGroups: []string{"external-secrets.io"}, Resources: []string{"secretstores", "externalsecrets"}, Verbs: []string{"*"}},
	}}
	if _, err := w.cp.Client.RbacV1().Roles(w.ns).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "deployer"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "deployer"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.ns, Name: "deployer"}},
	}
	if _, err := w.cp.Client.RbacV1().RoleBindings(w.ns).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	source := object("source.toolkit.fluxcd.io/v1", "GitRepository", "work", map[string]any{"spec": map[string]any{
		"interval": "1m", "url": w.repo.URL(), "ref": map[string]any{"branch": "main"},
	}})
	source["metadata"].(map[string]any)["finalizers"] = []any{"finalizers.fluxcd.io"} // as Flux leaves it behind
	w.create(t, "gitrepositories", source)
}

// sync asks for a folder of the repository, applied as account or, if that is
// empty, as the account of the chart.
func (w *work) sync(t *testing.T, folder, account string) {
	t.Helper()
	fields := map[string]any{
		"interval": "10m", "prune": true, "path": "./" + folder, "targetNamespace": w.ns,
		"sourceRef": map[string]any{"kind": "GitRepository", "name": "work"},
	}
	if account != "" {
		fields["serviceAccountName"] = account
	}
	w.create(t, "kustomizations", object("kustomize.toolkit.fluxcd.io/v1", "Kustomization", folder, map[string]any{"spec": fields}))
}

// waitForObjects waits for the ConfigMap and both Secrets, and looks for the
// secret value everywhere else.
func (w *work) waitForObjects(t *testing.T) {
	t.Helper()
	eventually(t, "the ConfigMap of the repository", func() bool {
		_, err := w.cp.Client.CoreV1().ConfigMaps(w.ns).Get(t.Context(), "synced", metav1.GetOptions{})
		return err == nil
	})
	var allowed []types.NamespacedName
	for _, name := range []string{"sealed", "fetched"} {
		var secret *corev1.Secret
		eventually(t, "the Secret "+name, func() bool {
			var err error
			secret, err = w.cp.Client.CoreV1().Secrets(w.ns).Get(t.Context(), name, metav1.GetOptions{})
			return err == nil
		})
		if string(secret.Data["password"]) != w.canary.Value() {
			t.Errorf("Secret %s does not hold the value that was sealed, or stored in Vault", name)
		}
		allowed = append(allowed, types.NamespacedName{Namespace: w.ns, Name: name})
	}
	w.canary.NotInCluster(t, w.cp, allowed...)
}

// remove deletes the sync, which prunes, and waits until everything is gone.
func (w *work) remove(t *testing.T) {
	t.Helper()
	for _, o := range []struct{ resource, name string }{{"kustomizations", "platform"}, {"kustomizations", "tenant"}, {"gitrepositories", "work"}} {
		client := w.cp.Dynamic.Resource(resources[o.resource]).Namespace(w.ns)
		if err := client.Delete(t.Context(), o.name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, o.resource+" "+o.name+" to be finalized", func() bool {
			_, err := client.Get(t.Context(), o.name, metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		})
	}
	eventually(t, "what was synced to go", func() bool {
		for _, name := range []string{"sealed", "fetched"} {
			if _, err := w.cp.Client.CoreV1().Secrets(w.ns).Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				return false
			}
		}
		_, err := w.cp.Client.CoreV1().ConfigMaps(w.ns).Get(t.Context(), "synced", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

var resources = map[string]schema.GroupVersionResource{
	"gitrepositories": {Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "gitrepositories"},
	"kustomizations":  {Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"},
}

func (w *work) create(t *testing.T, resource string, o map[string]any) {
	t.Helper()
	client := w.cp.Dynamic.Resource(resources[resource]).Namespace(w.ns)
	if _, err := client.Create(t.Context(), &unstructured.Unstructured{Object: o}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// object returns an object with the given fields.
func object(apiVersion, kind, name string, fields map[string]any) map[string]any {
	o := map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": name}}
	maps.Copy(o, fields)
	return o
}

func spec(field string, value any) map[string]any {
	return map[string]any{"spec": map[string]any{field: value}}
}

func manifest(t *testing.T, o map[string]any) string {
	t.Helper()
	text, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
