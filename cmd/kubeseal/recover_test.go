package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recovered are the ends of a SealedSecret, in its spec.template, that
// --recovery-unseal renders. A text is why ours may differ: then only the exit
// code has to be the same.
var recovered = map[string]struct{ template, apart string }{
	"Data":          {template: "    data: {url: 'db://{{ .password }}/{{ .none }}', plain: text}\n"},
	"Functions":     {template: "    data: {a: '{{ .password | b64enc | upper }}', b: '{{ toJson .password }}', c: '{{ index . \"password\" }}', d: '{{ .none | default \"x\" | quote }}'}\n"},
	"SealedWins":    {template: "    data: {password: other}\n", apart: "since v0.37 what is sealed wins, and in ours"},
	"Control":       {template: "    data:\n      f: |\n        {{- if .password }}\n        {{ range until 3 }}{{ . }}{{ end }}\n        {{- end }}\n"},
	"Range":         {template: "    data: {a: '{{ range $k, $v := . }}{{ $k }}={{ $v }}{{ end }}'}\n", apart: "since v0.37 templates see their siblings, and ours do"},
	"DataNull":      {template: "    data: null\n"},
	"MetadataNull":  {template: "    metadata: null\n"},
	"Immutable":     {template: "    immutable: true\n"},
	"Metadata":      {template: "    metadata: {labels: {a: b}, annotations: {c: d, 'sealedsecrets.bitnami.com/managed': 'true'}, finalizers: [e.f/g], name: other, namespace: other}\n"},
	"NoOwner":       {template: "    metadata: {annotations: {'sealedsecrets.bitnami.com/skip-set-owner-references': 'true'}}\n"},
	"Type":          {template: "    type: kubernetes.io/service-account-token\n"},
	"SyntaxError":   {template: "    data: {a: '{{ .password'}\n", apart: "ours names the item, and the engine's words of the value are left out"},
	"Fails":         {template: "    data: {a: '{{ fail .password }}'}\n", apart: "the genuine one prints the password"},
	"Environment":   {template: "    data: {a: '{{ env \"HOME\" }}'}\n", apart: "ours names the item"},
	"Sibling":       {template: "    data: {a: '{{ .b }}', b: text}\n", apart: "since v0.37 templates see their siblings, and ours do"},
	"Omitted":       {template: "    data: {password: null}\n", apart: "since v0.40 null takes an item away, and ours does"},
	"LabelIsNumber": {template: "    metadata: {labels: {a: 1}}\n", apart: "the genuine one says it in words of the decoder"},
}

// What --recovery-unseal makes of a SealedSecret is what the genuine one makes.
func TestRecoveryTable(t *testing.T) {
	theirs, mine, files := genuine(t), built(t), folder(t)
	text, err := os.ReadFile(filepath.Join(files, "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(text), "  template:\n")
	if !ok {
		t.Fatalf("no template in\n%s", text)
	}
	for name, tc := range recovered {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(files)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "in.yaml"), []byte(head+"  template:\n"+tc.template), 0o600); err != nil {
				t.Fatal(err)
			}
			r := row{args: []string{"--recovery-unseal", "--recovery-private-key", "key.pem", "-f", "in.yaml", "-o", "yaml"}}
			want, got := r.run(t, theirs, dir), r.run(t, mine, dir)
			if strings.Contains(got.Stderr, "hunter2") {
				t.Errorf("the error holds the value: %s", got.Stderr)
			}
			if tc.apart != "" && want.Code == got.Code {
				t.Logf("genuine: %s%s\nours: %s%s", want.Stdout, want.Stderr, got.Stdout, got.Stderr)
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-genuine +ours):\n%s", diff)
			}
		})
	}
}
