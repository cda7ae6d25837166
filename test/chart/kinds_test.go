package chart

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// others are the kinds that are not in the repository. Sources that cannot be
// reached, and a Reseal without a repository, have a status as well.
var others = []struct {
	resource   schema.GroupVersionResource
	namespaced bool
	manifest   string
}{
	{resource("external-secrets.io/v1", "clustersecretstores"), false, "{apiVersion: external-secrets.io/v1, kind: ClusterSecretStore, spec: {provider: {vault: STORE}}}"},
	{resource("external-secrets.io/v1", "clusterexternalsecrets"), false, "{apiVersion: external-secrets.io/v1, kind: ClusterExternalSecret, spec: {externalSecretName: everywhere, namespaces: [NS], externalSecretSpec: {secretStoreRef: {kind: ClusterSecretStore, name: NAME}, data: [{secretKey: password, remoteRef: {key: app, property: password}}]}}}"},
	{resource("external-secrets.io/v1alpha1", "clusterpushsecrets"), false, "{apiVersion: external-secrets.io/v1alpha1, kind: ClusterPushSecret, spec: {pushSecretName: everywhere, namespaceSelectors: [{matchLabels: {kubernetes.io/metadata.name: NS}}], pushSecretSpec: {deletionPolicy: Delete, secretStoreRefs: [{kind: ClusterSecretStore, name: NAME}], selector: {secret: {name: sealed}}, data: [{match: {secretKey: password, remoteRef: {remoteKey: pushed, property: password}}}]}}}"},
	{resource("generators.external-secrets.io/v1alpha1", "fakes"), true, "{apiVersion: generators.external-secrets.io/v1alpha1, kind: Fake, spec: {data: {a: b}}}"},
	{resource("external-secrets.io/v1", "externalsecrets"), true, "{apiVersion: external-secrets.io/v1, kind: ExternalSecret, metadata: {finalizers: [externalsecrets.external-secrets.io/externalsecret-cleanup]}, spec: {dataFrom: [{sourceRef: {generatorRef: {kind: Fake, name: NAME}}}]}}"},
	{resource("source.toolkit.fluxcd.io/v1", "ocirepositories"), true, "{apiVersion: source.toolkit.fluxcd.io/v1, kind: OCIRepository, metadata: {finalizers: [finalizers.fluxcd.io]}, spec: {interval: 1h, url: 'oci://127.0.0.1:1/a', serviceAccountName: app}}"},
	{resource("source.toolkit.fluxcd.io/v1", "buckets"), true, "{apiVersion: source.toolkit.fluxcd.io/v1, kind: Bucket, metadata: {finalizers: [finalizers.fluxcd.io]}, spec: {interval: 1h, endpoint: '127.0.0.1:1', bucketName: deploy}}"},
	{resource("lockstep.dev/v1alpha1", "reseals"), true, "{apiVersion: lockstep.dev/v1alpha1, kind: Reseal, spec: {sourceRef: {name: absent}, secretRef: {name: absent}, paths: [apps], commit: {author: {name: Robot, email: robot@example.com}}}}"},
}

func resource(version, name string) schema.GroupVersionResource {
	gv, err := schema.ParseGroupVersion(version)
	if err != nil {
		panic(err) // of a constant
	}
	return gv.WithResource(name)
}

