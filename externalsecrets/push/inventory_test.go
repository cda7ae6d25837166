package push_test

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/test/fields"
)

// inventory has every field of a PushSecret, each with a spec that sets it, and
// what comes of that: what the store gets at which places, or with Ready=False a
// part of the message. AT is a place of the line's own.
var inventory = map[string]struct {
	spec    string // YAML, over a spec with the Secret db and the store "store"
	holds   string // JSON: values by place
	refused string
}{
	"refresh-interval":      {spec: "refreshInterval: 2h30m\ndata: [{match: {secretKey: a, remoteRef: {remoteKey: AT}}}]", holds: `{"AT":"1"}`},
	"refresh-never":         {spec: "refreshInterval: '0'\ndata: [{match: {secretKey: a, remoteRef: {remoteKey: AT}}}]", holds: `{"AT":"1"}`},
	"store-name":            {spec: "secretStoreRefs: [{name: store, kind: SecretStore}]\ndata: [{match: {secretKey: a, remoteRef: {remoteKey: AT}}}]", holds: `{"AT":"1"}`},
	"store-labels":          {spec: "secretStoreRefs: [{labelSelector: {matchLabels: {team: a}, matchExpressions: [{key: team, operator: In, values: [a]}]}}]\ndata: [{match: {secretKey: a, remoteRef: {remoteKey: AT}}}]", holds: `{"AT":"1"}`},
	"store-kind":            {spec: "secretStoreRefs: [{kind: ClusterSecretStore, name: none}]\ndata: [{match: {secretKey: a, remoteRef: {remoteKey: AT}}}]", refused: `ClusterSecretStore "none" does not exist`},
	"store-selector":        {spec: "secretStoreRefs: [{labelSelector: {matchExpressions: [{key: a, operator: Odd}]}}]\ndata: [{match: {secretKey: a, remoteRef: {remoteKey: AT}}}]", refused: "spec.secretStoreRefs[0].labelSelector"},
	"store-neither":         {spec: "secretStoreRefs: [{kind: SecretStore}]\ndata: [{match: {secretKey: a, remoteRef: {remoteKey: AT}}}]", refused: "spec.secretStoreRefs[0]: invalid reference: set name or labelSelector"},
	"update-replace":        {spec: "updatePolicy: Replace\ndata: [{match: {secretKey: a, remoteRef: {remoteKey: there}}}]", holds: `{"there":"1"}`},
	"update-if-not-exists":  {spec: "updatePolicy: IfNotExists\ndata: [{match: {secretKey: a, remoteRef: {remoteKey: kept}}}]", holds: `{"kept":"old"}`},
	"deletion-none":         {spec: "deletionPolicy: None\ndata: [{match: {secretKey: a, remoteRef: {remoteKey: AT}}}]", holds: `{"AT":"1"}`},
	"deletion-delete":       {spec: "deletionPolicy: Delete\ndata: [{match: {secretKey: a, remoteRef: {remoteKey: AT}}}]", holds: `{"AT":"1"}`},
	"secret-selector":       {spec: "selector: {secret: {selector: {matchLabels: {push: 'yes'}}}}\ndata: [{match: {secretKey: a, remoteRef: {remoteKey: AT}}}]", holds: `{"AT":"1"}`},
	"secret-both":           {spec: "selector: {secret: {name: db, selector: {}}}\ndata: [{match: {secretKey: a, remoteRef: {remoteKey: AT}}}]", refused: "spec.selector.secret: invalid reference: set name or selector"},
	"generator":             {spec: "selector: {generatorRef: {apiVersion: generators.external-secrets.io/v1alpha1, kind: Fake, name: fake}}\ndata: [{match: {secretKey: f, remoteRef: {remoteKey: AT}}}]", holds: `{"AT":"made"}`},
	"generator-kind":        {spec: "selector: {generatorRef: {kind: Grafana, name: fake}}\ndata: [{match: {secretKey: f, remoteRef: {remoteKey: AT}}}]", refused: "spec.selector.generatorRef: kind \"Grafana\": not supported by this version"},
	"property":              {spec: "data: [{match: {secretKey: a, remoteRef: {remoteKey: AT, property: p}}}]", holds: `{"AT#p":"1"}`},
	"metadata":              {spec: "data: [{match: {secretKey: a, remoteRef: {remoteKey: AT}}, metadata: {tier: Standard}}]", holds: `{"AT":"1","AT metadata":"{\"tier\":\"Standard\"}"}`},
	"convert-none":          {spec: "data: [{match: {secretKey: b_U002f_c, remoteRef: {remoteKey: AT}}, conversionStrategy: None}]", holds: `{"AT":"2"}`},
	"convert-back":          {spec: "data: [{match: {secretKey: b/c, remoteRef: {remoteKey: AT}}, conversionStrategy: ReverseUnicode}]", holds: `{"AT":"2"}`},
	"whole":                 {spec: "data: [{match: {remoteRef: {remoteKey: AT}}}]", holds: `{"AT":"{\"a\":\"1\",\"b_U002f_c\":\"2\"}"}`},
	"whole-binary":          {spec: "selector: {secret: {name: binary}}\ndata: [{match: {remoteRef: {remoteKey: AT}}}]", refused: `spec.data[0].match: invalid reference: the value of key "raw" is not text, which a JSON object cannot hold: push it by its own key`},
	"one-binary":            {spec: "selector: {secret: {name: binary}}\ndata: [{match: {secretKey: raw, remoteRef: {remoteKey: AT}}}]", holds: "{\"AT\":\"\xff\xfe\"}"},
	"whole-odd":             {spec: "selector: {secret: {name: odd}}\ndata: [{match: {remoteRef: {remoteKey: AT}}}]", holds: `{"AT":"{\"zero\":\"a\\u0000b\\u2028<&>\\\"\"}"}`},
	"set":                   {spec: "dataTo: [{storeRef: {name: store, kind: SecretStore}, match: {regexp: ^a$}, rewrite: [{regexp: {source: ^a$, target: AT}}]}]", holds: `{"AT":"1"}`},
	"set-labels":            {spec: "dataTo: [{storeRef: {labelSelector: {matchLabels: {team: a}}}, match: {regexp: ^a$}, rewrite: [{transform: {template: 'AT'}}], metadata: {tier: Standard}}]", holds: `{"AT":"1","AT metadata":"{\"tier\":\"Standard\"}"}`},
	"set-bundle":            {spec: "dataTo: [{storeRef: {name: store}, remoteKey: AT, conversionStrategy: ReverseUnicode}]", holds: `{"AT":"{\"a\":\"1\",\"b/c\":\"2\"}"}`},
	"set-regexp":            {spec: "dataTo: [{storeRef: {name: store}, match: {regexp: '(['}}]", refused: "spec.dataTo[0].match.regexp"},
	"set-merge":             {spec: "selector: {secret: {name: objects}}\ndataTo: [{storeRef: {name: store}, remoteKey: AT, rewrite: [{merge: {conflictPolicy: Ignore, priority: [y], priorityPolicy: Strict, strategy: Extract}}]}]", holds: `{"AT":"{\"k\":\"2\"}"}`},
	"set-merge-into":        {spec: "selector: {secret: {name: objects}}\ndataTo: [{storeRef: {name: store}, match: {regexp: ^x$}, rewrite: [{merge: {into: AT, strategy: JSON}}]}]", holds: `{"AT":"{\"k\":\"1\"}"}`},
	"template":              {spec: "template: {engineVersion: v2, type: Opaque, mergePolicy: Merge, metadata: {labels: {l: v}, annotations: {note: v}, finalizers: [example.com/f]}, data: {x: '<{{ .a }}>'}}\ndata: [{match: {secretKey: x, remoteRef: {remoteKey: AT}}}]", holds: `{"AT":"<1>"}`},
	"template-from":         {spec: "template: {templateFrom: [{target: Data, literal: 'x: \"{{ .a }}!\"', valuesDecodingStrategy: None}]}\ndata: [{match: {secretKey: x, remoteRef: {remoteKey: AT}}}]", holds: `{"AT":"1!"}`},
	"template-from-objects": {spec: "template: {templateFrom: [{configMap: {name: texts, items: [{key: one, templateAs: Values}]}}, {secret: {name: texts, items: [{key: many, templateAs: KeysAndValues}]}}]}\ndata: [{match: {secretKey: one, remoteRef: {remoteKey: AT}}}, {match: {secretKey: z, remoteRef: {remoteKey: AT, property: z}}}]", holds: `{"AT":"one 1","AT#z":"1"}`},
}

