package template

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/sprig/v3"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"software.sslmate.com/src/go-pkcs12"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
)

// vectors are what OpenSSL made; files of PKCS #12 as bytes.
func vectors(t *testing.T) map[string]string {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/pkcs12.txtar")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range archive.Files {
		all[f.Name] = string(f.Data)
		if strings.HasSuffix(f.Name, ".p12") {
			data, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(string(f.Data), "\n", ""))
			if err != nil {
				t.Fatal(err)
			}
			all[f.Name] = string(data)
		}
	}
	return all
}

// rendered is what one text makes of values.
func rendered(t *testing.T, text string, values map[string]string) (string, error) {
	t.Helper()
	in := map[string][]byte{}
	for key, value := range values {
		in[key] = []byte(value)
	}
	out, err := Render(t.Context(), &esv1.Template{Data: map[string]string{"out": text}}, nil, in)
	if err != nil {
		return "", err
	}
	return string(out.Data["out"]), nil
}

// normal is PEM as it is written by the standard library.
func normal(text string) string {
	var out strings.Builder
	for _, b := range blocks(text) {
		out.Write(pem.EncodeToMemory(b))
	}
	return out.String()
}

func TestOpenPKCS12OfOpenSSL(t *testing.T) {
	v := vectors(t)
	chain := normal(v["leaf.pem"] + v["root.pem"])
	for text, want := range map[string]string{
		`{{ index . "modern.p12" | pkcs12keyPass "changeit" }}`:               normal(v["key.pem"]),
		`{{ index . "modern.p12" | pkcs12certPass "changeit" }}`:              chain,
		`{{ index . "legacy.p12" | pkcs12keyPass "changeit" }}`:               normal(v["key.pem"]),
		`{{ index . "legacy.p12" | pkcs12certPass "changeit" }}`:              chain,
		`{{ index . "empty.p12" | pkcs12key }}`:                               normal(v["key.pem"]),
		`{{ index . "empty.p12" | pkcs12cert }}`:                              normal(v["leaf.pem"]),
		`{{ index . "empty.p12" | b64enc | b64dec | pkcs12cert | certSANs }}`: "[]",
	} {
		if got, err := rendered(t, text, v); err != nil || got != want {
			t.Errorf("%s: %v\n%s", text, err, cmp.Diff(want, got))
		}
	}
}

func TestOpenPKCS12Refuses(t *testing.T) {
	v := vectors(t)
	v["junk"], v["long"] = "hunter2", strings.Repeat("0", 1<<20)
	for text, class := range map[string]error{
		`{{ index . "modern.p12" | pkcs12keyPass "wrong" }}`: ErrInvalid,
		`{{ index . "modern.p12" | pkcs12cert }}`:            ErrInvalid,
		`{{ .junk | pkcs12key }}`:                            ErrInvalid,
		`{{ .long | pkcs12key }}`:                            ErrInvalid,
		`{{ index . "slow.p12" | pkcs12key }}`:               ErrLimit,
	} {
		if _, err := rendered(t, text, v); !errors.Is(err, class) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %v", text, err, class)
		}
	}
}

// TestOpenPKCS12EndsInTime hides the number of iterations under the encryption
// of the file, where it cannot be measured: the template ends all the same.
func TestOpenPKCS12EndsInTime(t *testing.T) {
	decoding <- struct{}{} // as if such a file were being opened
	defer func() { <-decoding }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (files{ctx}).key("", vectors(t)["empty.p12"]); !errors.Is(err, ErrLimit) {
		t.Errorf("got %v, want ErrLimit", err)
	}
}

