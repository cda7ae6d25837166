package kustomization_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"github.com/getsops/sops/v3"
	sopskeys "github.com/getsops/sops/v3/keys"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/decrypt/testkit"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// sealed makes files as sops does, for one age key.
type sealed struct {
	t        *testing.T
	key      sopskeys.MasterKey
	identity string
}

func newSealed(t *testing.T) sealed {
	identity, key := testkit.AgeKey(t)
	return sealed{t, key, identity}
}

func (s sealed) file(store, text string) string {
	return string(testkit.Sealer{Store: store, Groups: testkit.Group(s.key)}.Seal(s.t, text))
}

// manifest encrypts only the data of a manifest, as people do.
func (s sealed) manifest(text string) string {
	return string(testkit.Sealer{Store: "yaml", Groups: testkit.Group(s.key), Change: func(m *sops.Metadata) {
		m.UnencryptedSuffix, m.EncryptedRegex = "", "^(data|stringData)$"
	}}.Seal(s.t, text))
}

// keys puts what opens the files into the cluster.
func (s sealed) keys(b *bench) {
	s.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "sops"}, StringData: map[string]string{"main.agekey": s.identity}}
	if err := b.Create(s.t.Context(), secret); err != nil {
		s.t.Fatal(err)
	}
}

func withSOPS(s *kustomizev1.KustomizationSpec) {
	s.Decryption = &kustomizev1.Decryption{Provider: "sops", SecretRef: &meta.LocalObjectReference{Name: "sops"}}
}

func (b *bench) secret(name string) map[string]string {
	b.t.Helper()
	s := &corev1.Secret{}
	if err := b.Get(b.t.Context(), client.ObjectKey{Namespace: b.ns, Name: name}, s); err != nil {
		b.t.Fatal(err)
	}
	data := map[string]string{}
	for k, v := range s.Data {
		data[k] = string(v)
	}
	return data
}

// secretYAML is a manifest with one value.
func secretYAML(name, value string) string {
	return "apiVersion: v1\nkind: Secret\nmetadata:\n    name: " + name + "\nstringData:\n    password: " + value + "\n"
}

func TestDecryptEverywhere(t *testing.T) {
	b, s, canary := start(t), newSealed(t), testenv.NewCanary(t)
	s.keys(b)
	value := canary.Value()
	b.push("main@sha1:1", map[string]string{
		"kustomization.yaml": `resources: [manifest.yaml, plain.yaml, inside.yaml]
components: [component]
generatorOptions: {disableNameSuffixHash: true}
patches: [{path: patch.yaml}]
secretGenerator:
- {name: envs, envs: [app.env]}
- {name: files, files: [config.json, key=blob, settings.ini]}
configMapGenerator:
- {name: public, files: [stays.yaml]}
`,
		"manifest.yaml":                s.manifest(secretYAML("manifest", value)),
		"plain.yaml":                   "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: patched}\ndata: {a: b}\n",
		"inside.yaml":                  "apiVersion: v1\nkind: Secret\nmetadata: {name: inside}\ndata:\n  app.env: " + base64.StdEncoding.EncodeToString([]byte(s.file("dotenv", "A="+value+"\n"))) + "\n",
		"patch.yaml":                   s.file("yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n    name: manifest\nstringData:\n    patched: "+value+"\n"),
		"component/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [more.yaml]\n",
		"component/more.yaml":          s.manifest(secretYAML("component", value)),
		"app.env":                      s.file("dotenv", "TOKEN="+value+"\n"),
		"config.json":                  s.file("json", `{"token": "`+value+`"}`),
		"blob":                         s.file("binary", value),
		"settings.ini":                 s.file("ini", "[a]\ntoken = "+value+"\n"),
		"stays.yaml":                   s.file("yaml", "token: "+value+"\n"),
	})
	b.create("app", withSOPS)
	ks := b.ready("app", "True")

	names := []types.NamespacedName{}
	for name, keys := range map[string][]string{
		"manifest": {"password", "patched"}, "component": {"password"}, "envs": {"TOKEN"}, "files": {"config.json", "key", "settings.ini"}, "inside": {"app.env"},
	} {
		data := b.secret(name)
		for _, k := range keys {
			if !strings.Contains(data[k], value) || strings.Contains(data[k], "sops") {
				t.Errorf("Secret %s, key %s was not opened", name, k)
			}
		}
		names = append(names, types.NamespacedName{Namespace: b.ns, Name: name})
	}
	cm := &corev1.ConfigMap{}
	if err := b.Get(t.Context(), client.ObjectKey{Namespace: b.ns, Name: "public"}, cm); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(cm.Data["stays.yaml"], "ENC[AES256_GCM") {
		t.Error("what goes into a ConfigMap was opened")
	}
	canary.NotInCluster(t, cluster.Get(t), names...)
	if ks.Status.History.Latest() == nil {
		t.Error("no history")
	}
}

