package pull_test

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/test/fields"
)

// inventory has every field of an ExternalSecret, each with a spec that sets
// it, and what comes of that: what the Secret holds, or with Ready=False a part
// of the message.
var inventory = map[string]struct {
	spec, holds string // JSON; "" if there is no Secret
	refused     string // part of the message
}{
	"store-ref":      {spec: "secretStoreRef: {name: store, kind: SecretStore}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", holds: `{"a":"text"}`},
	"store-kind":     {spec: "secretStoreRef: {name: store, kind: ClusterSecretStore}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", refused: `ClusterSecretStore "store" does not exist`},
	"source-ref":     {spec: "secretStoreRef: {name: none}\ndata: [{secretKey: a, remoteRef: {key: plain}, sourceRef: {storeRef: {name: store, kind: SecretStore}}}]", holds: `{"a":"text"}`},
	"source-from":    {spec: "secretStoreRef: {}\ndataFrom: [{extract: {key: db}, sourceRef: {storeRef: {name: store, kind: SecretStore}}}]", holds: `{"a.b":"dot","deep":"{\"x\":{\"y\":\"z\"}}","port":"5432","user":"ada"}`},
	"no-store":       {spec: "secretStoreRef: {}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", refused: "spec.data[0]: invalid reference: no store is named"},
	"data-generator": {spec: "data: [{secretKey: a, remoteRef: {key: plain}, sourceRef: {generatorRef: {apiVersion: generators.external-secrets.io/v1alpha1, kind: Fake, name: fake}}}]", refused: "spec.data[0].sourceRef.generatorRef is not supported"},

	"property":        {spec: "data: [{secretKey: a, remoteRef: {key: db, property: user}}]", holds: `{"a":"ada"}`},
	"property-path":   {spec: "data: [{secretKey: a, remoteRef: {key: db, property: deep.x.y}}]", holds: `{"a":"z"}`},
	"property-dot":    {spec: "data: [{secretKey: a, remoteRef: {key: db, property: a.b}}, {secretKey: b, remoteRef: {key: db, property: 'a\\.b'}}]", holds: `{"a":"dot","b":"dot"}`},
	"property-object": {spec: "data: [{secretKey: a, remoteRef: {key: db, property: deep}}, {secretKey: b, remoteRef: {key: db, property: port}}]", holds: `{"a":"{\"x\":{\"y\":\"z\"}}","b":"5432"}`},
	"version":         {spec: "data: [{secretKey: a, remoteRef: {key: plain, version: none}}]", refused: `has no secret "plain" in version "none"`},
	"metadata":        {spec: "data: [{secretKey: a, remoteRef: {key: plain, metadataPolicy: Fetch}}]", holds: `{"a":"{\"owner\":\"of plain\"}"}`},
	"metadata-none":   {spec: "data: [{secretKey: a, remoteRef: {key: plain, metadataPolicy: None, conversionStrategy: Default, decodingStrategy: None, nullBytePolicy: Ignore}}]", holds: `{"a":"text"}`},
	"decode-base64":   {spec: "data: [{secretKey: a, remoteRef: {key: base64, decodingStrategy: Base64}}]", holds: `{"a":"hello?>"}`},
	"decode-url":      {spec: "data: [{secretKey: a, remoteRef: {key: base64url, decodingStrategy: Base64URL}}]", holds: `{"a":"hello?>"}`},
	"decode-auto":     {spec: "data: [{secretKey: a, remoteRef: {key: base64url, decodingStrategy: Auto}}, {secretKey: b, remoteRef: {key: plain-words, decodingStrategy: Auto}}]", holds: `{"a":"hello?>","b":"not base64!"}`},
	"decode-wrong":    {spec: "data: [{secretKey: a, remoteRef: {key: plain-words, decodingStrategy: Base64}}]", refused: `spec.data[0].remoteRef: the value of key "a"`},
	"null-ignore":     {spec: "data: [{secretKey: a, remoteRef: {key: binary, nullBytePolicy: Ignore}}]", holds: `{"a":"a\u0000b"}`},
	"null-fail":       {spec: "data: [{secretKey: a, remoteRef: {key: binary, nullBytePolicy: Fail}}]", refused: "nullBytePolicy refuses"},
	"twice":           {spec: "data: [{secretKey: a, remoteRef: {key: plain}}, {secretKey: a, remoteRef: {key: db}}]", refused: `spec.data[1].secretKey: invalid reference: "a" is there already`},

	"extract":         {spec: "dataFrom: [{extract: {key: db, property: deep}}]", holds: `{"x":"{\"y\":\"z\"}"}`},
	"extract-list":    {spec: "dataFrom: [{extract: {key: plain}}]", refused: "is not a JSON object"},
	"extract-convert": {spec: "dataFrom: [{extract: {key: odd, conversionStrategy: Unicode}}]", holds: `{"a_U002f_b":"1"}`},
	"extract-default": {spec: "dataFrom: [{extract: {key: odd}}]", holds: `{"a_b":"1"}`},
	"extract-decode":  {spec: "dataFrom: [{extract: {key: encoded, decodingStrategy: Base64}}]", holds: `{"a":"hello?>"}`},
	"extract-null":    {spec: "dataFrom: [{extract: {key: nulls, nullBytePolicy: Fail}}]", refused: "nullBytePolicy refuses"},
	"extract-version": {spec: "dataFrom: [{extract: {key: db, version: none}}]", refused: `has no secret "db" in version "none"`},
	"extract-about":   {spec: "dataFrom: [{extract: {key: db, metadataPolicy: Fetch}}]", holds: `{"owner":"of db"}`},
	"order":           {spec: "dataFrom: [{extract: {key: db}}, {extract: {key: other}}]\ndata: [{secretKey: port, remoteRef: {key: plain}}]", holds: `{"a.b":"dot","deep":"{\"x\":{\"y\":\"z\"}}","port":"text","user":"eve"}`},
	"find-name":       {spec: "dataFrom: [{find: {name: {regexp: '^base64'}, decodingStrategy: Auto}}]", holds: `{"base64":"hello?>","base64url":"hello?>"}`},
	"find-path":       {spec: "dataFrom: [{find: {path: app/, conversionStrategy: Unicode}}]", holds: `{"app_U002f_one":"1","app_U002f_two":"2"}`},
	"find-tags":       {spec: "dataFrom: [{find: {tags: {owner: of plain}}}]", holds: `{"plain":"text"}`},
	"find-null":       {spec: "dataFrom: [{find: {name: {regexp: ^binary$}, nullBytePolicy: Fail}}]", refused: "nullBytePolicy refuses"},
	"find-regexp":     {spec: "dataFrom: [{find: {name: {regexp: '(['}}}]", refused: "spec.dataFrom[0].find.name.regexp"},
	"find-explodes":   {spec: "dataFrom: [{find: {name: {regexp: '^((p|l|a|i|n)+)+$'}}}]", holds: `{"plain":"text"}`},
	"find-too-large":  {spec: "dataFrom: [{find: {name: {regexp: '((a{100}){100}){100}'}}}]", refused: "spec.dataFrom[0].find.name.regexp"},
	"find-nothing":    {spec: "dataFrom: [{find: {}}]", refused: "spec.dataFrom[0].find: invalid reference: set name, tags or path"},
	"generator":       {spec: "dataFrom: [{sourceRef: {generatorRef: {apiVersion: generators.external-secrets.io/v1alpha1, kind: Fake, name: fake}}}]", holds: `{"made":"up"}`},

	"generator-group": {spec: "dataFrom: [{sourceRef: {generatorRef: {apiVersion: external-secrets.io/v1alpha1, kind: Fake, name: fake}}}]", holds: `{"made":"up"}`},
	"generator-other": {spec: "dataFrom: [{sourceRef: {generatorRef: {apiVersion: v1, kind: Fake, name: fake}}}]", refused: `spec.dataFrom[0].sourceRef.generatorRef: apiVersion "v1": not supported`},
	"generator-kind":  {spec: "dataFrom: [{sourceRef: {generatorRef: {kind: Grafana, name: fake}}}]", refused: `spec.dataFrom[0].sourceRef.generatorRef: kind "Grafana": not supported by this version, which has ClusterGenerator`},

	"rewrite-regexp":    {spec: "dataFrom: [{extract: {key: other}, rewrite: [{regexp: {source: '^u(.*)$', target: 'x-$1'}}]}]", holds: `{"x-ser":"eve"}`},
	"rewrite-transform": {spec: "dataFrom: [{extract: {key: other}, rewrite: [{transform: {template: '{{ .value | upper }}'}}]}]", holds: `{"USER":"eve"}`},
	"rewrite-merge":     {spec: "dataFrom: [{find: {name: {regexp: '^(db|other)$'}}, rewrite: [{merge: {conflictPolicy: Ignore, priority: [db, other], priorityPolicy: Strict, strategy: Extract}}]}]", holds: `{"a.b":"dot","deep":"{\"x\":{\"y\":\"z\"}}","port":"5432","user":"eve"}`},
	"rewrite-json":      {spec: "dataFrom: [{find: {name: {regexp: '^other$'}}, rewrite: [{merge: {into: all, strategy: JSON}}]}]", holds: `{"all":"{\"user\":\"eve\"}","other":"{\"user\":\"eve\"}"}`},
	"rewrite-into":      {spec: "dataFrom: [{find: {name: {regexp: '^other$'}}, rewrite: [{merge: {strategy: JSON}}]}]", refused: "into"},
	"rewrite-conflict":  {spec: "dataFrom: [{find: {name: {regexp: '^(db|other)$'}}, rewrite: [{merge: {}}]}]", refused: "conflictPolicy"},
	"rewrite-missing":   {spec: "dataFrom: [{find: {name: {regexp: '^other$'}}, rewrite: [{merge: {priority: [none]}}]}]", refused: "priority"},
	"rewrite-same":      {spec: "dataFrom: [{extract: {key: db}, rewrite: [{regexp: {source: '.*', target: 'a'}}]}]", refused: "spec.dataFrom[0].extract: step 0 of rewrite"},

	"policy-change":  {spec: "refreshPolicy: OnChange\ndata: [{secretKey: a, remoteRef: {key: plain}}]", holds: `{"a":"text"}`},
	"policy-once":    {spec: "refreshPolicy: CreatedOnce\ndata: [{secretKey: a, remoteRef: {key: plain}}]", holds: `{"a":"text"}`},
	"interval":       {spec: "refreshPolicy: Periodic\nrefreshInterval: 2h30m\ndata: [{secretKey: a, remoteRef: {key: plain}}]", holds: `{"a":"text"}`},
	"windows":        {spec: "syncWindows: {kind: deny, windows: [{schedule: '@daily', duration: 1h}]}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", holds: `{"a":"text"}`},
	"windows-cron":   {spec: "syncWindows: {kind: allow, windows: [{schedule: '61 * * * *', duration: 1h}]}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", refused: "spec.syncWindows.windows[0].schedule"},
	"windows-length": {spec: "syncWindows: {kind: allow, windows: [{schedule: '@daily', duration: long}]}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", refused: "spec.syncWindows.windows[0].duration"},

	"manifest":       {spec: "target: {manifest: {apiVersion: v1, kind: ConfigMap}}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", refused: "spec.target.manifest is not supported"},
	"target":         {spec: "target: {name: target, creationPolicy: Orphan, deletionPolicy: Delete, immutable: true}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", holds: `{"a":"text"}`},
	"about":          {spec: "target: {template: {metadata: {labels: {l: '{{ .a }}'}, annotations: {n: v}, finalizers: [example.com/f]}}}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", holds: `{"a":"text"}`},
	"type":           {spec: "target: {template: {engineVersion: v2, type: example.com/type}}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", holds: `{"a":"text"}`},
	"type-token":     {spec: "target: {template: {type: kubernetes.io/service-account-token}}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", refused: "spec.target.template.type"},
	"type-bootstrap": {spec: "target: {template: {type: bootstrap.kubernetes.io/token}}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", refused: "spec.target.template.type"},
	"merge-policy":   {spec: "target: {template: {mergePolicy: Merge, data: {b: '{{ .a }}!'}}}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", holds: `{"a":"text","b":"text!"}`},
	"replace-policy": {spec: "target: {template: {mergePolicy: Replace, data: {b: '{{ .a }}!'}}}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", holds: `{"b":"text!"}`},
	"from-configmap": {spec: "target: {template: {templateFrom: [{configMap: {name: texts, items: [{key: one}, {key: many, templateAs: KeysAndValues}]}}]}}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", holds: `{"one":"1 text","x":"text","z":"2"}`},
	"from-secret":    {spec: "target: {template: {templateFrom: [{secret: {name: texts, items: [{key: one, templateAs: Values}]}}]}}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", holds: `{"one":"secret text"}`},
	"from-literal":   {spec: "target: {template: {templateFrom: [{literal: 'k: \"{{ .a }}\"', target: Data}]}}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", holds: `{"k":"text"}`},
	"from-decoded":   {spec: "target: {template: {templateFrom: [{valuesDecodingStrategy: Base64, literal: 'k: \"{{ .a | b64enc }}\"'}]}}\ndata: [{secretKey: a, remoteRef: {key: binary}}]", holds: `{"k":"a\u0000b"}`},
	"from-target":    {spec: "target: {template: {templateFrom: [{target: spec.type, literal: 'k: v'}]}}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", refused: `target "spec.type" is none of Data, Annotations and Labels`},
	"from-key":       {spec: "target: {template: {templateFrom: [{secret: {name: texts, items: [{key: none}]}}]}}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", refused: `spec.target.template.templateFrom[0].secret.items[0]`},
	"data-wins":      {spec: "target: {template: {data: {one: mine}, templateFrom: [{secret: {name: texts, items: [{key: one}]}}]}}\ndata: [{secretKey: a, remoteRef: {key: plain}}]", holds: `{"one":"mine"}`},
}