// recording is a store that can be read back with the metadata of pushes.
type recording struct{ *vault }

// Write implements providers.Writer.
func (r recording) Write(ctx context.Context, to providers.Target, value providers.Value, metadata json.RawMessage) error {
	if len(metadata) > 0 {
		if err := r.vault.Write(ctx, providers.Target{Path: to.Path + " metadata"}, providers.NewValue(metadata), nil); err != nil {
			return err
		}
	}
	return r.vault.Write(ctx, to, value, metadata)
}

func TestInventory(t *testing.T) {
	v := &vault{values: map[providers.Target]string{{Path: "there"}: "old", {Path: "kept"}: "old"}}
	b := startWith(t, providers.Registry{"example": func(context.Context, providers.Config) (providers.Reader, error) { return recording{v}, nil }})
	b.vault = v
	b.apply("metadata: {name: store, labels: {team: a}}\nspec: {provider: {example: {}}}", &esv1.SecretStore{})
	for _, text := range []string{
		"metadata: {name: db, labels: {push: 'yes'}}\nstringData: {a: '1', b_U002f_c: '2'}", "metadata: {name: binary}\ndata: {raw: //4=}", "metadata: {name: odd}\nstringData: {zero: \"a\\0b\\u2028<&>\\\"\"}",
		"metadata: {name: objects}\nstringData: {x: '{\"k\":\"1\"}', y: '{\"k\":\"2\"}'}", "metadata: {name: texts}\nstringData: {many: 'z: \"{{ .a }}\"'}",
	} {
		b.apply(text, &corev1.Secret{})
	}
	b.apply("metadata: {name: texts}\ndata: {one: 'one {{ .a }}'}", &corev1.ConfigMap{})
	b.apply("metadata: {name: fake}\nspec: {data: {f: made}}", &genv1.Fake{})
	for name, tc := range inventory {
		t.Run(name, func(t *testing.T) {
			b := *b
			b.t = t
			at := strings.NewReplacer("AT", "at-"+name).Replace
			spec, change := map[string]any{"selector": map[string]any{"secret": map[string]any{"name": "db"}}, "secretStoreRefs": []any{map[string]any{"name": "store"}}}, map[string]any{}
			if err := yaml.Unmarshal([]byte(at(tc.spec)), &change); err != nil {
				t.Fatal(err)
			}
			maps.Copy(spec, change)
			text, err := json.Marshal(map[string]any{"metadata": map[string]any{"name": name}, "spec": spec})
			if err != nil {
				t.Fatal(err)
			}
			b.apply(string(text), &esv1alpha1.PushSecret{})
			if tc.refused != "" {
				b.ready(name, "False/Errored/")
				b.ready(name, tc.refused)
				return
			}
			b.ready(name, "True/Synced")
			b.holdsAt(at(tc.holds))
		})
	}
}

