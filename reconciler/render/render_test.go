package render_test

import (
	"errors"
	"io/fs"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	kustomize "github.com/fluxcd/pkg/apis/kustomize"
	"github.com/google/go-cmp/cmp"

	"github.com/lockstep-dev/lockstep/reconciler/render"
)

const configMap = `apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
  namespace: app
data:
  color: ${COLOR:=green}
`

func tree(files map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, content := range files {
		m[name] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
	}
	return m
}

// rendered is what a source and options lead to.
type rendered struct {
	reason string
	files  map[string]string
	opts   render.Options
	want   []string // names of the objects
}

func renders() map[string]rendered {
	return map[string]rendered{
		"PlainYAML": {
			reason: "A folder without a kustomization is taken with all its YAML files, those below too.",
			files:  map[string]string{"app/a.yaml": configMap, "app/sub/b.yml": strings.Replace(configMap, "settings", "more", 1), "app/README.md": "no manifest"},
			opts:   render.Options{Path: "./app"},
			want:   []string{"ConfigMap/app/settings", "ConfigMap/app/more"},
		},
		"NestedKustomization": {
			reason: "A folder below that has a kustomization of its own is built as that says.",
			files: map[string]string{
				"app/a.yaml":                  configMap,
				"app/sub/kustomization.yaml":  "resources: [b.yaml]\nnamePrefix: x-\n",
				"app/sub/b.yaml":              configMap,
				"app/sub/not-a-resource.yaml": "hello: world\n",
			},
			opts: render.Options{Path: "app"},
			want: []string{"ConfigMap/app/settings", "ConfigMap/app/x-settings"},
		},
		"Overlay": {
			reason: "An overlay reaches its base, above its own folder.",
			files: map[string]string{
				"base/kustomization.yaml": "resources: [a.yaml]\n",
				"base/a.yaml":             configMap,
				"prod/kustomization.yaml": "resources: [../base]\nnameSuffix: -prod\n",
			},
			opts: render.Options{Path: "/prod"},
			want: []string{"ConfigMap/app/settings-prod"},
		},
		"TargetNamespace": {
			reason: "targetNamespace wins over what the files say.",
			files:  map[string]string{"a.yaml": configMap},
			opts:   render.Options{TargetNamespace: "other"},
			want:   []string{"ConfigMap/other/settings"},
		},
		"List": {
			reason: "The items of a List are objects of their own.",
			files:  map[string]string{"a.yaml": "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: one}\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: two}\n"},
			want:   []string{"Namespace/one", "Namespace/two"},
		},
		"PrefixAndSuffix": {
			reason: "namePrefix and nameSuffix win over those of the file.",
			files:  map[string]string{"a.yaml": configMap, "kustomization.yaml": "resources: [a.yaml]\nnamePrefix: from-file-\n"},
			opts:   render.Options{NamePrefix: "pre-", NameSuffix: "-suf"},
			want:   []string{"ConfigMap/app/pre-settings-suf"},
		},
		"Component": {
			reason: "A component that is there is taken, one that is not may be left out.",
			files:  map[string]string{"app/a.yaml": configMap, "more/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -more\n"},
			opts:   render.Options{Path: "app", Components: []string{"../more", "../gone"}, IgnoreMissingComponents: true},
			want:   []string{"ConfigMap/app/settings-more"},
		},
		"PatchDeletes": {
			reason: "A patch takes objects out, several at once.",
			files:  map[string]string{"a.yaml": configMap + "---\n" + strings.Replace(configMap, "settings", "other", 1) + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: app}\n"},
			opts:   render.Options{Patches: []kustomize.Patch{{Patch: "$patch: delete\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: all}\n", Target: &kustomize.Selector{Kind: "ConfigMap"}}}},
			want:   []string{"Namespace/app"},
		},
	}
}

