package manifest_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-dev/lockstep/cmd/internal/manifest"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/seeds"
)

func TestSecrets(t *testing.T) {
	got, err := manifest.Secrets(strings.NewReader("---\n---\nmetadata: {name: a}\n---\n{\"metadata\":{\"name\":\"b\"}}\n---\n"))
	if err != nil || len(got) != 2 || got[0].Name != "a" || got[1].Name != "b" {
		t.Errorf("got %v, %v", got, err)
	}
}

// What is no Secret is refused, and nothing of it is repeated.
func TestSecretsRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"DataIsText": "data: canary\n", "DataIsList": "data: [canary]\n", "ItemIsNumber": "data: {a: 1}\n", "ItemIsMap": "stringData: {a: {b: canary}}\n",
		"NotBase64": "data: {a: canary!}\n", "ItemIsBool": "data: {a: true}\n", "MetadataIsText": "metadata: canary\n", "NotYAML": "data: {canary\n", "Binary": "\x00canary\xff", "Scalar": "canary\n",
	} {
		_, err := manifest.Secrets(strings.NewReader(text))
		if !errors.Is(err, manifest.ErrNotSecret) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestSealed(t *testing.T) {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: "db", Namespace: "prod", UID: "u", ResourceVersion: "1", Generation: 2, Labels: map[string]string{"app": "db"}, OwnerReferences: []metav1.OwnerReference{{Name: "o"}},
			Annotations: map[string]string{"sealedsecrets.bitnami.com/namespace-wide": "true", "kubectl.kubernetes.io/last-applied-configuration": "canary", "note": "n"},
		},
		Data: map[string][]byte{"a": []byte("A"), "b": []byte("B")}, StringData: map[string]string{"b": "C"}, Type: "t",
	}
	ss, err := manifest.Sealed(secret, func(item string, value []byte) (string, error) { return item + "=" + string(value), nil })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": "a=A", "b": "b=C"}, map[string]string(ss.Spec.EncryptedData)); diff != "" {
		t.Error(diff)
	}
	wide := map[string]string{"sealedsecrets.bitnami.com/namespace-wide": "true"}
	if diff := cmp.Diff(metav1.ObjectMeta{Name: "db", Namespace: "prod", Annotations: wide}, ss.ObjectMeta); diff != "" {
		t.Error(diff)
	}
	template := metav1.ObjectMeta{Name: "db", Namespace: "prod", Labels: secret.Labels, Annotations: map[string]string{"sealedsecrets.bitnami.com/namespace-wide": "true", "note": "n"}}
	if diff := cmp.Diff(template, ss.Spec.Template.ObjectMeta); diff != "" || ss.Spec.Template.Type != "t" {
		t.Error(diff)
	}
	if _, err := manifest.Sealed(secret, func(string, []byte) (string, error) { return "", sealer.ErrTooLarge }); !errors.Is(err, sealer.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestScopes(t *testing.T) {
	for _, scope := range []sealer.Scope{sealer.Strict, sealer.NamespaceWide, sealer.ClusterWide} {
		both := map[string]string{"sealedsecrets.bitnami.com/namespace-wide": "true", "sealedsecrets.bitnami.com/cluster-wide": "true"}
		if got := manifest.ScopeOf(&metav1.ObjectMeta{Annotations: manifest.WithScope(both, scope)}); got != scope {
			t.Errorf("got %v, want %v", got, scope)
		}
	}
	if got := manifest.WithScope(nil, sealer.Strict); got != nil {
		t.Errorf("got %v", got)
	}
}

// A file keeps its mode, a link stays one, and a file that cannot be written is
// as it was.
func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(path, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := manifest.ReplaceFile(link, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	info, statErr := os.Lstat(path)
	linked, linkErr := os.Lstat(link)
	if err != nil || statErr != nil || linkErr != nil || string(text) != "new" || info.Mode().Perm() != 0o640 || linked.Mode()&os.ModeSymlink == 0 {
		t.Errorf("%q, %v, %v", text, info.Mode(), linked.Mode())
	}
	if err := manifest.ReplaceFile(filepath.Join(dir, "none", "file"), nil, 0o600); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("into a folder that is not there: %v", err)
	}
	if err := manifest.ReplaceFile(dir, nil, 0o600); err == nil {
		t.Error("in the place of a folder: no error")
	}
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(entries) != 1 {
		t.Errorf("left over: %v", entries)
	}
}

// FuzzSecrets checks that what seals can be read, and that an error repeats
// nothing of it.
func FuzzSecrets(f *testing.F) {
	seeds.Add(f, "kind: Secret\ndata: {a: Yg==}\n---\nstringData: {a: b}\n", "{}", "data: {canary: 1}", "{\"stringData\":{\"a\":\"canary\"}}", "canary", "metadata: {labels: {canary: 1}}")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := manifest.Secrets(strings.NewReader(text)); err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("the input is repeated: %v", err)
		}
	})
}
