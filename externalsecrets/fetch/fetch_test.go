package fetch_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/externalsecrets/template"
	"github.com/lockstep-dev/lockstep/providers"
)

func parse(t *testing.T, text string) *esv1.ExternalSecretSpec {
	t.Helper()
	spec := &esv1.ExternalSecretSpec{}
	if err := yaml.UnmarshalStrict([]byte(text), spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

const oneStore = "secretStoreRef: {name: s}\n"

func TestPlanReads(t *testing.T) {
	spec := parse(t, oneStore+`
data:
- {secretKey: a, remoteRef: {key: db, property: user}}
- {secretKey: b, remoteRef: {key: db, property: pass}}
- {secretKey: c, remoteRef: {key: db, version: "3"}}
- {secretKey: d, remoteRef: {key: db}, sourceRef: {storeRef: {name: t, kind: ClusterSecretStore}}}
dataFrom:
- extract: {key: app}
- extract: {key: db}
`)
	plan, err := fetch.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	s, other := esv1.SecretStoreRef{Name: "s", Kind: "SecretStore"}, esv1.SecretStoreRef{Name: "t", Kind: "ClusterSecretStore"}
	want := []fetch.Read{
		{Store: s, Ref: providers.Ref{Path: "app"}},
		{Store: s, Ref: providers.Ref{Path: "db"}},
		{Store: s, Ref: providers.Ref{Path: "db", Version: "3"}},
		{Store: other, Ref: providers.Ref{Path: "db"}},
	}
	if diff := cmp.Diff(want, plan.Reads); diff != "" {
		t.Errorf("each secret is read once (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]esv1.SecretStoreRef{other, s}, fetch.Stores(spec)); diff != "" {
		t.Errorf("Stores (-want +got):\n%s", diff)
	}
}

func TestNewRefuses(t *testing.T) {
	cases := map[string]struct {
		spec, want string
		err        error
	}{
		"Manifest":      {"target: {manifest: {apiVersion: v1, kind: ConfigMap}}", "spec.target.manifest", fetch.ErrUnsupported},
		"DataGenerator": {"data: [{secretKey: a, remoteRef: {key: a}, sourceRef: {generatorRef: {kind: UUID, name: a}}}]", "spec.data[0].sourceRef.generatorRef", fetch.ErrUnsupported},
		"FindNothing":   {oneStore + "dataFrom: [{find: {}}]", "spec.dataFrom[0].find", providers.ErrInvalid},
		"FindRegexp":    {oneStore + "dataFrom: [{find: {name: {regexp: '('}}}]", "spec.dataFrom[0].find.name.regexp", providers.ErrInvalid},
		"Rewrite":       {oneStore + "dataFrom: [{extract: {key: a}, rewrite: [{regexp: {source: '(', target: b}}]}]", "spec.dataFrom[0].rewrite[0].regexp.source", providers.ErrInvalid},
		"Transform":     {oneStore + "dataFrom: [{extract: {key: a}, rewrite: [{transform: {template: '{{ nope }}'}}]}]", "spec.dataFrom[0].rewrite[0].transform.template", template.ErrInvalid},
		"MergeInto":     {oneStore + "dataFrom: [{extract: {key: a}, rewrite: [{merge: {strategy: JSON}}]}]", "spec.dataFrom[0].rewrite[0].merge.into", providers.ErrInvalid},
		"Step":          {oneStore + "dataFrom: [{extract: {key: a}, rewrite: [{}]}]", "spec.dataFrom[0].rewrite[0]", providers.ErrInvalid},
		"Both":          {oneStore + "dataFrom: [{extract: {key: a}, find: {path: a}}]", "spec.dataFrom[0]", providers.ErrInvalid},
		"NoExtract":     {"dataFrom: [{}]", "spec.dataFrom[0]", providers.ErrInvalid},
		"Nothing":       {"{}", "spec.data", providers.ErrInvalid},
		"Twice":         {oneStore + "data: [{secretKey: a, remoteRef: {key: a}}, {secretKey: a, remoteRef: {key: b}}]", "spec.data[1].secretKey", providers.ErrInvalid},
		"NoStore":       {"data: [{secretKey: a, remoteRef: {key: a}}]", "spec.secretStoreRef", providers.ErrInvalid},
		"NoStoreFrom":   {"dataFrom: [{extract: {key: a}}]", "spec.secretStoreRef", providers.ErrInvalid},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := fetch.New(parse(t, tc.spec))
			if !errors.Is(err, tc.err) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("New: got %v, want %v that names %s", err, tc.err, tc.want)
			}
		})
	}
}