func TestRender(t *testing.T) {
	for name, tc := range renders() {
		t.Run(name, func(t *testing.T) {
			result, err := render.Render(tree(tc.files), tc.opts)
			if err != nil {
				t.Fatalf("%s\nRender: %v", tc.reason, err)
			}
			var got []string
			for _, o := range result.Objects {
				got = append(got, render.Name(o))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want +got\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	cases := map[string]struct {
		reason string
		files  map[string]string
		path   string
		want   string // in the message
	}{
		"NoPath":       {"A path that is not there is named.", map[string]string{"a.yaml": configMap}, "nowhere", `path "nowhere"`},
		"PathIsFile":   {"A file is no path.", map[string]string{"a.yaml": configMap}, "a.yaml", `path "a.yaml"`},
		"BadYAML":      {"A file that does not parse is named.", map[string]string{"app/a.yaml": "a: [b\n"}, "app", "a.yaml"},
		"NoBase":       {"A base that is not there is named.", map[string]string{"kustomization.yaml": "resources: [../gone]\n"}, "", "gone"},
		"NoName":       {"An object without a name is refused.", map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n"}, "", "metadata.name"},
		"UnknownField": {"A typo in a kustomization is no silent loss.", map[string]string{"kustomization.yaml": "resorces: [a.yaml]\n"}, "", "resorces"},
		"OpenAPI":      {"A schema that is none is named.", map[string]string{"kustomization.yaml": "openapi: {path: s.json}\nresources: [w.yaml]\npatches: [{path: p.yaml}]\n", "w.yaml": wheel, "p.yaml": patch, "s.json": "[]"}, "", "schema"},
		"OpenAPIGone":  {"A schema that is not there is named.", map[string]string{"kustomization.yaml": "openapi: {path: s.json}\n"}, "", "s.json"},
		"OpenAPIOld":   {"A version that is not built in is named.", map[string]string{"kustomization.yaml": "openapi: {version: v1.2.3}\n"}, "", "version"},
		"NoComponent":  {"A component that is not there is named.", map[string]string{"kustomization.yaml": "components: [../gone]\n"}, "", "gone"},
		"SOPS":         {"Ciphertext is never applied as if it were the value.", map[string]string{"a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {a: 'ENC[AES256_GCM,data:x]'}\nsops: {mac: y}\n"}, "", "Secret/x: is encrypted with SOPS"},
		"Helm":         {"Helm would run a program.", map[string]string{"kustomization.yaml": "helmCharts: [{name: x, repo: y}]\n"}, "", "elm"},
		"NoVariable":   {"A variable without a value is named with its place.", map[string]string{"a.yaml": strings.Replace(configMap, "${COLOR:=green}", "${COLOUR}", 1)}, "", `data.color: variable "COLOUR"`},
		"Twice":        {"One object, one definition.", map[string]string{"a.yaml": "apiVersion: v1\nkind: List\nitems:\n- &x {apiVersion: v1, kind: Namespace, metadata: {name: one}}\n- *x\n"}, "", "Namespace/one: is defined twice"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := render.Render(tree(tc.files), render.Options{Path: tc.path, Substitute: map[string]string{"OTHER": "x"}})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nRender: got %v, want an error that names %q", tc.reason, err, tc.want)
			}
		})
	}
}

// TestRenderNeverLeavesTheTree lists every way into kustomize's loaders. A
// listener stands where the URLs point: a single connection fails the test.
func TestRenderNeverLeavesTheTree(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var dialled atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			dialled.Add(1)
			_ = c.Close()
		}
	}()
	url := "http://" + l.Addr().String()
	plugin := "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: x}\n"
	cases := map[string]map[string]string{
		"Resource":        {"kustomization.yaml": "resources: ['" + url + "/a.yaml']"},
		"GitBase":         {"kustomization.yaml": "resources: ['" + url + "/org/repo.git//path?ref=main']"},
		"GitPrefix":       {"kustomization.yaml": "resources: ['git::" + url + "/org/repo']"},
		"GitHub":          {"kustomization.yaml": "resources: [github.com/org/repo]", "github.com/org/repo/kustomization.yaml": "resources: []"},
		"SCP":             {"kustomization.yaml": "resources: ['git@127.0.0.1:org/repo']"},
		"Base":            {"kustomization.yaml": "bases: ['" + url + "/org/repo.git']"},
		"Component":       {"kustomization.yaml": "components: ['" + url + "/org/repo.git']"},
		"PatchPath":       {"kustomization.yaml": "patches: [{path: '" + url + "/p.yaml'}]"},
		"MergePatch":      {"kustomization.yaml": "patchesStrategicMerge: ['" + url + "/p.yaml']"},
		"JSONPatch":       {"kustomization.yaml": "patchesJson6902: [{path: '" + url + "/p.yaml', target: {kind: X, name: y, version: v1}}]"},
		"Generator":       {"kustomization.yaml": "generators: ['" + url + "/g.yaml']"},
		"Transformer":     {"kustomization.yaml": "transformers: ['" + url + "/g.yaml']"},
		"Validator":       {"kustomization.yaml": "validators: ['" + url + "/g.yaml']"},
		"CRDs":            {"kustomization.yaml": "crds: ['" + url + "/g.yaml']"},
		"Configuration":   {"kustomization.yaml": "configurations: ['" + url + "/g.yaml']"},
		"ConfigMapFile":   {"kustomization.yaml": "configMapGenerator: [{name: x, files: ['a=" + url + "/g']}]"},
		"ConfigMapEnv":    {"kustomization.yaml": "configMapGenerator: [{name: x, envs: ['" + url + "/g']}]"},
		"SecretFile":      {"kustomization.yaml": "secretGenerator: [{name: x, files: ['" + url + "/g']}]"},
		"Replacement":     {"kustomization.yaml": "replacements: [{path: '" + url + "/g'}]"},
		"UpperCase":       {"kustomization.yaml": "resources: ['" + strings.Replace(url, "http", "HTTP", 1) + "/a.yaml']"},
		"NoSlashes":       {"kustomization.yaml": "resources: ['" + strings.Replace(url, "//", "", 1) + "/a.yaml']"},
		"PluginFile":      {"kustomization.yaml": "transformers: [t.yaml]", "t.yaml": plugin + "path: " + url + "/p.yaml\n"},
		"PluginInline":    {"kustomization.yaml": "transformers:\n- |\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: x}\n  path: " + url + "/p.yaml\n"},
		"BelowTheOverlay": {"kustomization.yaml": "resources: [sub]", "sub/kustomization.yaml": "resources: ['" + url + "/a.yaml']"},
	}
	for name, files := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := render.Render(tree(files), render.Options{})
			if !errors.Is(err, render.ErrRemote) {
				t.Errorf("Render: got %v, want ErrRemote", err)
			}
		})
	}
	if n := dialled.Load(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
}

