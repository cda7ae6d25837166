package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/seeds"
)

// Whatever the input is, the output file is the old one or the new one, and
// an error repeats nothing of a Secret.
func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	cert := certificate(t, dir)
	t.Setenv("KUBECONFIG", os.DevNull)
	many := &strings.Builder{}
	for i := range 10000 {
		fmt.Fprintf(many, "  item%d: aHVudGVyMg==\n", i)
	}
	header := "kind: Secret\napiVersion: v1\nmetadata: {name: db, namespace: prod}\n"
	cases := map[string]struct {
		in   string
		args []string
		good bool
	}{
		"ItemIsNumber":  {header + "data: {hunter: 1}\n", nil, false},
		"ItemIsList":    {header + "stringData: {a: [hunter]}\n", nil, false},
		"LabelIsNumber": {"kind: Secret\nmetadata: {name: a, namespace: b, labels: {hunter: 1}}\nstringData: {a: b}\n", nil, true}, // a text, as the genuine one reads it
		"NotBase64":     {header + "data: {a: hunter!}\n", nil, false},
		"NotYAML":       {header + "data: {hunter\n", nil, false},
		"Tab":           {header + "data:\n\thunter: a\n", nil, false},
		"Binary":        {"\x00\x01hunter\xff", nil, false},
		"TooLarge":      {header + "stringData: {a: " + strings.Repeat("h", sealer.MaxValue+1) + "}\n", nil, false},
		"Largest":       {header + "stringData: {a: " + strings.Repeat("h", sealer.MaxValue) + "}\n", nil, true},
		"ManyItems":     {header + "data:\n" + many.String(), nil, true},
		"CertIsSecret":  {header + "data: {a: aHVudGVyMg==}\n", []string{"--cert", "secret.yaml"}, false},
		"CertIsFolder":  {header + "data: {a: aHVudGVyMg==}\n", []string{"--cert", dir}, false},
		"CertIsLarge":   {header + "data: {a: aHVudGVyMg==}\n", []string{"--cert", filepath.Join(dir, "large.pem")}, false},
	}
	if err := os.WriteFile(filepath.Join(dir, "large.pem"), bytes.Repeat([]byte("x"), maxCert+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out.yaml")
			if err := os.WriteFile(out, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			stdout, err := ours(t.Context(), tc.in, append([]string{"--cert", cert, "-w", out}, tc.args...)...)
			if (err == nil) != tc.good {
				t.Fatalf("error is %v", err)
			}
			if err != nil && strings.Contains(stdout+err.Error(), "hunter") {
				t.Errorf("the input is repeated: %v", err)
			}
			text, rerr := os.ReadFile(out)
			if rerr != nil || !tc.good && string(text) != "old" || tc.good && !strings.HasPrefix(string(text), "---\napiVersion:") {
				t.Errorf("the file holds %.40q, %v", text, rerr)
			}
			entries, rerr := os.ReadDir(filepath.Dir(out))
			if rerr != nil || len(entries) != 1 {
				t.Errorf("what is left beside it: %v", entries)
			}
			t.Log(time.Since(start))
		})
	}
}

// FuzzBackup checks that keys are read or refused, and that nothing of a
// malformed one is repeated.
func FuzzBackup(f *testing.F) {
	key, _, err := sealer.NewCertificate(2048, time.Hour, "")
	if err != nil {
		f.Fatal(err)
	}
	pem := sealer.EncodePrivateKey(key)
	secret := "kind: Secret\napiVersion: v1\ndata:\n  tls.key: " + base64Of(string(pem)) + "\n"
	seeds.Add(f, string(pem), secret, "kind: List\nitems:\n- "+strings.ReplaceAll(secret, "\n", "\n  "), secret+"---\n"+secret, "kind: List\nitems: [1]\n", "{", "kind: Secret\ndata: {tls.key: QQ==}\n")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := privateKeys([]byte(text))
		for _, key := range keys {
			if err == nil && key.Validate() != nil {
				t.Error("a key that is none")
			}
		}
	})
}

// FuzzSealed checks that SealedSecrets are read or refused, and that one whose
// template would lose something is refused.
func FuzzSealed(f *testing.F) {
	seeds.Add(f, "kind: SealedSecret\nspec: {encryptedData: {a: b}}\n---\nkind: SealedSecret\n", "{\"kind\":\"SealedSecret\"}{\"spec\":{}}", "spec: {template: {metadata: {labels: {a: 1}}}}", "spec: {template: {data: {a: null}}}", "", "null", "{}", "[1]", "a", "{")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := readSealed(strings.NewReader(text))
		for _, ss := range all {
			if err == nil && ss.Spec.Template.MalformedMetadata {
				t.Errorf("%q: its metadata would be lost", text)
			}
		}
	})
}

// FuzzCertificate checks that what is taken for a certificate seals.
func FuzzCertificate(f *testing.F) {
	_, cert, err := sealer.NewCertificate(2048, time.Hour, "")
	if err != nil {
		f.Fatal(err)
	}
	text := sealer.EncodeCertificate(cert)
	seeds.Add(f, text, append(bytes.Clone(text), text...), text[:len(text)/2], []byte("text"), nil, []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := publicKey(text)
		if (err == nil) != (key != nil) {
			t.Errorf("%v, and %v", key, err)
		}
	})
}
