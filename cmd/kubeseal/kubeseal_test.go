package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kubeseal": main})
}

// certificate writes a new certificate and returns its path.
func certificate(t testing.TB, dir string) string {
	t.Helper()
	_, cert, err := sealer.NewCertificate(2048, time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "cert.pem")
	if err := os.WriteFile(path, sealer.EncodeCertificate(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// genuine returns the path of the kubeseal of Sealed Secrets.
func genuine(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the genuine kubeseal; not under -short")
	}
	path, err := testenv.Binary(t.Context(), "kubeseal", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// ours runs this kubeseal.
func ours(ctx context.Context, in string, args ...string) (stdout string, err error) {
	var out bytes.Buffer
	err = run(ctx, append([]string{"kubeseal"}, args...), streams{in: strings.NewReader(in), out: &out, err: &bytes.Buffer{}})
	return out.String(), err
}

// ciphertext is what differs between two runs: sealed values, which begin
// alike, as they name the size of the key.
var ciphertext = regexp.MustCompile(`AQ[A-Za-z0-9+/]{300,}=*`)

func shape(text string) string { return ciphertext.ReplaceAllString(text, "CIPHERTEXT") }

const full = `apiVersion: v1
kind: Secret
metadata:
  name: db
  namespace: prod
  uid: 1b4e28ba-2fa1-11d2-883f-0016d3cca427
  resourceVersion: "7"
  generation: 3
  creationTimestamp: "2020-01-01T00:00:00Z"
  labels: {app: db}
  annotations:
    note: "<b>&"
    kubectl.kubernetes.io/last-applied-configuration: "hunter2"
  ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: u}]
  finalizers: [a.example/b]
type: kubernetes.io/basic-auth
immutable: true
data: {password: aHVudGVyMg==}
stringData: {username: bob}
`

// The output is that of the genuine kubeseal, byte for byte but for the
// ciphertext.
func TestSameOutput(t *testing.T) {
	theirs, cert := genuine(t), certificate(t, t.TempDir())
	plain := "kind: Secret\napiVersion: v1\nmetadata: {name: db, namespace: prod}\ndata: {a: Yg==}\n"
	cases := map[string]struct {
		in   string
		args []string
	}{
		"JSON":           {full, nil},
		"YAML":           {full, []string{"-o", "yaml"}},
		"Plain":          {plain, nil},
		"NamespaceWide":  {full, []string{"--scope", "namespace-wide"}},
		"ClusterWide":    {full, []string{"--scope", "cluster-wide", "-o", "yaml"}},
		"ScopeAnnotated": {strings.Replace(full, "note:", `sealedsecrets.bitnami.com/cluster-wide: "true"`+"\n    note:", 1), nil},
		"Several":        {plain + "---\n" + full + "---\n", []string{"-o", "yaml"}},
		"SeveralJSON":    {plain + "---\n" + full, nil},
		"OtherName":      {plain, []string{"--name", "web"}},
		"NoNamespace":    {"metadata: {name: db}\nstringData: {a: b}\n", []string{"--namespace", "dev"}},
		"ClusterNoNS":    {"metadata: {name: db}\nstringData: {a: b}\n", []string{"--scope", "cluster-wide"}},
		"EmptyData":      {"metadata: {name: db, namespace: a}\n", []string{"--allow-empty-data"}},
		"RawStrict":      {"hunter2", []string{"--raw", "--name", "db", "--namespace", "prod"}},
		"RawClusterWide": {"hunter2", []string{"--raw", "--scope", "cluster-wide"}},
		"FetchCert":      {"", []string{"--fetch-cert"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
			args := append([]string{"--cert", cert}, tc.args...)
			cmd := exec.CommandContext(t.Context(), theirs, args...)
			cmd.Stdin = strings.NewReader(tc.in)
			want, err := cmd.Output()
			if err != nil {
				t.Fatalf("genuine kubeseal: %v", err)
			}
			got, err := ours(t.Context(), tc.in, args...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(shape(string(want)), shape(got)); diff != "" {
				t.Errorf("output (-genuine +ours):\n%s", diff)
			}
			if strings.Contains(got, "hunter2") || !strings.Contains(shape(got), "CIPHERTEXT") && name != "FetchCert" && name != "EmptyData" {
				t.Errorf("output holds plaintext, or nothing sealed:\n%s", got)
			}
		})
	}
}

// What the genuine kubeseal refuses, this one refuses in the same words.
func TestSameErrors(t *testing.T) {
	theirs, cert := genuine(t), certificate(t, t.TempDir())
	cases := map[string]struct {
		in   string
		args []string
	}{
		"NoCert":      {full, []string{"--cert", "none.pem"}},
		"NoSecret":    {"\n", nil},
		"NoData":      {"metadata: {name: a, namespace: b}\n", nil},
		"NoName":      {"metadata: {namespace: b}\ndata: {a: Yg==}\n", nil},
		"NoNamespace": {"metadata: {name: b}\ndata: {a: Yg==}\n", nil},
		"Mismatch":    {full, []string{"--namespace", "dev"}},
		"RawNoName":   {"x", []string{"--raw", "--namespace", "a"}},
		"FromFile":    {full, []string{"--from-file", "x"}},
		"Format":      {full, []string{"--format", "toml"}},
		"NotACert":    {full, []string{"--cert", "/dev/null"}},
		"TwoFromFile": {"", []string{"--raw", "--name", "a", "--namespace", "b", "--from-file", "x", "--from-file", "y"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
			args := append([]string{"--cert", cert}, tc.args...)
			cmd := exec.CommandContext(t.Context(), theirs, args...)
			cmd.Stdin = strings.NewReader(tc.in)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Run(); err == nil {
				t.Fatal("the genuine kubeseal takes it")
			}
			_, err := ours(t.Context(), tc.in, args...)
			if err == nil {
				t.Fatal("no error")
			}
			if want := strings.TrimSpace(stderr.String()); "error: "+err.Error() != want {
				t.Errorf("got  error: %v\nwant %s", err, want)
			}
		})
	}
}

func base64Of(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