// TestMakePKCS12 opens what the functions make, with OpenSSL if it is there,
// and makes everything twice: the same content is the same file.
func TestMakePKCS12(t *testing.T) {
	v := vectors(t)
	v["chain.pem"] = v["leaf.pem"] + v["root.pem"]
	for name, tc := range map[string]struct {
		text, password string
		certs          int
		key            bool
	}{
		"Leaf":         {`{{ pemToPkcs12 (index . "leaf.pem") (index . "key.pem") }}`, "", 1, true},
		"LeafPass":     {`{{ pemToPkcs12Pass (index . "leaf.pem") (index . "key.pem") "changeit" }}`, "changeit", 1, true},
		"LeafOnly":     {`{{ pemToPkcs12Pass (index . "chain.pem") (index . "key.pem") "changeit" }}`, "changeit", 1, true},
		"Full":         {`{{ fullPemToPkcs12 (index . "chain.pem") (index . "key.pem") }}`, "", 2, true},
		"FullPass":     {`{{ fullPemToPkcs12Pass (index . "chain.pem") (index . "key.pem") "changeit" }}`, "changeit", 2, true},
		"TrustStore":   {`{{ pemTruststoreToPKCS12 (index . "chain.pem") }}`, "", 2, false},
		"TrustStoreOf": {`{{ pemTruststoreToPKCS12Pass (index . "chain.pem") "changeit" }}`, "changeit", 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := rendered(t, tc.text, v)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := rendered(t, tc.text, v); err != nil || again != got {
				t.Errorf("made twice: %v, want the same file", err)
			}
			file, err := base64.StdEncoding.DecodeString(got)
			if err != nil {
				t.Fatal(err)
			}
			certs, key := contents(t, file, tc.password, tc.key)
			if len(certs) != tc.certs || normal(v["leaf.pem"]) != encodePEM(certs[:1]) {
				t.Errorf("%d certificates, want %d with the leaf first", len(certs), tc.certs)
			}
			if tc.key && key != normal(v["key.pem"]) {
				t.Error("another key")
			}
			openssl(t, file, tc.password, tc.certs)
		})
	}
	a, err := rendered(t, `{{ pemToPkcs12Pass (index . "leaf.pem") (index . "key.pem") "a" }}`, v)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := rendered(t, `{{ pemToPkcs12Pass (index . "root.pem") (index . "key.pem") "a" }}`, v); err != nil || a == b {
		t.Errorf("%v, want another file for another certificate", err)
	}
	for _, text := range []string{`{{ pemToPkcs12 "hunter2" (index . "key.pem") }}`, `{{ pemToPkcs12 (index . "leaf.pem") "hunter2" }}`, `{{ pemTruststoreToPKCS12 "hunter2" }}`, `{{ fullPemToPkcs12 (index . "key.pem") (index . "key.pem") }}`} {
		if _, err := rendered(t, text, v); !errors.Is(err, ErrInvalid) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want ErrInvalid", text, err)
		}
	}
}

// contents opens a file with the library itself.
func contents(t *testing.T, file []byte, password string, withKey bool) ([]*x509.Certificate, string) {
	t.Helper()
	if !withKey {
		certs, err := pkcs12.DecodeTrustStore(file, password)
		if err != nil {
			t.Fatal(err)
		}
		return certs, ""
	}
	key, cert, others, err := pkcs12.DecodeChain(file, password)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append([]*x509.Certificate{cert}, others...), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// openssl has OpenSSL check the file, on machines that have it.
func openssl(t *testing.T, file []byte, password string, certs int) {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Log("no openssl here: the library alone has checked the file")
		return
	}
	name := filepath.Join(t.TempDir(), "file.p12")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "pkcs12", "-in", name, "-nokeys", "-passin", "pass:"+password).Output()
	if err != nil || strings.Count(string(out), "BEGIN CERTIFICATE") != certs {
		t.Errorf("openssl: %v, %d certificates, want %d", err, strings.Count(string(out), "BEGIN CERTIFICATE"), certs)
	}
}

// TestDocs sees that docs/templates.md names every function of sprig and of
// External Secrets Operator, and says of each what is true.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	served, missing, ok := strings.Cut(string(text), "| missing |")
	if !ok {
		t.Fatal("no table of what is missing")
	}
	has := func(text, name string) bool { return regexp.MustCompile(`\b` + name + `\b`).MatchString(text) }
	funcs := guarded(t.Context())
	for name := range sprig.TxtFuncMap() {
		if funcs[name] != nil && !has(served, name) || funcs[name] == nil && !has(missing, name) {
			t.Errorf("%s: served %t, and docs/templates.md does not say so", name, funcs[name] != nil)
		}
	}
	for name := range funcs {
		if name != tickFunc && name != measureFunc && !has(served, name) {
			t.Errorf("%s is served, and docs/templates.md does not say so", name)
		}
	}
}

// TestPeersFunctions sees that every function of External Secrets Operator is
// there, or is left out on purpose.
func TestPeersFunctions(t *testing.T) {
	funcs := guarded(t.Context())
	for name := range strings.FieldsSeq(`pkcs12key pkcs12keyPass pkcs12cert pkcs12certPass pemToPkcs12 pemToPkcs12Pass
		fullPemToPkcs12 fullPemToPkcs12Pass pemTruststoreToPKCS12 pemTruststoreToPKCS12Pass filterPEM filterCertChain certSANs
		jwkPublicKeyPem jwkPrivateKeyPem toYaml fromYaml rsaDecrypt hexdec`) {
		if funcs[name] == nil {
			t.Errorf("no function %s", name)
		}
	}
}
