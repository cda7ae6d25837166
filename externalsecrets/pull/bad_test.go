package pull_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// badLine is one line of badInput.
type badLine struct {
	value    string // "" leaves it, "-" empties it; CANARY stands for one
	err      error
	spec     string // YAML; NS stands for the namespace
	ref, out string
}

// badInput has every way in which what users and stores give us can be wrong,
// but for a store that does not answer, for which all who use it wait: that is
// in TestFailuresKeepTheSecret.
// Each is done to an ExternalSecret that works: value is what its secret holds
// then, or err what the store says; spec is merged into its own. The message
// has ref and out: what is wrong, and what to do.
var badInput = map[string]badLine{
	"Denied":      {err: fmt.Errorf("the store says 403: %w", providers.ErrDenied), ref: `spec.data[0].remoteRef.key: SecretStore "store" does not let us read secret "NAME"`, out: "give the identity of the store the right to"},
	"Empty":       {value: "-", ref: "spec.data[0].remoteRef.property", out: "correct the property, or add it there"},
	"HTML":        {value: "<html>CANARY</html>", ref: `spec.data[0].remoteRef.property: malformed value: the value is not JSON`, out: "correct the property, or add it there"},
	"List":        {value: `["CANARY"]`, ref: `spec.data[0].remoteRef.property: no such property "user" in secret "NAME" of SecretStore "store"`, out: "correct the property"},
	"Text":        {value: `"CANARY"`, ref: `spec.data[0].remoteRef.property: no such property "user" in secret "NAME"`, out: "correct the property"},
	"NoObject":    {value: `["CANARY"]`, spec: "data: null\ndataFrom: [{extract: {key: NAME}}]", ref: `spec.dataFrom[0].extract: malformed value: secret "NAME" is not a JSON object`, out: "use data to take it as a whole"},
	"Binary":      {value: "\x00\xffCANARY", ref: "spec.data[0].remoteRef.property: malformed value: the value is not JSON", out: "correct the property"},
	"ZeroByte":    {value: "\x00CANARY", spec: "data: [{secretKey: user, remoteRef: {key: NAME, nullBytePolicy: Fail}}]", ref: `spec.data[0].remoteRef: the value of key "user"`, out: "which nullBytePolicy refuses"},
	"BinaryLabel": {value: "\xff\xfeCANARY", spec: "data: [{secretKey: user, remoteRef: {key: NAME}}]\ntarget: {template: {metadata: {labels: {a: '{{ .user }}'}}}}", ref: "spec.target.template.metadata.labels[a]", out: "at most 63 letters, digits"},
	"BinaryNote":  {value: "\xff\xfeCANARY", spec: "data: [{secretKey: user, remoteRef: {key: NAME}}]\ntarget: {template: {metadata: {annotations: {a: '{{ .user }}'}}}}", ref: "spec.target.template.metadata.annotations[a]", out: "encode it, with b64enc"},
	"BinaryYAML":  {value: "\xff\xfeCANARY", spec: "data: [{secretKey: user, remoteRef: {key: NAME}}]\ntarget: {template: {templateFrom: [{literal: '{{ .user }}'}]}}", ref: "spec.target.template.templateFrom[0].literal", out: "it must render a YAML map of strings"},

	"Large":         {value: `{"user":"LARGE"}`, ref: `spec.data[0].remoteRef: secret "NAME" of SecretStore "store": too large for a Secret: Secret "NAME" would have 1048577 bytes, of which the value of key "user" is 1048577, and 1048576 are allowed`, out: "take less of it with property, or split it"},
	"LargeTogether": {value: `{"user":"HALF"}`, spec: "data: [{secretKey: user, remoteRef: {key: NAME, property: user}}, {secretKey: again, remoteRef: {key: NAME, property: user}}]", ref: `spec.data[1].remoteRef: secret "NAME" of SecretStore "store": too large for a Secret: Secret "NAME" would have 1048578 bytes, of which the value of key "again" is 524289`, out: "split it among several ExternalSecrets"},
	"LargeRendered": {value: `{"user":"LARGE"}`, spec: "target: {template: {data: {user: '{{ .user }}'}}}", ref: "spec.target.template.data[user]: template limit: the template as a whole may take 2s and make 1048576 bytes", out: `give it less: the largest value is that of key "user" with 1048577 bytes`},
	"LargeMerged":   {value: `{"user":"HALF"}`, spec: "target: {template: {mergePolicy: Merge, data: {more: '{{ .user }}'}}}", ref: `spec.target.template.data[more]: too large for a Secret: Secret "NAME" would have 1048578 bytes`, out: "split it among several ExternalSecrets"},

	"Loop":         {spec: "target: {template: {data: {a: '{{ range until 9999 }}{{ range until 9999 }}{{ range until 9999 }}{{ end }}{{ end }}{{ end }}'}}}", ref: "spec.target.template.data[a]: template limit", out: "make it simpler"},
	"Recursion":    {spec: "target: {template: {data: {a: '{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}'}}}", ref: "spec.target.template.data[a]", out: "template"},
	"Doubling":     {spec: "target: {template: {data: {a: '{{ $x := \"xxxxxxxx\" }}{{ range until 99 }}{{ $x = cat $x $x }}{{ end }}{{ $x }}'}}}", ref: "spec.target.template.data[a]: template limit", out: "make it simpler"},
	"Pattern":      {spec: "data: null\ndataFrom: [{find: {name: {regexp: '((a{100}){100}){100}'}}}]", ref: "spec.dataFrom[0].find.name.regexp", out: "it is not a regular expression: correct it"},
	"PatternIn":    {spec: "target: {template: {data: {a: '{{ mustRegexMatch \"((a{100}){100}){100}\" .user }}'}}}", ref: "spec.target.template.data[a]", out: "function mustRegexMatch fails for the values at hand"},
	"PatternKeys":  {spec: "data: null\ndataFrom: [{extract: {key: NAME}, rewrite: [{regexp: {source: '((a{100}){100}){100}', target: a}}]}]", ref: "spec.dataFrom[0].rewrite[0].regexp", out: "correct it"},
	"TwoOnOne":     {spec: "target: {name: first}", ref: `spec.target.name: Secret "first" belongs to ExternalSecret "first"`, out: "choose another name, delete one of the two, or set creationPolicy: Merge"},
	"SomeoneElses": {spec: "target: {name: theirs}", ref: `spec.target.name: Secret "theirs" belongs to ConfigMap "owner"`, out: "choose another name"},
	"OtherStore":   {spec: "secretStoreRef: {name: elsewhere}", ref: `SecretStore "elsewhere" does not exist`, out: "create it"},
	"NotAdmitted":  {spec: "secretStoreRef: {kind: ClusterSecretStore, name: NS-closed}", ref: "spec.data[0].remoteRef", out: "add it there, or use another store"},
}

