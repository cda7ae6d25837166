package manifest_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/lockstep-dev/lockstep/cmd/internal/manifest"
	"github.com/lockstep-dev/lockstep/test/seeds"
)

const (
	yamlHead = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: db\n  namespace: prod\n"
	jsonHead = `{"apiVersion":"bitnami.com/v1alpha1","kind":"SealedSecret","metadata":{"name":"db"},`
)

// Each case sets spec.encryptedData.m to NEW, in the last SealedSecret.
func TestSet(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"Block":           {yamlHead + "spec:\n  encryptedData:\n    a: A\n    z: Z\n", yamlHead + "spec:\n  encryptedData:\n    a: A\n    m: NEW\n    z: Z\n"},
		"BlockReplaced":   {yamlHead + "spec:\n  encryptedData:\n    m: \"M\" # why\n    z: Z\n", yamlHead + "spec:\n  encryptedData:\n    m: \"NEW\" # why\n    z: Z\n"},
		"BlockFirst":      {yamlHead + "spec:\n  encryptedData: # all\n    # the last\n    z: Z\n", yamlHead + "spec:\n  encryptedData: # all\n    m: NEW\n    # the last\n    z: Z\n"},
		"BlockLast":       {yamlHead + "spec:\n  encryptedData:\n    a: A # first", yamlHead + "spec:\n  encryptedData:\n    a: A # first\n    m: NEW"},
		"BlockUnsorted":   {yamlHead + "spec:\n  encryptedData:\n    z: Z\n    a: A\n  template: {}\n", yamlHead + "spec:\n  encryptedData:\n    z: Z\n    a: A\n    m: NEW\n  template: {}\n"},
		"Comments":        {yamlHead + "spec:\n  encryptedData:\n    # one\n    a: A\n    # two\n    z: Z\n# end\n", yamlHead + "spec:\n  encryptedData:\n    # one\n    a: A\n    m: NEW\n    # two\n    z: Z\n# end\n"},
		"Scalars":         {yamlHead + "spec:\n  encryptedData:\n    a: |\n      A\n      B\n\n    b: >-\n      C\n    z: 'it''s'\n", yamlHead + "spec:\n  encryptedData:\n    a: |\n      A\n      B\n\n    b: >-\n      C\n    m: NEW\n    z: 'it''s'\n"},
		"Folded":          {yamlHead + "spec:\n  encryptedData:\n    a: A\n      B\n    z: Z\n", yamlHead + "spec:\n  encryptedData:\n    a: A\n      B\n    m: NEW\n    z: Z\n"},
		"Below":           {yamlHead + "spec:\n  encryptedData:\n    a:\n      A\n", yamlHead + "spec:\n  encryptedData:\n    a:\n      A\n    m: NEW\n"},
		"Windows":         {strings.ReplaceAll(yamlHead+"spec:\n  encryptedData:\n    a: A\n", "\n", "\r\n"), strings.ReplaceAll(yamlHead+"spec:\n  encryptedData:\n    a: A\n    m: NEW\n", "\n", "\r\n")},
		"WindowsFirst":    {strings.ReplaceAll(yamlHead+"spec:\n  encryptedData:\n    # c\n    z: Z\n", "\n", "\r\n"), strings.ReplaceAll(yamlHead+"spec:\n  encryptedData:\n    m: NEW\n    # c\n    z: Z\n", "\n", "\r\n")},
		"WindowsEmpty":    {strings.ReplaceAll(yamlHead+"spec:\n  encryptedData: {}\n", "\n", "\r\n"), strings.ReplaceAll(yamlHead+"spec:\n  encryptedData:\n    m: NEW\n", "\n", "\r\n")},
		"Flow":            {yamlHead + "spec: {encryptedData: {a: A, z: Z}}\n", yamlHead + "spec: {encryptedData: {a: A, m: NEW, z: Z}}\n"},
		"FlowFirst":       {yamlHead + "spec:\n  encryptedData: { z: Z } # c\n", yamlHead + "spec:\n  encryptedData: { m: NEW, z: Z } # c\n"},
		"FlowLast":        {yamlHead + "spec:\n  encryptedData: {a: 'A',}\n", yamlHead + "spec:\n  encryptedData: {a: 'A', m: NEW,}\n"},
		"FlowLines":       {yamlHead + "spec:\n  encryptedData: {\n    a: A,\n    b: B\n  }\n", yamlHead + "spec:\n  encryptedData: {\n    a: A,\n    b: B,\n    m: NEW\n  }\n"},
		"FlowEmpty":       {yamlHead + "spec: {encryptedData: {}, template: {}}\n", yamlHead + "spec: {encryptedData: {m: NEW}, template: {}}\n"},
		"FlowNull":        {yamlHead + "spec: {encryptedData: null}\n", yamlHead + "spec: {encryptedData: {m: NEW}}\n"},
		"FlowNothing":     {yamlHead + "spec: {encryptedData: , template: {}}\n", yamlHead + "spec: {encryptedData: {m: NEW}, template: {}}\n"},
		"FlowMissing":     {yamlHead + "spec: {template: {}}\n", yamlHead + "spec: {template: {}, encryptedData: {m: NEW}}\n"},
		"Empty":           {yamlHead + "spec:\n  encryptedData: {} # none yet\n  template: {}\n", yamlHead + "spec:\n  encryptedData: # none yet\n    m: NEW\n  template: {}\n"},
		"EmptyLines":      {yamlHead + "spec:\n  encryptedData: {\n  }\n", yamlHead + "spec:\n  encryptedData: {m: NEW}\n"},
		"ItemNull":        {yamlHead + "spec:\n  encryptedData:\n    m: # none\n    z: Z\n", yamlHead + "spec:\n  encryptedData:\n    m: NEW # none\n    z: Z\n"},
		"Null":            {yamlHead + "spec:\n  encryptedData: ~\n", yamlHead + "spec:\n  encryptedData:\n    m: NEW\n"},
		"Nothing":         {yamlHead + "spec:\n    encryptedData: # none\n    template: {}\n", yamlHead + "spec:\n    encryptedData: # none\n      m: NEW\n    template: {}\n"},
		"NothingAtEnd":    {yamlHead + "spec:\n  encryptedData:", yamlHead + "spec:\n  encryptedData:\n    m: NEW"},
		"Missing":         {yamlHead + "spec:\n  template:\n    type: Opaque # t\n", yamlHead + "spec:\n  template:\n    type: Opaque # t\n  encryptedData:\n    m: NEW\n"},
		"SpecEmpty":       {yamlHead + "spec: {}\n", yamlHead + "spec:\n  encryptedData:\n    m: NEW\n"},
		"SpecMissing":     {yamlHead + "# end\n", yamlHead + "spec:\n  encryptedData:\n    m: NEW\n# end\n"},
		"Documents":       {"# first\n" + yamlHead + "spec: {}\n---\na: b\n---\n" + yamlHead + "spec:\n  encryptedData:\n    a: A\n...\n---\nc: d\n", "# first\n" + yamlHead + "spec: {}\n---\na: b\n---\n" + yamlHead + "spec:\n  encryptedData:\n    a: A\n    m: NEW\n...\n---\nc: d\n"},
		"List":            {"kind: List\nitems:\n- kind: SealedSecret\n  apiVersion: bitnami.com/v1alpha1\n  spec:\n    encryptedData:\n- a: b\n", "kind: List\nitems:\n- kind: SealedSecret\n  apiVersion: bitnami.com/v1alpha1\n  spec:\n    encryptedData:\n      m: NEW\n- a: b\n"},
		"Mark":            {"\ufeff" + yamlHead + "spec:\n  encryptedData:\n    ü: Ü\n", "\ufeff" + yamlHead + "spec:\n  encryptedData:\n    m: NEW\n    ü: Ü\n"},
		"JSON":            {jsonHead + `"spec":{"encryptedData":{"a":"A","z":"Z"}}}`, jsonHead + `"spec":{"encryptedData":{"a":"A","m":"NEW","z":"Z"}}}`},
		"JSONFirst":       {jsonHead + `"spec":{"encryptedData":{"z":"Z"}}}`, jsonHead + `"spec":{"encryptedData":{"m":"NEW","z":"Z"}}}`},
		"JSONEmpty":       {jsonHead + `"spec":{"encryptedData":{}}}`, jsonHead + `"spec":{"encryptedData":{"m":"NEW"}}}`},
		"JSONNull":        {jsonHead + `"spec":{"encryptedData":null}}`, jsonHead + `"spec":{"encryptedData":{"m":"NEW"}}}`},
		"JSONMissing":     {jsonHead + `"spec":{"template":{}}}`, jsonHead + `"spec":{"template":{},"encryptedData":{"m":"NEW"}}}`},
		"JSONSpecMissing": {strings.TrimSuffix(jsonHead, ",") + "}", jsonHead + `"spec":{"encryptedData":{"m":"NEW"}}}`},
		"JSONReplaced":    {jsonHead + `"spec":{"encryptedData":{"m":"M"}}}`, jsonHead + `"spec":{"encryptedData":{"m":"NEW"}}}`},
		"JSONLines":       {"{\n  \"apiVersion\": \"bitnami.com/v1alpha1\",\n  \"kind\": \"SealedSecret\",\n  \"spec\": {\n    \"encryptedData\": {\n      \"a\": \"A\",\n      \"z\": \"Z\"\n    }\n  }\n}\n", "{\n  \"apiVersion\": \"bitnami.com/v1alpha1\",\n  \"kind\": \"SealedSecret\",\n  \"spec\": {\n    \"encryptedData\": {\n      \"a\": \"A\",\n      \"m\": \"NEW\",\n      \"z\": \"Z\"\n    }\n  }\n}\n"},
		"JSONTabs":        {"{\n\t\"apiVersion\": \"bitnami.com/v1alpha1\",\n\t\"kind\": \"SealedSecret\",\n\t\"spec\": {\n\t\t\"encryptedData\": {\n\t\t\t\"a\": \"A\"\n\t\t}\n\t}\n}\n", "{\n\t\"apiVersion\": \"bitnami.com/v1alpha1\",\n\t\"kind\": \"SealedSecret\",\n\t\"spec\": {\n\t\t\"encryptedData\": {\n\t\t\t\"a\": \"A\",\n\t\t\t\"m\": \"NEW\"\n\t\t}\n\t}\n}\n"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := set(tc.text, "m", "NEW")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// set sets an item of the last SealedSecret of a text.
func set(text, item, value string) (string, error) {
	roots, err := manifest.Roots([]byte(text))
	if err != nil || len(roots) == 0 {
		return "", manifest.ErrEdit
	}
	out, err := manifest.Set([]byte(text), roots[len(roots)-1], []string{"spec", "encryptedData", item}, value)
	return string(out), err
}

// Whatever an item is called, the name is read as it was written.
func TestSetNames(t *testing.T) {
	for _, name := range []string{"tls.key", ".dockerconfigjson", "true", "null", "1", "1e3", "0x1", "yes", "_a", "-", "a b", "...", ".", ".inf", "~", "#", "a: b", "é", "\"", "'", "<<", "=", "A_B-c.d"} {
		for form, text := range map[string]string{
			"block": yamlHead + "spec:\n  encryptedData:\n    a: A\n", "flow": yamlHead + "spec: {encryptedData: {a: A}}\n",
			"json": jsonHead + `"spec":{"encryptedData":{"a":"A"}}}`, "empty": yamlHead + "spec:\n  encryptedData:\n",
		} {
			got, err := set(text, name, "NEW")
			if err != nil {
				t.Errorf("%s, %q: %v", form, name, err)
				continue
			}
			if items := itemsOf(t, got); items[name] != "NEW" {
				t.Errorf("%s: %q is read as %v of\n%s", form, name, items, got)
			}
		}
	}
}

// What cannot be edited without a guess is refused.
func TestSetRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"Alias":      "x: &x {a: A}\n" + yamlHead + "spec:\n  encryptedData: *x\n",
		"AliasLast":  "x: &x A\n" + yamlHead + "spec:\n  encryptedData:\n    a: *x\n",
		"Anchor":     yamlHead + "spec:\n  encryptedData: &x {}\n",
		"Tagged":     yamlHead + "spec:\n  encryptedData: !!map {}\n",
		"List":       yamlHead + "spec:\n  encryptedData: [a]\n",
		"Text":       yamlHead + "spec: text\n",
		"ItemIsMap":  yamlHead + "spec:\n  encryptedData:\n    m: {a: b}\n",
		"ItemIsText": yamlHead + "spec:\n  encryptedData:\n    m: &x A\n",
		"Breaks":     yamlHead + "spec:\n  encryptedData:\r    a: A\n",
		"Complex":    yamlHead + "spec:\n  ? encryptedData\n  : z: Z\n",
		"NotUTF8":    yamlHead + "# \xff\nspec: {}\n",
		"NotYAML":    yamlHead + "spec: {",
		"None":       "a: b\n",
	} {
		got, err := set(text, "m", "NEW")
		if err == nil {
			t.Errorf("%s: it is edited:\n%s", name, got)
		} else if !errors.Is(err, manifest.ErrEdit) {
			t.Errorf("%s: %v is no ErrEdit", name, err)
		}
	}
}