func TestInventory(t *testing.T) {
	b := start(t)
	for path, value := range map[string]string{
		"plain": "text", "plain-words": "not base64!", "base64": "aGVsbG8/Pg==", "base64url": "aGVsbG8_Pg==", "binary": "a\x00b",
		"db": `{"user":"ada","port":5432,"a.b":"dot","deep":{"x":{"y":"z"}}}`, "other": `{"user":"eve"}`, "odd": `{"a/b":"1"}`, "encoded": `{"a":"aGVsbG8/Pg=="}`, "nulls": `{"a":"x\u0000"}`,
		"app/one": "1", "app/two": "2",
	} {
		b.backend.set(path, value)
	}
	b.apply("metadata: {name: texts}\ndata: {one: '1 {{ .a }}', many: \"x: '{{ .a }}'\\nz: '2'\"}", &corev1.ConfigMap{})
	b.apply("metadata: {name: texts}\nstringData: {one: 'secret {{ .a }}'}", &corev1.Secret{})
	b.apply("metadata: {name: fake}\nspec: {data: {made: up}}", &genv1.Fake{})
	for name, tc := range inventory {
		spec := tc.spec
		if !strings.HasPrefix(spec, "secretStoreRef") {
			spec = "secretStoreRef: {name: store}\n" + spec
		}
		b.whole(name, spec)
	}
	for name, tc := range inventory {
		t.Run(name, func(t *testing.T) {
			b := b.in(t)
			if tc.refused != "" {
				message := b.ready(name, "False/SecretSyncedError/spec.").GetConditions()[0].Message
				if !strings.Contains(message, tc.refused) {
					t.Errorf("got %q, want %q in it", message, tc.refused)
				}
				if b.data(name) != nil {
					t.Error("there is a Secret")
				}
				return
			}
			es := b.ready(name, "True/SecretSynced/secret synced")
			var want map[string]string
			if err := json.Unmarshal([]byte(tc.holds), &want); err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			b.holds(name, string(text))
			if es.Status.Binding.Name != name || es.Status.RefreshTime.IsZero() || es.Status.SyncedResourceVersion == "" {
				t.Errorf("status: %+v, want a binding, a refresh time and a synced version", es.Status)
			}
		})
	}
}

// TestInventoryIsComplete sees that every field of the type is in a line.
func TestInventoryIsComplete(t *testing.T) {
	var lines []string
	for _, tc := range inventory {
		lines = append(lines, tc.spec)
	}
	for _, path := range fields.Untold(t, esv1.ExternalSecretSpec{}, lines...) {
		t.Errorf("no line has spec%s", path)
	}
}