func TestReads(t *testing.T) {
	files := map[string]string{
		"base/kustomization.yaml": "resources: [a.yaml]\n",
		"base/a.yaml":             configMap,
		"base/unused.yaml":        "x: y\n",
		"prod/kustomization.yaml": "resources: [../base]\n",
		"plain/a.yaml":            configMap,
		"elsewhere/a.yaml":        configMap,
	}
	cases := map[string]struct {
		reason, path, change string
		want                 bool
	}{
		"Elsewhere":  {"A commit elsewhere renders nothing.", "prod", "elsewhere/a.yaml", true},
		"Unused":     {"A file that the base does not name does not matter.", "prod", "base/unused.yaml", true},
		"Base":       {"A change of the base matters to the overlay.", "prod", "base/a.yaml", false},
		"Overlay":    {"A change of the overlay matters.", "prod", "prod/kustomization.yaml", false},
		"NewInPlain": {"A new file matters to a folder that is taken whole.", "plain", "plain/new.yaml", false},
		"NewInBase":  {"A new file beside named ones does not matter.", "prod", "base/new.yaml", true},
		"NewChoice":  {"A second kustomization file matters.", "prod", "base/Kustomization", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			result, err := render.Render(tree(files), render.Options{Path: tc.path})
			if err != nil {
				t.Fatal(err)
			}
			changed := map[string]string{tc.change: "changed: yes\n"}
			for n, c := range files {
				if n != tc.change {
					changed[n] = c
				}
			}
			if got := result.Reads.Same(tree(changed)); got != tc.want {
				t.Errorf("%s\nSame after a change of %s: got %v, want %v", tc.reason, tc.change, got, tc.want)
			}
		})
	}
}

func TestSubstitute(t *testing.T) {
	const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: ${NAME}
  namespace: app
  labels:
    level: "${NUMBER}"
spec:
  replicas: ${NUMBER}
  paused: ${BOOL}
  quoted: ${QUOTE}${NUMBER}${QUOTE}
  pem: ${PEM}
  tricky: ${TRICKY}
  kept: $${NAME}
  shell: "$NAME $(pwd)"
`
	result, err := render.Render(tree(map[string]string{"a.yaml": deployment}), render.Options{Substitute: map[string]string{
		"NAME": "web", "NUMBER": "3", "BOOL": "true", "QUOTE": `"`, "PEM": "-----BEGIN\nabc\n-----END", "TRICKY": "a: {b: c} # d",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": "web", "namespace": "app", "labels": map[string]any{"level": "3"}},
		"spec": map[string]any{
			"replicas": int64(3), "paused": true, "quoted": "3", "pem": "-----BEGIN\nabc\n-----END",
			"tricky": "a: {b: c} # d", "kept": "${NAME}", "shell": "$NAME $(pwd)",
		},
	}
	if diff := cmp.Diff(want, result.Objects[0].Object); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
