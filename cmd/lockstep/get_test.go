package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

var cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
	return testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: "../../charts/lockstep/crds"})
})

func TestMain(m *testing.M) { testenv.Main(m) }

func TestGet(t *testing.T) {
	cp := cluster.Get(t)
	ns := cp.Namespace(t)
	long := strings.Repeat("x ", 200)
	for _, o := range []struct {
		group, kind int
		spec        map[string]any
		status      map[string]any
	}{
		{0, 0, map[string]any{"url": "https://git.example.com/fleet", "interval": "1m"}, map[string]any{
			"artifact": map[string]any{"revision": "main@sha1:0123456789012345678901234567890123456789", "path": "x", "url": "x", "lastUpdateTime": "2026-01-01T00:00:00Z",
				"digest": "sha256:" + strings.Repeat("0", 64)},
			"conditions": []any{condition("Ready", "True", "Succeeded", "stored artifact")},
		}},
		{1, 0, map[string]any{"interval": "1m", "prune": true, "sourceRef": map[string]any{"kind": "GitRepository", "name": "x"}}, map[string]any{
			"conditions": []any{condition("Ready", "False", "BuildFailed", "line one\nline two "+long)}}},
		{2, 0, map[string]any{"encryptedData": map[string]any{"a": "AgB", "b": "AgB"}}, map[string]any{
			"conditions": []any{condition("Synced", "True", "", "")}}},
		{3, 0, map[string]any{"provider": map[string]any{"vault": map[string]any{"server": "https://v"}}}, nil},
	} {
		k := groups[o.group].kinds[o.kind]
		u := &unstructured.Unstructured{Object: map[string]any{"spec": o.spec}}
		u.SetAPIVersion(k.Group + "/" + k.Version)
		u.SetKind(k.name)
		u.SetName("one")
		objects := cp.Dynamic.Resource(k.GroupVersionResource).Namespace(ns)
		made, err := objects.Create(t.Context(), u, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if o.status == nil {
			continue
		}
		made.Object["status"] = o.status
		if _, err := objects.UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}

	cases := map[string]struct {
		selection selection
		want      [][]string // the parts of each line
	}{
		"All": {selection{namespace: ns}, [][]string{
			{"KIND", "NAME", "READY", "WHAT", "AGE", "MESSAGE"},
			{"GitRepository", ns + "/one", "True", "main@sha1:0123456 ", "stored artifact"},
			{"Kustomization", "False", "BuildFailed: line one line two x", "…"},
			{"SealedSecret", "True", "2 sealed"},
			{"SecretStore", "Unknown", "vault", "not looked at"},
		}},
		"Group":   {selection{namespace: ns, groups: []string{"secrets"}}, [][]string{{"KIND"}, {"SealedSecret"}}},
		"Failing": {selection{namespace: ns, failing: true}, [][]string{{"KIND"}, {"Kustomization"}, {"SecretStore"}}},
		"None":    {selection{namespace: "nowhere"}, [][]string{{"Nothing found", `"nowhere"`, "--all-namespaces"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := get(t.Context(), &out, cp.Dynamic, tc.selection, time.Now()); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
			if len(lines) != len(tc.want) {
				t.Fatalf("got %d lines, want %d:\n%s", len(lines), len(tc.want), out.String())
			}
			for i, parts := range tc.want {
				for _, p := range parts {
					if !strings.Contains(lines[i], p) {
						t.Errorf("line %d: got %q, want %q in it", i, lines[i], p)
					}
				}
			}
		})
	}
}

func condition(name, status, reason, message string) map[string]any {
	return map[string]any{"type": name, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"}
}
