package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

var cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
	return testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: crds})
})

const crds = "../../charts/lockstep/crds"

func TestMain(m *testing.M) { testenv.Main(m) }

// TestAllKinds has the chart's CRDs and no other in the table.
func TestAllKinds(t *testing.T) {
	type served struct {
		group, version, resource, kind string
		cluster                        bool
	}
	want := map[served]bool{}
	files, err := filepath.Glob(filepath.Join(crds, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs: %v", err)
	}
	for _, file := range files {
		var crd struct {
			Spec struct {
				Group    string
				Scope    string
				Names    struct{ Kind, Plural string }
				Versions []struct {
					Name    string
					Storage bool
				}
			}
		}
		data, err := os.ReadFile(file)
		if err == nil {
			err = yaml.Unmarshal(data, &crd)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range crd.Spec.Versions {
			if v.Storage {
				want[served{crd.Spec.Group, v.Name, crd.Spec.Names.Plural, crd.Spec.Names.Kind, crd.Spec.Scope == "Cluster"}] = true
			}
		}
	}
	got := map[served]bool{}
	for _, k := range (selection{}).kinds() {
		got[served{k.Group, k.Version, k.Resource, k.name, k.cluster}] = true
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(served{})); d != "" {
		t.Error(d)
	}
}

// sample is an object of a kind, and the line that get writes of it.
type sample struct {
	resource     string
	spec, status map[string]any
	line         string // without kind, name and age
}

type m = map[string]any

var fetched = m{"artifact": m{"revision": "main@sha1:0123456789012345678901234567890123456789", "path": "x", "url": "x", "lastUpdateTime": "2026-01-01T00:00:00Z",
	"digest": "sha256:" + strings.Repeat("0", 64)}, "conditions": []any{condition("Ready", "True", "Succeeded", "stored artifact")}}

var vault = m{"provider": m{"vault": m{"server": "https://v"}}}

// samples has one of each kind.
var samples = []sample{
	{"gitrepositories", m{"url": "https://git.example.com/fleet", "interval": "1m"}, fetched, "True main@sha1:0123456 stored artifact"},
	{"ocirepositories", m{"url": "oci://registry.example.com/fleet", "interval": "1m"}, fetched, "True main@sha1:0123456 stored artifact"},
	{"buckets", m{"bucketName": "fleet", "endpoint": "s3.example.com", "interval": "1m"}, fetched, "True main@sha1:0123456 stored artifact"},
	{"externalartifacts", m{}, fetched, "True main@sha1:0123456 stored artifact"},
	{"kustomizations", m{"interval": "1m", "prune": true, "sourceRef": m{"kind": "GitRepository", "name": "x"}},
		m{"lastAppliedRevision": "main@sha1:0123456789", "conditions": []any{condition("Ready", "False", "BuildFailed", "line one\nline two "+strings.Repeat("x ", 200))}},
		"False main@sha1:0123456 BuildFailed: line one line two " + strings.Repeat("x ", 39) + "…"},
	{"sealedsecrets", m{"encryptedData": m{"a": "AgB", "b": "AgB"}}, m{"conditions": []any{condition("Synced", "True", "", "")}}, "True 2 sealed"},
	{"reseals", m{"sourceRef": m{"name": "x"}, "suspend": true}, m{"revision": "0123456789"}, "Unknown 0123456789 suspended"},
	{"externalsecrets", m{"secretStoreRef": m{"name": "vault"}, "dataFrom": []any{m{"extract": m{"key": "db"}}}}, m{"conditions": []any{condition("Ready", "True", "SecretSynced", "")}}, "True from vault SecretSynced"},
	{"clusterexternalsecrets", m{"externalSecretSpec": m{"secretStoreRef": m{"name": "vault"}, "dataFrom": []any{m{"extract": m{"key": "db"}}}}},
		m{"provisionedNamespaces": []any{"a", "b"}, "failedNamespaces": []any{m{"namespace": "c"}}, "conditions": []any{condition("Ready", "False", "", "c: refused")}},
		"False in 2 of 3 namespaces : c: refused"},
	{"pushsecrets", m{"selector": m{"secret": m{"name": "x"}}, "secretStoreRefs": []any{m{"name": "vault"}, m{"labelSelector": m{}}}}, nil,
		"Unknown to vault, those with labels not looked at by a controller yet"},
	{"clusterpushsecrets", m{"pushSecretSpec": m{"selector": m{"secret": m{"name": "x"}}, "secretStoreRefs": []any{m{"name": "vault"}}}}, nil,
		"Unknown in 0 of 0 namespaces not looked at by a controller yet"},
	{"secretstores", vault, nil, "Unknown vault not looked at by a controller yet"},
	{"clustersecretstores", vault, m{"conditions": []any{condition("Ready", "True", "Valid", "store validated")}}, "True vault store validated"},
	{"ecrauthorizationtokens", m{"region": "eu-central-1"}, nil, "-"},
	{"fakes", m{"data": m{"a": "b"}}, nil, "-"},
	{"gcraccesstokens", m{"projectID": "x", "auth": m{}}, nil, "-"},
	{"passwords", m{"length": int64(20)}, nil, "-"},
	{"sshkeys", m{}, nil, "-"},
	{"stssessiontokens", m{"region": "eu-central-1"}, nil, "-"},
	{"uuids", m{}, nil, "-"},
	{"vaultdynamicsecrets", m{"path": "x", "provider": m{"server": "https://v"}}, nil, "-"},
	{"webhooks", m{"url": "https://w", "result": m{}}, nil, "-"},
	{"clustergenerators", m{"kind": "UUID", "generator": m{"uuidSpec": m{}}}, nil, "- UUID"},
}

func condition(name, status, reason, message string) map[string]any {
	return m{"type": name, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"}
}

// put makes the sample of a kind, named after the namespace.
func put(t *testing.T, cp *testenv.ControlPlane, k kind, ns string, s sample) {
	t.Helper()
	name := "x-" + ns
	u := &unstructured.Unstructured{Object: m{"spec": s.spec}}
	u.SetAPIVersion(k.Group + "/" + k.Version)
	u.SetKind(k.name)
	u.SetName(name)
	if k.cluster {
		ns = ""
	}
	objects := cp.Dynamic.Resource(k.GroupVersionResource).Namespace(ns)
	made, err := objects.Create(t.Context(), u, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("%s: %v", k.Resource, err)
	}
	if k.cluster {
		t.Cleanup(func() { _ = objects.Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{}) })
	}
	if s.status == nil {
		return
	}
	made.Object["status"] = s.status
	if _, err := objects.UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatalf("%s: %v", k.Resource, err)
	}
}

// TestGet lists one object of each kind, by a real API server's answer.
func TestGet(t *testing.T) {
	cp := cluster.Get(t)
	ns := cp.Namespace(t)
	for _, s := range samples {
		for _, k := range (selection{}).kinds() {
			if k.Resource == s.resource {
				put(t, cp, k, ns, s)
			}
		}
	}
	lines, notes := run(t, cp.Kubeconfig(), "--namespace", ns)
	for _, s := range samples {
		found := false
		for _, l := range lines {
			found = found || strings.HasPrefix(l, kindOf(s.resource)+" ") && strings.Contains(l, "x-"+ns+" "+s.line)
		}
		if !found {
			t.Errorf("%s: no line with %q in\n%s", s.resource, s.line, strings.Join(lines, "\n"))
		}
	}
	if notes != "" {
		t.Errorf("notes: %s", notes)
	}
	failing, _ := run(t, cp.Kubeconfig(), "--namespace", ns, "--failing", "stores", "secrets", "generators")
	text := strings.Join(failing, "\n")
	for kind, want := range map[string]bool{"ClusterExternalSecret": true, "PushSecret": true, "SecretStore": true, "ExternalSecret x": false, "UUID": false, "Kustomization": false} {
		if got := strings.Contains("\n"+text, "\n"+kind); got != want {
			t.Errorf("--failing: %s is listed: %t, want %t\n%s", kind, got, want, text)
		}
	}
}

func kindOf(resource string) string {
	for _, k := range (selection{}).kinds() {
		if k.Resource == resource {
			return k.name
		}
	}
	return resource
}

// ages are what a test takes at most.
var ages = regexp.MustCompile(` \d+m?s( |$)`)

// run runs the command, as a user does, and returns the lines of its table
// with one space between their columns, and without the age.
func run(t *testing.T, kubeconfig string, args ...string) (lines []string, notes string) {
	t.Helper()
	cmd := root()
	var out, errs bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs(append([]string{"get", "--kubeconfig", kubeconfig}, args...))
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		lines = append(lines, ages.ReplaceAllString(strings.Join(strings.Fields(line), " "), "$1"))
	}
	return lines, errs.String()
}