func TestDecryptRefuses(t *testing.T) {
	canary := testenv.NewCanary(t)
	value := canary.Value()
	b, s := start(t), newSealed(t)
	s.keys(b)
	tampered := strings.Replace(s.manifest(secretYAML("a", value)), "name: a", "name: b", 1)
	encrypted := s.manifest(secretYAML("a", value))
	for name, c := range map[string]struct {
		file         string
		change       func(*kustomizev1.KustomizationSpec)
		reason, want string
	}{
		"tampered":  {tampered, withSOPS, "BuildFailed", "tampered/secret.yaml: was changed after it was encrypted"},
		"no-keys":   {encrypted, nil, "BuildFailed", "/a: is encrypted with SOPS: set spec.decryption"},
		"no-secret": {encrypted, func(s *kustomizev1.KustomizationSpec) { withSOPS(s); s.Decryption.SecretRef.Name = "gone" }, "BuildFailed", "spec.decryption.secretRef: Secret " + b.ns + "/gone does not exist"},
		// The same value is encrypted elsewhere, and is in clear all the same.
		"in-clear":    {encrypted + "---\n" + secretYAML("plain", value), withSOPS, "PlaintextSecret", "(keys [\"password\"]) of in-clear/secret.yaml and 1 more"},
		"no-identity": {encrypted, func(s *kustomizev1.KustomizationSpec) { withSOPS(s); s.Decryption.ServiceAccountName = "gone" }, "BuildFailed", "spec.decryption.serviceAccountName: read ServiceAccount " + b.ns + "/gone"},
	} {
		b.push("main@sha1:"+name, map[string]string{name + "/secret.yaml": c.file})
		b.create(name, func(s *kustomizev1.KustomizationSpec) {
			s.Path = "./" + name
			if c.change != nil {
				c.change(s)
			}
		})
		if m := message(b.ready(name, "False/"+c.reason)); !strings.Contains(m, c.want) {
			t.Errorf("%s: message %q, want %q", name, m, c.want)
		}
	}
	canary.NotInCluster(t, cluster.Get(t))
}

// TestDecryptDisabled leaves an object to a controller that opens it itself.
func TestDecryptDisabled(t *testing.T) {
	b, s := start(t), newSealed(t)
	s.keys(b)
	b.push("main@sha1:1", map[string]string{"kept.yaml": s.manifest("apiVersion: v1\nkind: ConfigMap\nmetadata:\n    name: kept\n    annotations:\n        kustomize.toolkit.fluxcd.io/decrypt: disabled\ndata:\n    a: b\n")})
	b.create("app", withSOPS)
	b.ready("app", "False/ReconciliationFailed") // a ConfigMap has no field sops, so the API server says that it was left
	if m := message(b.ready("app", "False")); !strings.Contains(m, "sops") {
		t.Errorf("message %q", m)
	}
}

// TestDecryptedValuesAreHidden has the API server repeat a value that was
// decrypted, in an object that is no Secret.
func TestDecryptedValuesAreHidden(t *testing.T) {
	b, s, canary := start(t), newSealed(t), testenv.NewCanary(t)
	s.keys(b)
	service := testkit.Sealer{Store: "yaml", Groups: testkit.Group(s.key), Change: func(m *sops.Metadata) {
		m.UnencryptedSuffix, m.EncryptedRegex = "", "^type$"
	}}.Seal(t, "apiVersion: v1\nkind: Service\nmetadata:\n    name: app\nspec:\n    type: "+canary.Value()+"\n    ports:\n        - port: 80\n")
	b.push("main@sha1:1", map[string]string{"service.yaml": string(service)})
	b.create("app", withSOPS)
	ks := b.ready("app", "False")
	if m := message(ks); !strings.Contains(m, `Unsupported value: "[secret]"`) {
		t.Errorf("message %q", m)
	}
	canary.NotInCluster(t, cluster.Get(t))
}

// TestDecryptFollowsTheKeys gives the right key after a wrong one.
func TestDecryptFollowsTheKeys(t *testing.T) {
	b, s := start(t), newSealed(t)
	wrong := newSealed(t)
	wrong.keys(b)
	b.push("main@sha1:1", map[string]string{"a.yaml": s.manifest(secretYAML("a", "value-of-a"))})
	b.create("app", func(s *kustomizev1.KustomizationSpec) { withSOPS(s); s.RetryInterval.Duration = time.Hour })
	b.ready("app", "False/BuildFailed/kustomize cannot build .: a.yaml: is encrypted with SOPS, and none of the keys")

	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "sops"}, StringData: map[string]string{"main.agekey": s.identity}}
	if err := b.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	b.ready("app", "True")
	if got := b.secret("a")["password"]; got != "value-of-a" {
		t.Errorf("the Secret has %q", got)
	}
}

// TestDecryptByTheKeyOfAll opens files by the platform owner's key, which
// comes later than they, and then another.
func TestDecryptByTheKeyOfAll(t *testing.T) {
	s, canary := newSealed(t), testenv.NewCanary(t)
	owner := cluster.Get(t).Namespace(t)
	b := start(t, func(b *bench) { b.ctrl.AgeSecret = types.NamespacedName{Namespace: owner, Name: "all"} })
	b.push("main@sha1:1", map[string]string{"secret.yaml": s.manifest(secretYAML("db", canary.Value()))})
	b.create("app", func(spec *kustomizev1.KustomizationSpec) {
		spec.Decryption = &kustomizev1.Decryption{Provider: "sops"}
	})
	b.says("app", "False/BuildFailed", "--sops-age-secret: Secret "+owner+"/all")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: owner, Name: "all"}, StringData: map[string]string{"readme": "no key"}}
	if err := b.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the Secret without a key to be named", func() bool {
		return strings.Contains(message(b.ready("app", "False/BuildFailed")), "none of its keys ends in .agekey")
	})
	secret.StringData = map[string]string{"main.agekey": s.identity}
	if err := b.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	b.ready("app", "True")
	if got := b.secret("db")["password"]; got != canary.Value() {
		t.Errorf("the Secret holds %d bytes, want what was encrypted", len(got))
	}
}
