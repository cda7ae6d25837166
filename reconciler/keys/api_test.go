package keys_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sigsyaml "sigs.k8s.io/yaml"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var scopes = []sealer.Scope{sealer.Strict, sealer.NamespaceWide, sealer.ClusterWide}

// door is the HTTP API with two keys, the second the newest.
type door struct {
	t        *testing.T
	handler  http.Handler
	old, key sealer.Key
}

func newDoor(t *testing.T, limit float64, burst int) *door {
	t.Helper()
	d := &door{t: t, old: makeKey(t), key: makeKey(t)}
	d.key.Certificate.NotBefore = d.key.Certificate.NotBefore.Add(time.Hour)
	ring := &sealer.Keyring{}
	ring.Set(d.old, d.key)
	d.handler = (&keys.Controller{Ring: ring, RateLimit: limit, RateBurst: burst}).Handler()
	return d
}

func makeKey(t *testing.T) sealer.Key {
	t.Helper()
	private, cert, err := sealer.NewCertificate(2048, time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	key, err := sealer.NewKey(private, cert)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// post sends a body as a client of an address does.
func (d *door) post(path, body, from, forwarded string) *httptest.ResponseRecorder {
	d.t.Helper()
	r := httptest.NewRequestWithContext(d.t.Context(), http.MethodPost, path, strings.NewReader(body))
	r.RemoteAddr = from + ":1234"
	if forwarded != "" {
		r.Header.Set("X-Forwarded-For", forwarded)
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w
}

func (d *door) seal(key sealer.Key, at sealer.Binding, value string) string {
	d.t.Helper()
	sealed, err := sealer.Seal(&key.Private.PublicKey, []byte(value), at.Label())
	if err != nil {
		d.t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sealed)
}

// object is a SealedSecret in JSON, whose object and template name a scope each.
func object(namespace, name string, outer, template sealer.Scope, items map[string]string) string {
	ss := &bitnamiv1alpha1.SealedSecret{}
	ss.APIVersion, ss.Kind = bitnamiv1alpha1.GroupVersion.String(), bitnamiv1alpha1.SealedSecretKind
	ss.Namespace, ss.Name = namespace, name
	ss.Annotations, ss.Spec.Template.Annotations = annotated(outer), annotated(template)
	ss.Spec.EncryptedData = items
	text, err := json.Marshal(ss)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func annotated(scope sealer.Scope) map[string]string {
	switch scope {
	case sealer.ClusterWide:
		return map[string]string{bitnamiv1alpha1.AnnotationClusterWide: "true"}
	case sealer.NamespaceWide:
		return map[string]string{bitnamiv1alpha1.AnnotationNamespaceWide: "true"}
	default:
		return nil
	}
}

// Every way of asking for a wider scope than a value was sealed with is
// refused: three widenings, three ways to ask, three places. This is
// CVE-2026-22728 of Sealed Secrets.
func TestRotateWidensNothing(t *testing.T) {
	d := newDoor(t, 0, 0)
	at := sealer.Binding{Namespace: "prod", Name: "db"}
	places := map[string][2]string{"Same": {"prod", "db"}, "OtherName": {"prod", "mine"}, "OtherNamespace": {"mine", "db"}}
	refused := 0
	for _, from := range scopes {
		for _, to := range scopes {
			if to <= from {
				continue
			}
			at.Scope = from
			items := map[string]string{"password": d.seal(d.old, at, "v")}
			for place, is := range places {
				for way, body := range map[string]string{
					"Annotation": object(is[0], is[1], to, from, items),
					"Template":   object(is[0], is[1], from, to, items),
					"Both":       object(is[0], is[1], to, to, items),
				} {
					w := d.post("/v1/rotate", body, "192.0.2.1", "")
					if w.Code != http.StatusConflict || w.Body.String() != "the SealedSecret cannot be opened\n" {
						t.Errorf("%v to %v by %s at %s: got %d %q", from, to, way, place, w.Code, w.Body)
						continue
					}
					refused++
				}
			}
		}
	}
	if refused != 27 {
		t.Errorf("%d of 27 attempts were refused", refused)
	}
	// The same attack on what trusts the template, as Sealed Secrets did before
	// v0.36.0, succeeds: or this test would show nothing.
	at.Scope = sealer.Strict
	ring := &sealer.Keyring{}
	ring.Set(d.old)
	value, err := ring.Open(must(base64.StdEncoding.DecodeString(d.seal(d.old, at, "v"))), at, "")
	if err != nil {
		t.Fatal(err)
	}
	stub := d.seal(d.old, sealer.Binding{Scope: sealer.ClusterWide}, string(value.Value))
	if _, err := ring.Open(must(base64.StdEncoding.DecodeString(stub)), sealer.Binding{Namespace: "mine", Name: "mine", Scope: sealer.ClusterWide}, ""); err != nil {
		t.Errorf("what the template scopes does not open elsewhere: %v", err)
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// A value that is sealed again opens where it opened before, with the newest
// key, and nowhere else.
func TestRotateKeepsScope(t *testing.T) {
	d := newDoor(t, 0, 0)
	newest := &sealer.Keyring{}
	newest.Set(d.key)
	for _, scope := range scopes {
		at := sealer.Binding{Namespace: "prod", Name: "db", Scope: scope}
		w := d.post("/v1/rotate", object("prod", "db", scope, scope, map[string]string{"a": d.seal(d.old, at, "v")}), "192.0.2.1", "")
		got := &bitnamiv1alpha1.SealedSecret{}
		if err := json.Unmarshal(w.Body.Bytes(), got); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%v: %d %v", scope, w.Code, err)
		}
		sealed := must(base64.StdEncoding.DecodeString(got.Spec.EncryptedData["a"]))
		for _, other := range scopes {
			opened, err := newest.Open(sealed, sealer.Binding{Namespace: "prod", Name: "db", Scope: other}, "")
			if (err == nil) != (other == scope) || err == nil && string(opened.Value) != "v" {
				t.Errorf("sealed again with scope %v, opened with %v: %v", scope, other, err)
			}
		}
	}
}

// Nothing but the sealed values changes: order, spaces, labels, templates, and
// what nobody knows.
func TestRotateTouchesNothingElse(t *testing.T) {
	d := newDoor(t, 0, 0)
	at := sealer.Binding{Namespace: "prod", Name: "db"}
	one, two := d.seal(d.old, at, "1"), d.seal(d.key, at, "2")
	const text = `{ "kind":"SealedSecret", "spec": {"template": {"type":"kubernetes.io/tls","data":{"z":"{{ fail .a }}","b":null},
  "metadata":{"annotations":{"sealedsecrets.bitnami.com/managed":"true"},"labels":{"encryptedData":"x"}}},
  "encryptedData":{"z": %q , "a":%q}, "unknown":[1,2.50,{"a":"%s"}]},
  "metadata":{"namespace":"prod","labels":{"l":"\u003c"},"name":"db","annotations":{"note":"n"}},"apiVersion":"bitnami.com/v1alpha1"}`
	w := d.post("/v1/rotate", fmt.Sprintf(text, one, two, one), "192.0.2.1", "")
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	got := &bitnamiv1alpha1.SealedSecret{}
	if err := json.Unmarshal(w.Body.Bytes(), got); err != nil {
		t.Fatal(err)
	}
	next := got.Spec.EncryptedData
	if next["z"] == one || next["a"] == two || next["z"] == next["a"] {
		t.Error("a value was not sealed again")
	}
	if diff := cmp.Diff(fmt.Sprintf(text, next["z"], next["a"], one), w.Body.String()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

// What a template would do with a value changes no answer.
func TestNoTemplateIsRendered(t *testing.T) {
	d := newDoor(t, 0, 0)
	canary := testenv.NewCanary(t)
	at := sealer.Binding{Namespace: "prod", Name: "db"}
	for _, template := range []string{
		`{{ fail .password }}`, `{{ if hasPrefix "a" .password }}{{ fail "x" }}{{ end }}`, `{{`, `{{ .password }}`, `{{ index .x 1 }}`,
	} {
		text := object("prod", "db", sealer.Strict, sealer.Strict, map[string]string{"password": d.seal(d.old, at, canary.Value())})
		ss := &bitnamiv1alpha1.SealedSecret{}
		if err := json.Unmarshal([]byte(text), ss); err != nil {
			t.Fatal(err)
		}
		body := strings.Replace(text, `"template":{`, `"template":{"data":{"f":`+string(must(json.Marshal(template)))+`},`, 1)
		if body == text {
			t.Fatal("the template is not in the body")
		}
		for _, path := range []string{"/v1/verify", "/v1/rotate"} {
			w := d.post(path, body, "192.0.2.1", "")
			if w.Code != http.StatusOK {
				t.Errorf("%s with template %s: %d %s", path, template, w.Code, w.Body)
			}
			canary.NotIn(t, "the answer of "+path, w.Body.Bytes())
		}
	}
}

// Whatever is wrong, the answer is one of a few texts.
func TestAnswers(t *testing.T) {
	d := newDoor(t, 0, 0)
	at := sealer.Binding{Namespace: "prod", Name: "db"}
	good := object("prod", "db", sealer.Strict, sealer.Strict, map[string]string{"a": d.seal(d.old, at, "v")})
	yaml := string(must(sigsyaml.JSONToYAML([]byte(good))))
	const bad, no = "the body is not one SealedSecret in JSON or YAML\n", "the SealedSecret cannot be opened\n"
	cases := map[string]struct {
		body, want string
		status     int
	}{
		"Good":          {good, "", 200},
		"YAML":          {yaml, "", 200},
		"YAMLDocument":  {"---\n" + yaml + "---\n", "", 200},
		"OtherName":     {strings.Replace(good, `"name":"db"`, `"name":"web"`, 1), no, 409},
		"NoSuchKey":     {object("prod", "db", 0, 0, map[string]string{"a": d.seal(makeKey(t), at, "v")}), no, 409},
		"NotBase64":     {object("prod", "db", 0, 0, map[string]string{"a": "!"}), no, 409},
		"NotText":       {`{"apiVersion":"bitnami.com/v1alpha1","kind":"SealedSecret","metadata":{"name":"a"},"spec":{"encryptedData":{"a":1}}}`, no, 409},
		"Twice":         {strings.Replace(good, `"kind":`, `"kind":"SealedSecret","kind":`, 1), bad, 500},
		"TwiceMetadata": {strings.Replace(good, `"metadata":`, `"metadata":{},"metadata":`, 1), bad, 500},
		"OtherCase":     {strings.Replace(good, `"metadata":`, `"Metadata":`, 1), bad, 500},
		"TwoDocuments":  {yaml + "---\n" + yaml, bad, 500},
		"TwoJSON":       {good + good, bad, 500},
		"Secret":        {`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}`, bad, 500},
		"List":          {`[]`, bad, 500},
		"Empty":         {"", bad, 500},
		"Text":          {"hunter2", bad, 500},
		"Deep":          {strings.Repeat(`{"a":`, 100), bad, 500},
		"CutOff":        {good[:len(good)-9], bad, 500},
		"Large":         {strings.Repeat("x", 3<<20), "the body is too large\n", 413},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/v1/verify", "/v1/rotate"} {
				w := d.post(path, tc.body, "192.0.2.1", "")
				if w.Code != tc.status || tc.status != 200 && w.Body.String() != tc.want {
					t.Errorf("%s: got %d %q, want %d %q", path, w.Code, w.Body, tc.status, tc.want)
				}
			}
		})
	}
}

// The budget is of the address, whatever it says of others.
func TestRateLimit(t *testing.T) {
	d := newDoor(t, 0.001, 2)
	at := sealer.Binding{Namespace: "prod", Name: "db"}
	body := object("prod", "db", sealer.Strict, sealer.Strict, map[string]string{"a": d.seal(d.old, at, "v")})
	steps := []struct {
		from, forwarded string
		want            int
	}{
		{"192.0.2.1", "", 200}, {"192.0.2.1", "", 200}, {"192.0.2.1", "", 429}, // its two
		{"192.0.2.2", "198.51.100.1", 200}, {"192.0.2.2", "198.51.100.1", 200}, {"192.0.2.2", "198.51.100.1", 429},
		{"192.0.2.2", "10.0.0.9, 198.51.100.1", 429}, // only the last entry is the proxy's
		{"192.0.2.2", "198.51.100.2", 200},           // another client of the same proxy
		{"192.0.2.2", "198.51.100.3", 200}, {"192.0.2.2", "198.51.100.4", 200}, {"192.0.2.2", "198.51.100.5", 200},
		{"192.0.2.2", "198.51.100.6", 200}, {"192.0.2.2", "198.51.100.7", 200}, {"192.0.2.2", "198.51.100.8", 429}, // eight in all
	}
	for i, step := range steps {
		w := d.post("/v1/rotate", body, step.from, step.forwarded)
		if w.Code != step.want {
			t.Errorf("step %d, from %s for %q: got %d, want %d", i+1, step.from, step.forwarded, w.Code, step.want)
		}
		if w.Code == 429 && w.Header().Get("Retry-After") != "1" {
			t.Error("nobody is told when to try again")
		}
	}
}