// TestBadInputKeepsTheSecret does each to an ExternalSecret that works, and
// sees that the Secret stays, what the condition says, and that the API server
// hears of it once. Even deletionPolicy Delete deletes nothing then.
func TestBadInputKeepsTheSecret(t *testing.T) {
	b := start(t)
	b.backend.set("first", `{"user":"first"}`)
	b.external("first", badSpec("first"))
	b.ready("first", "True")
	owner := &corev1.ConfigMap{}
	b.apply("metadata: {name: owner}", owner)
	theirs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "theirs", OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID, Controller: new(true)}}}, StringData: map[string]string{"theirs": "kept"}}
	elsewhere := &esv1.SecretStore{ObjectMeta: metav1.ObjectMeta{Namespace: b.cp.Namespace(t), Name: "elsewhere"}}
	elsewhere.Spec.Provider = &esv1.SecretStoreProvider{Other: map[string]json.RawMessage{"example": []byte("{}")}}
	for _, o := range []client.Object{theirs, elsewhere} {
		if err := b.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	b.apply("metadata: {name: "+b.ns+"-closed}\nspec: {provider: {example: {}}, conditions: [{namespaces: [elsewhere]}]}", &esv1.ClusterSecretStore{})
	canary := testenv.NewCanary(t)
	fill := func(name, text string) string {
		return strings.NewReplacer("CANARY", canary.Value(), "LARGE", strings.Repeat("x", 1<<20+1), "HALF", strings.Repeat("x", 1<<19+1), "NAME", name, "NS", b.ns).Replace(text)
	}
	before, keys := map[string]string{}, []client.ObjectKey{}
	for name := range badInput {
		name = badName(name)
		b.backend.set(name, fill(name, `{"user":"CANARY"}`))
		b.external(name, badSpec(name))
		keys = append(keys, b.key(name))
	}
	for name := range badInput {
		name = badName(name)
		b.ready(name, "True")
		before[name] = b.secret(name).ResourceVersion
	}
	writes, _, _ := b.costs(func() {
		for name, line := range badInput {
			b.spoil(badName(name), line, fill)
		}
		for name, line := range badInput {
			t.Run(name, func(t *testing.T) { b.in(t).spoilt(badName(name), line, fill) })
		}
	})
	for name, version := range before {
		if b.secret(name).ResourceVersion != version {
			t.Errorf("%s: the Secret was written", name)
		}
		if got := b.warnings(name); got != 1 {
			t.Errorf("%s: %d warnings, want 1", name, got)
		}
	}
	if writes > int64(len(badInput)) {
		t.Errorf("%d writes to the API server, want one status for each of %d", writes, len(badInput))
	}
	b.holds("first", `{"user":"first"}`)
	b.holds("theirs", `{"theirs":"kept"}`)
	canary.NotInCluster(t, b.cp, keys...)
}

func badName(line string) string { return "bad-" + strings.ToLower(line) }

func badSpec(key string) string {
	return "refreshInterval: 1h\ntarget: {deletionPolicy: Delete}\ndata: [{secretKey: user, remoteRef: {key: " + key + ", property: user}}]"
}

// spoil does what a line says to an ExternalSecret that works.
func (b *bench) spoil(name string, line badLine, fill func(name, text string) string) {
	b.t.Helper()
	if line.value != "" {
		b.backend.set(name, strings.TrimPrefix(fill(name, line.value), "-"))
	}
	b.backend.fail(name, line.err)
	b.merge(name, fill(name, line.spec))
}

// spoilt waits for what the condition says then, and for its Event.
func (b *bench) spoilt(name string, line badLine, fill func(name, text string) string) {
	b.t.Helper()
	message := b.ready(name, "False/SecretSyncedError/").GetConditions()[0].Message
	for _, want := range []string{line.ref, line.out} {
		if !strings.Contains(message, fill(name, want)) {
			b.t.Errorf("got %q, want %q in it", message, fill(name, want))
		}
	}
	b.eventually("its Event", func() bool { return b.warnings(name) > 0 })
}

// merge changes the spec of an ExternalSecret, and forces a sync.
func (b *bench) merge(name, spec string) {
	b.t.Helper()
	text, err := yaml.YAMLToJSON([]byte("spec:\n" + indent(spec+"\nrefreshPolicy: Periodic") + "metadata: {annotations: {force-sync: '" + time.Now().String() + "'}}"))
	if err != nil {
		b.t.Fatal(err)
	}
	es := &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: name}}
	if err := b.Patch(b.t.Context(), es, client.RawPatch(types.MergePatchType, text)); err != nil {
		b.t.Fatal(err)
	}
}