// otherKinds has the controller work on the kinds that are not in the
// repository, and removes them again.
func (w *work) otherKinds(t *testing.T) {
	t.Helper()
	clients := make([]dynamic.ResourceInterface, len(others))
	for i, o := range others {
		clients[i] = w.cp.Dynamic.Resource(o.resource)
		if o.namespaced {
			clients[i] = w.cp.Dynamic.Resource(o.resource).Namespace(w.ns)
		}
		if _, err := clients[i].Create(t.Context(), w.other(t, o.manifest), metav1.CreateOptions{}); err != nil {
			t.Fatalf("%s: %v", o.resource.Resource, err)
		}
	}
	for i, o := range others {
		eventually(t, "the status of "+o.resource.Resource, func() bool {
			live, err := clients[i].Get(t.Context(), w.ns, metav1.GetOptions{})
			_, has := live.Object["status"]
			return err == nil && (has || o.resource.Group == "generators.external-secrets.io")
		})
	}
	w.rename(t)
	for i, o := range slices.Backward(others) {
		if err := clients[i].Delete(t.Context(), w.ns, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		gone(t, clients[i], o.resource.Resource, w.ns)
		if o.resource.Resource == "clusterpushsecrets" { // its store must outlive what it made
			gone(t, w.client("external-secrets.io/v1alpha1", "pushsecrets"), "the PushSecret", "renamed")
		}
	}
}

// rename gives what is made other names: what had the old ones is deleted.
func (w *work) rename(t *testing.T) {
	t.Helper()
	pushed := w.client("external-secrets.io/v1alpha1", "pushsecrets")
	eventually(t, "what is pushed", func() bool {
		live, err := pushed.Get(t.Context(), "everywhere", metav1.GetOptions{})
		return err == nil && ready(live)
	})
	for _, r := range []struct {
		client    dynamic.ResourceInterface
		patch     string
		made      dynamic.ResourceInterface
		what, old string
	}{
		{w.cp.Dynamic.Resource(resource("external-secrets.io/v1", "clusterexternalsecrets")), `{"spec":{"externalSecretName":"renamed"}}`, w.client("external-secrets.io/v1", "externalsecrets"), "the ExternalSecret", "everywhere"},
		{w.cp.Dynamic.Resource(resource("external-secrets.io/v1alpha1", "clusterpushsecrets")), `{"spec":{"pushSecretName":"renamed"}}`, pushed, "the PushSecret", "everywhere"},
		{w.client("external-secrets.io/v1", "externalsecrets"), `{"spec":{"target":{"name":"moved"}}}`, w.client("v1", "secrets"), "the Secret", w.ns},
	} {
		if _, err := r.client.Patch(t.Context(), w.ns, types.MergePatchType, []byte(r.patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		gone(t, r.made, r.what, r.old)
	}
}

// client is that of a resource in the namespace.
func (w *work) client(version, name string) dynamic.ResourceInterface {
	return w.cp.Dynamic.Resource(resource(version, name)).Namespace(w.ns)
}

func gone(t *testing.T, c dynamic.ResourceInterface, what, name string) {
	t.Helper()
	eventually(t, what+" "+name+" to go", func() bool {
		_, err := c.Get(t.Context(), name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

// other is an object of a manifest. It is named after the namespace, which no
// other test has.
func (w *work) other(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	vault := w.secretStore()["spec"].(map[string]any)["provider"].(map[string]any)["vault"].(map[string]any)
	account := vault["auth"].(map[string]any)["kubernetes"].(map[string]any)["serviceAccountRef"].(map[string]any)
	account["namespace"] = w.ns
	store, err := yaml.Marshal(vault)
	if err == nil {
		store, err = yaml.YAMLToJSON(store)
	}
	o := &unstructured.Unstructured{}
	if err == nil {
		err = yaml.Unmarshal([]byte(strings.NewReplacer("STORE", string(store), "NAME", w.ns, "NS", w.ns).Replace(text)), &o.Object)
	}
	if err != nil {
		t.Fatal(err)
	}
	o.SetName(w.ns)
	return o
}

// ready reports whether an object says so.
func ready(o *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == "Ready" && c["status"] == "True" {
			return true
		}
	}
	return false
}

// editSecrets changes what the controller keeps as it is, and waits until it
// has put that right.
func (w *work) editSecrets(t *testing.T) {
	t.Helper()
	for _, name := range []string{"sealed", "fetched"} {
		secrets := w.cp.Client.CoreV1().Secrets(w.ns)
		if _, err := secrets.Patch(t.Context(), name, types.MergePatchType, []byte(`{"data":{"password":"eA=="}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the Secret "+name+" to be put right", func() bool {
			secret, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
			return err == nil && secret.Type == corev1.SecretTypeOpaque && string(secret.Data["password"]) == w.canary.Value()
		})
	}
}