// holdsAt checks what the store holds at some places.
func (b *bench) holdsAt(text string) {
	b.t.Helper()
	want := map[string]string{}
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		b.t.Fatal(err)
	}
	b.vault.mu.Lock()
	defer b.vault.mu.Unlock()
	for place, value := range want {
		path, property, _ := strings.Cut(place, "#")
		got := b.vault.values[providers.Target{Path: path, Property: property}]
		if strings.ToValidUTF8(got, "\uFFFD\uFFFD") != strings.ToValidUTF8(value, "\uFFFD\uFFFD") {
			b.t.Errorf("%s: got %q, want %q", place, got, value)
		}
	}
}

// TestInventoryIsComplete sees that every field of the types is in a line.
func TestInventoryIsComplete(t *testing.T) {
	var lines, external, push []string
	for _, tc := range inventory {
		lines = append(lines, "selector: {secret: {name: db}}", tc.spec)
	}
	for _, tc := range clusterInventory {
		if strings.HasPrefix(tc.spec, pulled) {
			external = append(external, tc.spec)
		} else {
			push = append(push, tc.spec)
		}
	}
	for _, c := range []struct {
		of    any
		lines []string
		but   string // what has a table of its own
	}{
		{esv1alpha1.PushSecretSpec{}, lines, "-"},
		{esv1.ClusterExternalSecretSpec{}, external, ".externalSecretSpec."},
		{esv1alpha1.ClusterPushSecretSpec{}, push, ".pushSecretSpec."},
	} {
		for _, path := range fields.Untold(t, c.of, c.lines...) {
			if !strings.HasPrefix(path, c.but) {
				t.Errorf("%T: no line has spec%s", c.of, path)
			}
		}
	}
}
