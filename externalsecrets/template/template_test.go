package template_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/template"
)

func TestRender(t *testing.T) {
	values := map[string][]byte{"user": []byte("ada"), "pass": []byte("hunter2"), "a-b": []byte("dash")}
	opaque := func(data map[string]string) *template.Output {
		out := &template.Output{Type: corev1.SecretTypeOpaque, Data: map[string][]byte{}, Labels: map[string]string{}, Annotations: map[string]string{}}
		for k, v := range data {
			out.Data[k] = []byte(v)
		}
		return out
	}
	data := func(text string) *esv1.Template { return &esv1.Template{Data: map[string]string{"out": text}} }
	out := func(text string) *template.Output { return opaque(map[string]string{"out": text}) }
	full := opaque(map[string]string{"user": "ada", "pass": "hunter2", "a-b": "dash", "out": "ada"})
	full.Type, full.Finalizers = corev1.SecretTypeBasicAuth, []string{"example.org/f"}
	full.Labels["user"], full.Annotations["note"] = "ada", "for ada"

	cases := map[string]struct {
		reason  string
		tmpl    *esv1.Template
		sources []template.Source
		want    *template.Output
	}{
		"None":      {reason: "Without a template, the values are the data.", want: opaque(map[string]string{"user": "ada", "pass": "hunter2", "a-b": "dash"})},
		"Empty":     {reason: "A template without texts keeps the values.", tmpl: &esv1.Template{}, want: opaque(map[string]string{"user": "ada", "pass": "hunter2", "a-b": "dash"})},
		"Replace":   {reason: "With texts, the values are left out.", tmpl: data("{{ .user }}:{{ .pass }}"), want: out("ada:hunter2")},
		"Dashed":    {reason: "A name with a dash is reached by index.", tmpl: data(`{{ index . "a-b" }}`), want: out("dash")},
		"Functions": {reason: "Sprig's functions are there.", tmpl: data(`{{ printf "%s-%d" (.user | upper | b64enc | b64dec) 3 }}`), want: out("ADA-3")},
		"YAML":      {reason: "So are ESO's.", tmpl: data(`{{ (fromYaml "a: {b: 1}") | toYaml }}`), want: out("a:\n  b: 1")},
		"Keys":      {reason: "Keys come in order.", tmpl: data(`{{ keys (dict "c" 1 "a" 2 "b" 3) | join "," }}`), want: out("a,b,c")},
		"Loop":      {reason: "Loops and branches run.", tmpl: data(`{{ range $k, $v := . }}{{ if ne $k "pass" }}{{ $k }}={{ $v }};{{ end }}{{ end }}`), want: out("a-b=dash;user=ada;")},
		"Dict":      {reason: "A dict may be changed.", tmpl: data(`{{ $d := dict }}{{ $_ := set $d "k" .user }}{{ $d.k }}`), want: out("ada")},
		"Merge": {
			reason: "With mergePolicy Merge, values stay; metadata is rendered too.",
			tmpl: &esv1.Template{
				Type: corev1.SecretTypeBasicAuth, MergePolicy: esv1.MergePolicyMerge, Data: map[string]string{"out": "{{ .user }}"},
				Metadata: esv1.TemplateMetadata{Labels: map[string]string{"user": "{{ .user }}"}, Annotations: map[string]string{"note": "for {{ .user }}"}, Finalizers: []string{"example.org/f"}},
			},
			want: full,
		},
		"Sources": {
			reason: "Data wins over sources, a later source over an earlier one.",
			tmpl:   &esv1.Template{Data: map[string]string{"out": "data"}, TemplateFrom: []esv1.TemplateFrom{{}}},
			sources: []template.Source{
				{Field: "f", Key: "file", Text: "{{ .user }}"},
				{Field: "f", Text: "file: second\nout: source\nenc: eA==", Decode: func(b []byte) ([]byte, error) { return b[:1], nil }},
			},
			want: opaque(map[string]string{"file": "s", "out": "data", "enc": "e"}),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := template.Render(t.Context(), tc.tmpl, tc.sources, values)
			if err != nil {
				t.Fatalf("%s\nRender: %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nRender (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

const secret = "s3cr3t-canary-value"

func TestRenderRefuses(t *testing.T) {
	cases := map[string]struct {
		reason string
		text   string
		want   []string
		err    error
	}{
		"MissingKey":    {reason: "The key that is missing is named.", text: "\n{{ .nope }}", want: []string{`no value "nope"`, "line 2", "spec.target.template.data[out]"}},
		"Syntax":        {reason: "A template that does not parse says where.", text: "a\nb {{ if }}", want: []string{"line 2", "valid Go template"}},
		"Unknown":       {reason: "An unknown function is named.", text: "{{ noSuch .value }}", want: []string{"no function noSuch"}},
		"Random":        {reason: "A function that would never settle is named, with the reason.", text: "{{ randAlphaNum 5 }}", want: []string{"randAlphaNum", "differs every time"}},
		"Htpasswd":      {reason: "So is one with a random salt.", text: "{{ htpasswd `a` .value }}", want: []string{"htpasswd"}},
		"Environment":   {reason: "The environment is out of reach.", text: `{{ env "HOME" }}`, want: []string{"env"}},
		"Network":       {reason: "So is the network.", text: `{{ getHostByName "example.org" }}`, want: []string{"getHostByName"}},
		"FailingCall":   {reason: "A call that fails is named without its message.", text: `{{ fail .value }}`, want: []string{"function fail"}},
		"WrongType":     {reason: "A wrong type shows no value.", text: `{{ index .value 3 9 }}`, want: []string{"index"}},
		"Field":         {reason: "A field of a value shows no value.", text: `{{ .value.x }}`, want: []string{"cannot be executed"}},
		"Panic":         {reason: "A panic is an error.", text: `{{ substr 5 2 .value }}{{ slice (list 1) 3 9 }}`, want: []string{"spec.target.template"}},
		"Endless":       {reason: "A range over a number ends at the time limit.", text: `{{ range 100000000000 }}{{ end }}`, err: template.ErrLimit},
		"Nested":        {reason: "So do nested loops.", text: `{{ $x := until 9999 }}{{ range $x }}{{ range $x }}{{ range $x }}{{ end }}{{ end }}{{ end }}`, err: template.ErrLimit},
		"Recursive":     {reason: "So do templates that call each other.", text: `{{ define "a" }}{{ if lt . 60 }}{{ template "a" (add1 .) }}{{ template "a" (add1 .) }}{{ end }}{{ end }}{{ template "a" 0 }}`, err: template.ErrLimit},
		"Repeat":        {reason: "Strings do not multiply.", text: `{{ $x := repeat 1000000000 "x" }}`, err: template.ErrLimit},
		"Doubling":      {reason: "Nor double.", text: `{{ $x := "xxxxxxxx" }}{{ range until 60 }}{{ $x = print $x $x }}{{ end }}`, err: template.ErrLimit},
		"Width":         {reason: "Nor grow by a width.", text: `{{ $x := printf "%900000000d" 1 }}`, err: template.ErrLimit},
		"Until":         {reason: "A list is not made from a huge number.", text: `{{ $x := until 2000000000 }}`, err: template.ErrLimit},
		"Cycle":         {reason: "A dict in itself does not end the process.", text: `{{ $d := dict }}{{ $_ := set $d "a" $d }}{{ $d }}`, err: template.ErrLimit},
		"Fan":           {reason: "Nor do dicts of dicts.", text: `{{ $d := dict "a" 1 }}{{ range until 60 }}{{ $d = dict "a" $d "b" $d }}{{ end }}{{ $d }}`, err: template.ErrLimit},
		"Output":        {reason: "Nor is more rendered than a Secret holds.", text: `{{ range until 9999 }}{{ repeat 200 "x" }}{{ end }}`, err: template.ErrLimit},
		"LateFan":       {reason: "What grew after it was put together is measured when printed.", text: `{{ $a := dict }}{{ $b := list $a $a $a $a $a $a $a $a }}{{ $c := list $b $b $b $b $b $b $b $b }}{{ $_ := set $a "k" (repeat 100000 "x") }}{{ $c }}`, err: template.ErrLimit},
		"LabelIsSecret": {reason: "A label that cannot be shows no value.", text: "", want: []string{"label"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tmpl := &esv1.Template{Data: map[string]string{"out": tc.text}}
			if name == "LabelIsSecret" {
				tmpl = &esv1.Template{Metadata: esv1.TemplateMetadata{Labels: map[string]string{"l": "{{ .value }} no label"}}}
			}
			start := time.Now()
			got, err := template.Render(t.Context(), tmpl, nil, map[string][]byte{"value": []byte(secret)})
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("%s\nRender took %s", tc.reason, took)
			}
			want := tc.err
			if want == nil {
				want = template.ErrInvalid
			}
			if !errors.Is(err, want) {
				t.Fatalf("%s\nRender: got %v, %v, want %v", tc.reason, got, err, want)
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s\nRender: the error holds the value: %v", tc.reason, err)
			}
			for _, part := range tc.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s\nRender: got %q, want %q in it", tc.reason, err, part)
				}
			}
		})
	}
}

func TestRenderRefusesTypes(t *testing.T) {
	for _, kind := range []corev1.SecretType{corev1.SecretTypeServiceAccountToken, corev1.SecretTypeBootstrapToken} {
		_, err := template.Render(t.Context(), &esv1.Template{Type: kind}, nil, nil)
		if !errors.Is(err, template.ErrInvalid) || !strings.Contains(err.Error(), "spec.target.template.type") {
			t.Errorf("type %s: got %v, want ErrInvalid that names the field", kind, err)
		}
	}
}

// FuzzRender checks that whatever a template is, its error never holds a
// value, it stays within its limits, and it renders the same twice.
func FuzzRender(f *testing.F) {
	for _, seed := range []string{
		"{{ .value }}", "{{ .value | b64dec }}", "{{ fail .value }}", `{{ index . .value }}`, "{{ range . }}{{ . }}{{ end }}",
		`{{ template .value }}`, `{{ (dict .value 1) | toJson }}`, `{{ .value | int }}`, `{{ fromYaml .value }}`, `{{ regexMatch .value "x" }}`,
		`{{ define "x" }}{{ .value }}{{ end }}{{ template "x" . }}`, `{{ printf .value 1 }}`, `{{ .value.value }}`, `{{ semver .value }}`, `{{ call .value }}`,
	} {
		f.Add(seed)
	}
	values := map[string][]byte{"value": []byte(secret)}
	f.Fuzz(func(t *testing.T, text string) {
		tmpl := &esv1.Template{Data: map[string]string{"out": text}}
		got, err := template.Render(t.Context(), tmpl, nil, values)
		if err != nil {
			if strings.Contains(err.Error(), secret) {
				t.Fatalf("the error of %q holds the value: %v", text, err)
			}
			return
		}
		if n := len(got.Data["out"]); n > 1<<20 {
			t.Fatalf("%q rendered %d bytes", text, n)
		}
		again, err := template.Render(t.Context(), tmpl, nil, values)
		if err != nil {
			t.Fatalf("%q failed the second time: %v", text, err)
		}
		if diff := cmp.Diff(got, again); diff != "" {
			t.Fatalf("%q rendered differently the second time", text)
		}
	})
}
