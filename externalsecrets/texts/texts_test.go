package texts_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/template"
	"github.com/lockstep-dev/lockstep/externalsecrets/texts"
)

// shelf is a cluster with one ConfigMap and one Secret, both called t, in the
// namespace a. down is what it says to anything else.
type shelf struct {
	client.Reader

	down error
}

func (s shelf) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if key != (client.ObjectKey{Namespace: "a", Name: "t"}) {
		if s.down != nil {
			return s.down
		}
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	switch o := into.(type) {
	case *corev1.ConfigMap:
		o.Data = map[string]string{"one": "1: {{ .a }}", "two": "2"}
	case *corev1.Secret:
		o.Data = map[string][]byte{"one": []byte("s: {{ .b }}")}
	}
	return nil
}

func from(t *testing.T, text string) *esv1.Template {
	t.Helper()
	out := &esv1.Template{}
	if err := yaml.UnmarshalStrict([]byte(text), out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRead(t *testing.T) {
	got, err := texts.Read(t.Context(), shelf{}, "a", from(t, `
templateFrom:
- configMap: {name: t, items: [{key: one}, {key: two, templateAs: KeysAndValues}]}
- target: Labels
  secret: {name: t, items: [{key: one, templateAs: Values}]}
- literal: "l: {{ .c }}"
- valuesDecodingStrategy: Base64
  configMap: {name: t, items: [{key: two}]}
  secret: {name: t, items: [{key: one}]}
  literal: x
`))
	want := []template.Source{
		{Field: "spec.target.template.templateFrom[0].configMap.items[0]", Key: "one", Text: "1: {{ .a }}"},
		{Field: "spec.target.template.templateFrom[0].configMap.items[1]", Text: "2"},
		{Field: "spec.target.template.templateFrom[1].secret.items[0]", Key: "one", Text: "s: {{ .b }}", Target: "Labels"},
		{Field: "spec.target.template.templateFrom[2].literal", Text: "l: {{ .c }}"},
		{Field: "spec.target.template.templateFrom[3].configMap.items[0]", Key: "two", Text: "2"},
		{Field: "spec.target.template.templateFrom[3].secret.items[0]", Key: "one", Text: "s: {{ .b }}"},
		{Field: "spec.target.template.templateFrom[3].literal", Text: "x"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(template.Source{}, "Decode")); diff != "" || err != nil {
		t.Errorf("Read: %v (-want +got):\n%s", err, diff)
	}
	for i, s := range got {
		out, err := s.Decode([]byte("eA=="))
		if decoded := string(out); err != nil || (decoded == "x") != (i > 3) {
			t.Errorf("%s: decoded to %q, %v", s.Field, decoded, err)
		}
	}
	if none, err := texts.Read(t.Context(), shelf{}, "a", nil); none != nil || err != nil {
		t.Errorf("Read of no template: got %v, %v", none, err)
	}
}

func TestReadFails(t *testing.T) {
	down := errors.New("no route")
	cases := map[string]struct {
		reason, namespace, spec string
		reader                  shelf
		want                    error
		text                    string
	}{
		"Missing":        {reason: "What is not there is named.", namespace: "a", spec: "{configMap: {name: other, items: [{key: one}]}}", want: texts.ErrSource, text: `templateFrom[0].configMap: template not found: ConfigMap "other" does not exist`},
		"MissingSecret":  {reason: "Of either kind.", namespace: "a", spec: "{secret: {name: other, items: [{key: one}]}}", want: texts.ErrSource, text: `Secret "other" does not exist`},
		"Key":            {reason: "So is a key.", namespace: "a", spec: "{secret: {name: t, items: [{key: one}, {key: two}]}}", want: texts.ErrSource, text: `templateFrom[0].secret.items[1]: template not found: Secret "t" has no key "two"`},
		"OtherNamespace": {reason: "Another namespace is never looked at.", namespace: "b", spec: "{secret: {name: t, items: [{key: one}]}}", want: texts.ErrSource, text: `Secret "t" does not exist`},
		"Down":           {reason: "A failure to look is no missing template.", namespace: "b", reader: shelf{down: down}, spec: "{secret: {name: t, items: [{key: one}]}}", want: down, text: "templateFrom[0].secret: read Secret"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := texts.Read(t.Context(), tc.reader, tc.namespace, from(t, "templateFrom: ["+tc.spec+"]"))
			if got != nil || !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%s\nRead: got %v, %v, want %v with %q in it", tc.reason, got, err, tc.want, tc.text)
			}
			if strings.Contains(err.Error(), "{{") {
				t.Errorf("Read: %v repeats a template", err)
			}
		})
	}
}

func TestNames(t *testing.T) {
	got := texts.Names(from(t, "templateFrom: [{configMap: {name: a, items: [{key: k}]}, secret: {name: b, items: [{key: k}]}}, {literal: x}, {secret: {name: a, items: [{key: k}]}}]"))
	if diff := cmp.Diff([]string{"ConfigMap/a", "Secret/b", "Secret/a"}, got); diff != "" {
		t.Errorf("Names (-want +got):\n%s", diff)
	}
	if none := texts.Names(nil); none != nil {
		t.Errorf("Names of no template: got %v", none)
	}
}
