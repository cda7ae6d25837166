package main

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/cmd/internal/manifest"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/sealer/testkit"
	"github.com/lockstep-dev/lockstep/test/seeds/certificates"
)

// A certificate that is none is refused in words that say what it is, whatever
// is to be done with it, and the file that was to be written is as it was.
func TestNotACertificate(t *testing.T) {
	const none = "data does not contain any valid RSA or ECDSA certificates"
	says := map[string]string{
		"Garbage": none, "Empty": none, "EC": "only RSA keys can seal", "Expired": "failed to encrypt using an expired certificate on",
		"Truncated": none, "Shortened": "parse certificate", "PrivateKey": none, "Bundle": none, "PublicKey": none, "Large": "larger than",
	}
	t.Setenv("KUBECONFIG", os.DevNull)
	for name, text := range certificates.Not(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cert, out := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "out.yaml")
			const was = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: prod}\n"
			for path, text := range map[string]string{cert: string(text), out: was} {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, args := range [][]string{{"-w", out}, {"--merge-into", out}, {"--raw", "--scope", "cluster-wide", "-w", out}} {
				printed, err := ours(t.Context(), plainSecret, append(args, "--cert", cert)...)
				if err == nil || says[name] == "" || !strings.Contains(err.Error(), says[name]) || strings.Contains(err.Error(), "canary") || printed != "" {
					t.Errorf("%v: got %v, want %q", args[0], err, says[name])
				}
				now, err := os.ReadFile(out)
				entries, dirErr := os.ReadDir(dir)
				if err != nil || dirErr != nil || string(now) != was || len(entries) != 2 {
					t.Errorf("%v: the file is %q, and beside it are %v", args[0], now, entries)
				}
			}
		})
	}
}

// A file that --merge-into cannot read is as it was: nothing of it gets lost.
func TestMergeIntoRefuses(t *testing.T) {
	cert := certificate(t, t.TempDir())
	t.Setenv("KUBECONFIG", os.DevNull)
	const head = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: prod}\n"
	for name, text := range map[string]string{
		"LabelIsNumber": head + "spec: {template: {metadata: {labels: {a: 1}}}}\n", "DataIsList": head + "spec: {encryptedData: [a]}\n", "SpecIsText": head + "spec: text\n",
		"NotYAML": head + "spec: {", "Empty": "", "Other": "kind: Secret\n", "Binary": "\x00\x01",
	} {
		path := filepath.Join(t.TempDir(), "db.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ours(t.Context(), plainSecret, "--cert", cert, "--merge-into", path)
		now, readErr := os.ReadFile(path)
		if err == nil || readErr != nil || string(now) != text {
			t.Errorf("%s: got %v, and the file %q", name, err, now)
		}
	}
}

// More items than an object can have are merged all the same, and soon.
func TestMergeManyItems(t *testing.T) {
	cert := certificate(t, t.TempDir())
	t.Setenv("KUBECONFIG", os.DevNull)
	path := filepath.Join(t.TempDir(), "db.yaml")
	if err := os.WriteFile(path, []byte("kind: SealedSecret\napiVersion: bitnami.com/v1alpha1\nmetadata: {name: db, namespace: prod}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	in := &strings.Builder{}
	in.WriteString("kind: Secret\nmetadata: {name: db, namespace: prod}\nstringData:\n")
	for n := range 10_000 {
		fmt.Fprintf(in, "  item-%d: v\n", n)
	}
	if _, err := ours(t.Context(), in.String(), "--cert", cert, "--merge-into", path, "-o", "yaml"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Count(string(text), "\n    item-") != 10_000 {
		t.Errorf("%d items, %v", strings.Count(string(text), "\n    item-"), err)
	}
}

// Of every vector, --recovery-unseal makes what was sealed, or an error.
func TestVectors(t *testing.T) {
	all, err := testkit.Vectors()
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, v := range all {
		key, err := x509.ParsePKCS1PrivateKey(v.Key)
		if err != nil {
			t.Fatal(err)
		}
		scope, err := sealer.ParseScope(v.Scope)
		if err != nil {
			t.Fatal(err)
		}
		ss := &bitnamiv1alpha1.SealedSecret{}
		ss.Name, ss.Namespace, ss.Annotations = v.SecretName, v.Namespace, manifest.WithScope(nil, scope)
		ss.Spec.EncryptedData = bitnamiv1alpha1.EncryptedData{"a": base64.StdEncoding.EncodeToString(v.Sealed)}
		secret, err := opened(t.Context(), ss, []*rsa.PrivateKey{key})
		if good := v.Expect == testkit.ExpectOK; good != (err == nil) || good && string(secret.Data["a"]) != string(v.Plaintext) || !good && err.Error() != "no key could decrypt secret (a)" {
			t.Errorf("%s: got %v", v.Name, err)
		}
		if err != nil {
			refused++
		}
	}
	t.Logf("%d vectors, %d refused", len(all), refused)
}