func TestValues(t *testing.T) {
	data := func(ref string) string { return oneStore + "data: [{secretKey: k, remoteRef: {key: db" + ref + "}}]" }
	from := func(ref string) string { return oneStore + "dataFrom: [{extract: {key: db" + ref + "}}]" }
	k := func(v string) map[string]string { return map[string]string{"k": v} }
	cases := map[string]struct {
		spec, value string
		want        map[string]string
		err         error
		message     string
	}{
		"Whole":          {spec: data(""), value: "any\x00thing", want: k("any\x00thing")},
		"Property":       {spec: data(", property: user"), value: `{"user":"ada"}`, want: k("ada")},
		"Dotted":         {spec: data(", property: tls.crt"), value: `{"tls":{"crt":"nested"},"tls.crt":"exact"}`, want: k("exact")},
		"Path":           {spec: data(", property: tls.crt"), value: `{"tls":{"crt":"nested"}}`, want: k("nested")},
		"Star":           {spec: data(`, property: "a*"`), value: `{"ab":"glob","a*":"exact"}`, want: k("exact")},
		"Index":          {spec: data(", property: hosts.1"), value: `{"hosts":["a","b"]}`, want: k("b")},
		"Number":         {spec: data(", property: num"), value: `{"num":12345678901234567890}`, want: k("12345678901234567890")},
		"Object":         {spec: data(", property: o"), value: `{"o":{"a": 1}}`, want: k(`{"a": 1}`)},
		"Null":           {spec: data(", property: o"), value: `{"o":null}`, want: k("")},
		"NoProperty":     {spec: data(", property: nope"), value: `{"o":"canary"}`, err: fetch.ErrNoProperty, message: `spec.data[0].remoteRef.property: no such property "nope" in secret "db" of SecretStore "s"`},
		"NotJSON":        {spec: data(", property: nope"), value: `canary`, err: fetch.ErrMalformed, message: "is not JSON"},
		"Base64":         {spec: data(", decodingStrategy: Base64"), value: "YWRh", want: k("ada")},
		"Base64URL":      {spec: data(", decodingStrategy: Base64URL"), value: "_-8=", want: k("\xff\xef")},
		"Auto":           {spec: data(", decodingStrategy: Auto"), value: "_-8=", want: k("\xff\xef")},
		"AutoNeither":    {spec: data(", decodingStrategy: Auto"), value: "!!", want: k("!!")},
		"BadBase64":      {spec: data(", decodingStrategy: Base64"), value: "canary!", err: fetch.ErrMalformed, message: `the value of key "k"`},
		"NullByte":       {spec: data(", nullBytePolicy: Fail"), value: "canary\x00", err: fetch.ErrMalformed, message: "zero byte"},
		"Extract":        {spec: from(""), value: `{"a":"x","n":1.50,"o":{"b": [1]},"t":true,"z":null,"":"drop"}`, want: map[string]string{"a": "x", "n": "1.50", "o": `{"b": [1]}`, "t": "true", "z": ""}},
		"ExtractPart":    {spec: from(", property: o"), value: `{"o":{"b":"x"}}`, want: map[string]string{"b": "x"}},
		"ExtractDecode":  {spec: from(", decodingStrategy: Base64"), value: `{"a":"YWRh"}`, want: map[string]string{"a": "ada"}},
		"ExtractConvert": {spec: from(""), value: `{"a/b c":"x"}`, want: map[string]string{"a_b_c": "x"}},
		"ExtractUnicode": {spec: from(", conversionStrategy: Unicode"), value: `{"a/b":"x"}`, want: map[string]string{"a_U002f_b": "x"}},
		"ExtractClash":   {spec: from(""), value: `{"a/b":"canary","a b":"y"}`, err: fetch.ErrMalformed, message: `keys "a b" and "a/b" both become "a_b"`},
		"ExtractList":    {spec: from(""), value: `["canary"]`, err: fetch.ErrMalformed, message: "spec.dataFrom[0].extract"},
		"LaterWins":      {spec: oneStore + "dataFrom: [{extract: {key: db}}]\ndata: [{secretKey: a, remoteRef: {key: db, property: b}}]", value: `{"a":"1","b":"2"}`, want: map[string]string{"a": "2", "b": "2"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			plan, err := fetch.New(parse(t, tc.spec))
			if err != nil {
				t.Fatal(err)
			}
			if len(plan.Reads) != 1 {
				t.Fatalf("Reads: got %v, want one", plan.Reads)
			}
			results := map[fetch.Read]fetch.Result{plan.Reads[0]: {Value: providers.NewValue([]byte(tc.value))}}
			values, err := plan.Values(results, false)
			if tc.err != nil {
				if !errors.Is(err, tc.err) || !strings.Contains(err.Error(), tc.message) || strings.Contains(err.Error(), "canary") {
					t.Errorf("Values: got %v, want %v that says %q, and no value", err, tc.err, tc.message)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for key, value := range values {
				got[key] = string(value)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Values (-want +got):\n%s", diff)
			}
		})
	}
}

func TestValuesOfFailedReads(t *testing.T) {
	plan, err := fetch.New(parse(t, oneStore+"data: [{secretKey: a, remoteRef: {key: there}}, {secretKey: b, remoteRef: {key: gone}}]"))
	if err != nil {
		t.Fatal(err)
	}
	results := func(err error) map[fetch.Read]fetch.Result {
		return map[fetch.Read]fetch.Result{
			plan.Reads[0]: {Value: providers.NewValue([]byte("x"))},
			plan.Reads[1]: {Err: err},
		}
	}
	for _, class := range []error{providers.ErrNotFound, providers.ErrDenied, providers.Throttled{}, providers.ErrUnavailable, providers.ErrInvalid} {
		_, err := plan.Values(results(class), false)
		if !errors.Is(err, class) || !strings.Contains(err.Error(), "spec.data[1].remoteRef") || !strings.Contains(err.Error(), `"gone"`) {
			t.Errorf("Values after %v: got %v, want the class, the field and the key", class, err)
		}
		values, err := plan.Values(results(class), true)
		if errors.Is(class, providers.ErrNotFound) {
			if err != nil || len(values) != 1 {
				t.Errorf("Values that skips the missing: got %d values, %v", len(values), err)
			}
		} else if !errors.Is(err, class) {
			t.Errorf("Values that skips the missing, after %v: got %v, want the error: nothing else means that a value is gone", class, err)
		}
	}
}

// FuzzProperty checks that a key that an object has is always found, whatever
// characters it has, and gives exactly its value.
func FuzzProperty(f *testing.F) {
	for _, seed := range []string{"a", "tls.crt", "a*", "#", "@this", "..", "|", `a\.b`, "", "ä", "a.#(b==1)"} {
		f.Add(seed, "value")
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		object, err := json.Marshal(map[string]string{key: value})
		if err != nil {
			t.Skip()
		}
		var clean map[string]string // json.Marshal replaces invalid UTF-8
		if err := json.Unmarshal(object, &clean); err != nil {
			t.Fatal(err)
		}
		for key, value := range clean {
			if key == "" {
				return // no property: the whole value
			}
			spec := &esv1.ExternalSecretSpec{SecretStoreRef: esv1.SecretStoreRef{Name: "s"}, Data: []esv1.ExternalSecretData{{
				SecretKey: "k", RemoteRef: esv1.RemoteRef{Key: "db", Property: key},
			}}}
			plan, err := fetch.New(spec)
			if err != nil {
				t.Fatal(err)
			}
			got, err := plan.Values(map[fetch.Read]fetch.Result{plan.Reads[0]: {Value: providers.NewValue(object)}}, false)
			if err != nil || string(got["k"]) != value {
				t.Fatalf("property %q of %s: got %q, %v, want %q", key, object, got["k"], err, value)
			}
		}
	})
}