// itemsOf reads the items of the first document with another parser.
func itemsOf(t testing.TB, text string) map[string]string {
	t.Helper()
	var ss struct {
		Spec struct {
			EncryptedData map[string]string `json:"encryptedData"`
		} `json:"spec"`
	}
	if err := sigsyaml.Unmarshal([]byte(text), &ss); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	return ss.Spec.EncryptedData
}

// FuzzSet checks that an edit says what was meant and changes nothing else, or
// is refused.
func FuzzSet(f *testing.F) {
	seeds.Add(f,
		yamlHead+"spec:\n  encryptedData:\n    a: b # c\n", jsonHead+`"spec":{"encryptedData":{}}}`, "kind: SealedSecret\napiVersion: bitnami.com/v1\nspec: {encryptedData: {a: 'x', b: \"y\"}}",
		yamlHead+"spec:\n  encryptedData:\n", yamlHead+"spec:\n  encryptedData: null # none\n", "\ufeff"+yamlHead+"a: |\n  text\nspec: {}\n", yamlHead+"- a\n", yamlHead+"spec: text",
		"? a\n: b\n", yamlHead+"spec: &a {x: *a}", yamlHead+"spec:\r\n  encryptedData:\r\n    # a\r\n    x: y\r\n", yamlHead+"spec: {encryptedData: {\n a: b,\n }}\n---\n"+yamlHead,
	)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := set(text, "password", "value")
		if err != nil {
			return
		}
		var was, is map[string]any
		if strings.Contains(text, "---") || sigsyaml.Unmarshal([]byte(text), &was) != nil || sigsyaml.Unmarshal([]byte(got), &is) != nil {
			return // who calls it reads the result again, and does without it
		}
		spec, _ := is["spec"].(map[string]any)
		items, _ := spec["encryptedData"].(map[string]any)
		if v := items["password"]; v != nil && v != "value" || !cmp.Equal(shorn(was), shorn(is)) {
			t.Errorf("%q became %q", text, got)
		}
	})
}

// shorn returns a manifest without its specification.
func shorn(m map[string]any) map[string]any {
	out := maps.Clone(m)
	delete(out, "spec")
	return out
}
