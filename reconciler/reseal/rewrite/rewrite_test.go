package rewrite_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockstep-dev/lockstep/reconciler/reseal/rewrite"
	"github.com/lockstep-dev/lockstep/sealer"
)

const head = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: a, namespace: ns}\nspec:\n  encryptedData:\n"

// Each value OLD becomes NEWER; everything else must stay.
func TestBytes(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"Plain":       {head + "    x: OLD # a comment\n    y:   OLD\n", head + "    x: NEWER # a comment\n    y:   NEWER\n"},
		"NoNewline":   {head + "    x: OLD", head + "    x: NEWER"},
		"Quoted":      {head + "    'x': \"OLD\"\n    y: 'OLD'  # it's\n", head + "    'x': \"NEWER\"\n    y: 'NEWER'  # it's\n"},
		"CarriageRet": {strings.ReplaceAll(head+"    x: OLD\n", "\n", "\r\n"), strings.ReplaceAll(head+"    x: NEWER\n", "\n", "\r\n")},
		"Literal":     {head + "    x: |\n      OLD\n\n    y: OLD\n", head + "    x: |\n      NEWER\n\n    y: NEWER\n"},
		"LiteralEnd":  {head + "    x: |-\n      OLD", head + "    x: |-\n      NEWER"},
		"Wrapped":     {head + "    x: >-\n      OL\n      D\n  template: {type: Opaque}\n", head + "    x: >-\n      NEWER\n  template: {type: Opaque}\n"},
		"Folded":      {head + "    x: OL\n      D\n    y: OLD\n", head + "    x: NEWER\n    y: NEWER\n"},
		"Flow":        {"{apiVersion: bitnami.com/v1alpha1, kind: SealedSecret, spec: {encryptedData: {x: OLD, y: OLD}}}", "{apiVersion: bitnami.com/v1alpha1, kind: SealedSecret, spec: {encryptedData: {x: NEWER, y: NEWER}}}"},
		"JSON":        {"{\n  \"kind\": \"SealedSecret\",\n  \"apiVersion\": \"bitnami.com/v1alpha1\",\n  \"spec\": {\"encryptedData\": {\"x\": \"OLD\"}}\n}\n", "{\n  \"kind\": \"SealedSecret\",\n  \"apiVersion\": \"bitnami.com/v1alpha1\",\n  \"spec\": {\"encryptedData\": {\"x\": \"NEWER\"}}\n}\n"},
		"NotASCII":    {"# Schlüssel — é\n" + head + "    \"ключ\": OLD\n", "# Schlüssel — é\n" + head + "    \"ключ\": NEWER\n"},
		"Mark":        {"\ufeff" + head + "    x: OLD\n", "\ufeff" + head + "    x: NEWER\n"},
		"Documents": {
			"# first\n---\nkind: ConfigMap\ndata: {x: OLD}\n---\n" + head + "    x: OLD\n...\n---\n" + head + "    z: OLD\n",
			"# first\n---\nkind: ConfigMap\ndata: {x: OLD}\n---\n" + head + "    x: NEWER\n...\n---\n" + head + "    z: NEWER\n",
		},
		"List": {
			"kind: List\nitems:\n- apiVersion: bitnami.com/v1alpha1\n  kind: SealedSecret\n  spec:\n    encryptedData: {x: OLD}\n- kind: Secret\n",
			"kind: List\nitems:\n- apiVersion: bitnami.com/v1alpha1\n  kind: SealedSecret\n  spec:\n    encryptedData: {x: NEWER}\n- kind: Secret\n",
		},
		"OtherGroup": {"apiVersion: example.com/v1\nkind: SealedSecret\nspec: {encryptedData: {x: OLD}}\n", "apiVersion: example.com/v1\nkind: SealedSecret\nspec: {encryptedData: {x: OLD}}\n"},
		"Empty":      {"", ""},
		"Null":       {head, head},
		"NoItems":    {"apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nspec: {}\n", "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nspec: {}\n"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m, err := rewrite.Parse([]byte(tc.text))
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range m.Objects {
				for _, i := range o.Items {
					i.Replace("NEWER")
				}
			}
			got, err := m.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParse(t *testing.T) {
	m, err := rewrite.Parse([]byte("---\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: db\n  namespace: prod\n  annotations:\n" +
		"    sealedsecrets.bitnami.com/namespace-wide: \"true\"\nspec:\n  encryptedData:\n    a: AgB\n    b: ls2.x\n"))
	if err != nil {
		t.Fatal(err)
	}
	o := m.Objects[0]
	if len(m.Objects) != 1 || o.Namespace != "prod" || o.Name != "db" || o.Scope != sealer.NamespaceWide || len(o.Items) != 2 {
		t.Fatalf("got %+v", o)
	}
	if i := o.Items[1]; i.Name != "b" || i.Value != "ls2.x" || i.Line != 12 {
		t.Errorf("got %+v", i)
	}
	if m.Changed() {
		t.Error("nothing was replaced, and Changed says so")
	}
}

func TestParseErrors(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"NotYAML":    {"{{ if x }}\nkind: SealedSecret\n", "not YAML"},
		"Alias":      {"x: &x OLD\n" + head + "    a: *x\n", "alias"},
		"Anchor":     {head + "    a: &x OLD\n", "one line"},
		"Tag":        {head + "    a: !!str OLD\n", "one line"},
		"Merge":      {"b: &b {c: d}\n" + head + "    <<: *b\n", "alias"},
		"NotAMap":    {"apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nspec: {encryptedData: [a]}\n", "no map"},
		"SpecIsText": {"apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nspec: text\n", "line 3: spec is no map"},
		"MetaIsList": {"apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: [a]\n", "line 3: metadata is no map"},
		"NotAText":   {head + "    a: [b]\n", "no text"},
		"TooLarge":   {strings.Repeat(" ", 33<<20), "split it"},
		"Unclosed":   {head + "    a: \"OLD", "not YAML"},
		"TwoUnlike":  {head + "    a: OLD\n---\n{{ x }}\n: [", "not YAML"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := rewrite.Parse([]byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// Whatever the manifest, either it is refused, or only the values change.
func FuzzBytes(f *testing.F) {
	f.Add(head + "    x: OLD # c\n    y: \"OLD\"\n---\n" + head + "    z: |\n      OLD\n")
	f.Add("\ufeff" + head + "    x: 'OLD''s'\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := rewrite.Parse([]byte(text))
		if err != nil {
			return
		}
		same, err := m.Bytes()
		if err != nil || string(same) != text {
			t.Fatalf("without a change: %v", err)
		}
		n := 0
		for _, o := range m.Objects {
			for _, i := range o.Items {
				i.Replace("AgB+/=")
				n++
			}
		}
		got, err := m.Bytes()
		if err != nil {
			return
		}
		after, err := rewrite.Parse(got)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range after.Objects {
			for range o.Items {
				n--
			}
		}
		if n != 0 {
			t.Errorf("%d items got lost", n)
		}
	})
}
