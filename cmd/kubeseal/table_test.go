package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockstep-dev/lockstep/sealer"
)

// outcome is all that a script can see of a run.
type outcome struct {
	Stdout, Stderr string
	Code           int
	Files          map[string]string // of the folder, that the run left
}

// row is a line of the flag table: one call.
type row struct {
	stdin string
	env   []string
	args  []string
	// apart says why the outcomes may differ, and what then must be the same: the
	// exit code always is.
	apart string
}

const plainSecret = "kind: Secret\napiVersion: v1\nmetadata: {name: db, namespace: prod}\ndata: {a: Yg==}\n"

// offline are the calls that need no cluster.
var offline = map[string]row{
	"Help":                {args: []string{"--help"}},
	"ShortHelp":           {args: []string{"-h"}},
	"Version":             {args: []string{"--version"}, apart: "each says its own version"},
	"VersionWins":         {args: []string{"--version", "--help"}, apart: "each says its own version"},
	"UnknownFlag":         {args: []string{"--nope"}},
	"UnknownShort":        {args: []string{"-z"}},
	"NoValue":             {args: []string{"--cert"}},
	"NotABool":            {args: []string{"--raw=maybe"}},
	"Positional":          {stdin: plainSecret, args: []string{"--cert", "cert.pem", "more", "words"}},
	"Stdin":               {stdin: plainSecret, args: []string{"--cert", "cert.pem"}},
	"FormatJSON":          {stdin: plainSecret, args: []string{"--cert", "cert.pem", "-o", "json"}},
	"FormatYAML":          {stdin: plainSecret, args: []string{"--cert", "cert.pem", "--format", "yaml"}},
	"FormatCapitals":      {stdin: plainSecret, args: []string{"--cert", "cert.pem", "-o", "YAML"}},
	"FormatUnknown":       {stdin: plainSecret, args: []string{"--cert", "cert.pem", "-o", "toml"}},
	"CertFile":            {stdin: plainSecret, args: []string{"--cert", "./cert.pem"}},
	"CertMissing":         {stdin: plainSecret, args: []string{"--cert", "none.pem"}},
	"CertScheme":          {stdin: plainSecret, args: []string{"--cert", "ftp://host/cert"}, apart: "ours names the schemes"},
	"CertUnreachable":     {stdin: plainSecret, args: []string{"--cert", "http://127.0.0.1:1/cert"}, apart: "ours says what it was doing"},
	"CertIsNone":          {stdin: plainSecret, args: []string{"--cert", "text.txt"}, apart: "an internal name of the genuine one"},
	"CertIsKey":           {stdin: plainSecret, args: []string{"--cert", "key.pem"}, apart: "an internal name of the genuine one"},
	"CertExpired":         {stdin: plainSecret, args: []string{"--cert", "expired.pem"}},
	"FetchCert":           {args: []string{"--cert", "cert.pem", "--fetch-cert"}},
	"FetchCertExpired":    {args: []string{"--cert", "expired.pem", "--fetch-cert"}},
	"InputFile":           {args: []string{"--cert", "cert.pem", "-f", "secret.yaml"}},
	"InputFileLong":       {args: []string{"--cert", "cert.pem", "--secret-file", "secret.yaml"}},
	"InputMissing":        {args: []string{"--cert", "cert.pem", "-f", "none.yaml"}},
	"OutputFile":          {args: []string{"--cert", "cert.pem", "-f", "secret.yaml", "-w", "out.json"}},
	"OutputYAML":          {args: []string{"--cert", "cert.pem", "-f", "secret.yaml", "--sealed-secret-file", "out.yaml"}},
	"OutputYML":           {args: []string{"--cert", "cert.pem", "-f", "secret.yaml", "-o", "json", "-w", "out.yml"}},
	"OutputOnError":       {stdin: "", args: []string{"--cert", "cert.pem", "-w", "sealed.yaml"}},
	"ScopeStrict":         {stdin: plainSecret, args: []string{"--cert", "cert.pem", "--scope", "strict"}},
	"ScopeNamespace":      {stdin: full, args: []string{"--cert", "cert.pem", "--scope", "namespace-wide"}},
	"ScopeCluster":        {stdin: full, args: []string{"--cert", "cert.pem", "--scope=cluster-wide", "-o", "yaml"}},
	"ScopeEmpty":          {stdin: plainSecret, args: []string{"--cert", "cert.pem", "--scope", ""}},
	"ScopeUnknown":        {stdin: plainSecret, args: []string{"--cert", "cert.pem", "--scope", "galaxy"}},
	"Name":                {stdin: plainSecret, args: []string{"--cert", "cert.pem", "--name", "web"}},
	"NameGiven":           {stdin: "metadata: {namespace: a}\nstringData: {a: b}\n", args: []string{"--cert", "cert.pem", "--name", "web"}},
	"NameMissing":         {stdin: "metadata: {namespace: a}\nstringData: {a: b}\n", args: []string{"--cert", "cert.pem"}},
	"Namespace":           {stdin: "metadata: {name: a}\nstringData: {a: b}\n", args: []string{"--cert", "cert.pem", "-n", "dev"}},
	"NamespaceSame":       {stdin: plainSecret, args: []string{"--cert", "cert.pem", "--namespace", "prod"}},
	"NamespaceMismatch":   {stdin: plainSecret, args: []string{"--cert", "cert.pem", "-n", "dev"}},
	"NamespaceOfConfig":   {stdin: "metadata: {name: a}\nstringData: {a: b}\n", args: []string{"--cert", "cert.pem", "--kubeconfig", "kubeconfig"}},
	"NamespaceOfContext":  {stdin: "metadata: {name: a}\nstringData: {a: b}\n", args: []string{"--cert", "cert.pem", "--kubeconfig", "kubeconfig", "--context", "other"}},
	"KubeconfigMissing":   {stdin: "metadata: {name: a}\nstringData: {a: b}\n", args: []string{"--cert", "cert.pem", "--kubeconfig", "none"}},
	"KubectlFlags":        {stdin: plainSecret, args: []string{"--cert", "cert.pem", "--as", "me", "--as-group", "g", "--as-uid", "1", "--token", "t", "--server", "https://h", "--user", "u", "--cluster", "c", "--insecure-skip-tls-verify", "--request-timeout", "3s", "--proxy-url", "http://p", "--disable-compression", "--tls-server-name", "n", "--certificate-authority", "ca", "--client-certificate", "c", "--client-key", "k"}},
	"BasicAuth":           {stdin: plainSecret, args: []string{"--cert", "cert.pem", "--username", "u", "--password", "p"}},
	"LogFlags":            {stdin: plainSecret, args: []string{"--cert", "cert.pem", "-v", "2", "--logtostderr", "--alsologtostderr", "--skip_headers", "--stderrthreshold", "1", "--vmodule", "a=1", "--one_output", "--add_dir_header", "--skip_log_headers", "--log_file_max_size", "1"}},
	"LogLevelWrong":       {stdin: plainSecret, args: []string{"--cert", "cert.pem", "-v", "high"}},
	"EmptyData":           {stdin: "metadata: {name: a, namespace: b}\n", args: []string{"--cert", "cert.pem"}},
	"EmptyDataAllowed":    {stdin: "metadata: {name: a, namespace: b}\n", args: []string{"--cert", "cert.pem", "--allow-empty-data"}},
	"NoSecret":            {stdin: "\n", args: []string{"--cert", "cert.pem"}},
	"NotASecret":          {stdin: "hunter2\n", args: []string{"--cert", "cert.pem"}, apart: "ours repeats nothing of the input"},
	"Documents":           {stdin: plainSecret + "---\n" + full + "---\n", args: []string{"--cert", "cert.pem", "-o", "yaml"}},
	"DocumentsJSON":       {stdin: plainSecret + "---\n" + full, args: []string{"--cert", "cert.pem"}},
	"Raw":                 {stdin: "v", args: []string{"--cert", "cert.pem", "--raw", "--name", "db", "-n", "prod"}},
	"RawNoName":           {stdin: "v", args: []string{"--cert", "cert.pem", "--raw", "-n", "prod"}},
	"RawNamespaceWide":    {stdin: "v", args: []string{"--cert", "cert.pem", "--raw", "-n", "prod", "--scope", "namespace-wide"}},
	"RawClusterWide":      {stdin: "v", args: []string{"--cert", "cert.pem", "--raw", "--scope", "cluster-wide"}},
	"RawDefaultNamespace": {stdin: "v", args: []string{"--cert", "cert.pem", "--raw", "--name", "db"}},
	"RawFromFile":         {args: []string{"--cert", "cert.pem", "--raw", "--name", "db", "-n", "a", "--from-file", "text.txt"}},
	"RawFromNamedFile":    {args: []string{"--cert", "cert.pem", "--raw", "--name", "db", "-n", "a", "--from-file", "k=text.txt"}},
	"RawFromMissing":      {args: []string{"--cert", "cert.pem", "--raw", "--name", "db", "-n", "a", "--from-file", "none"}},
	"RawFromTwo":          {args: []string{"--cert", "cert.pem", "--raw", "--name", "db", "-n", "a", "--from-file", "a,b"}},
	"FromFileAlone":       {stdin: plainSecret, args: []string{"--cert", "cert.pem", "--from-file", "text.txt"}},
	"MergeInto":           {stdin: plainSecret, args: []string{"--cert", "cert.pem", "--merge-into", "sealed.yaml"}, apart: "ours keeps the form of the file"},
	"MergeIntoMissing":    {stdin: plainSecret, args: []string{"--cert", "cert.pem", "--merge-into", "none.yaml"}},
	"MergeIntoOther":      {stdin: plainSecret, args: []string{"--cert", "cert.pem", "--merge-into", "secret.yaml"}, apart: "ours says what it holds"},
	"Recover":             {stdin: "@sealed.yaml", args: []string{"--recovery-unseal", "--recovery-private-key", "key.pem"}},
	"RecoverYAML":         {args: []string{"--recovery-unseal", "--recovery-private-key", "key.pem", "-o", "yaml", "-f", "sealed.yaml"}},
	"RecoverFromSecret":   {args: []string{"--recovery-unseal", "--recovery-private-key", "key.yaml", "-f", "sealed.yaml"}},
	"RecoverFromList":     {args: []string{"--recovery-unseal", "--recovery-private-key", "list.yaml", "-f", "sealed.yaml"}},
	"RecoverSeveral":      {args: []string{"--recovery-unseal", "--recovery-private-key", "other.pem,key.pem", "-f", "sealed.yaml"}},
	"RecoverRepeated":     {args: []string{"--recovery-unseal", "--recovery-private-key", "other.pem", "--recovery-private-key", "key.pem", "-f", "sealed.yaml"}},
	"RecoverOtherKey":     {args: []string{"--recovery-unseal", "--recovery-private-key", "other.pem", "-f", "sealed.yaml"}},
	"RecoverNoKey":        {args: []string{"--recovery-unseal", "-f", "sealed.yaml"}},
	"RecoverMissingKey":   {args: []string{"--recovery-unseal", "--recovery-private-key", "none.pem", "-f", "sealed.yaml"}},
	"RecoverCutOff":       {args: []string{"--recovery-unseal", "--recovery-private-key", "key.pem", "-f", "cut.yaml"}},
	"RecoverTemplate":     {args: []string{"--recovery-unseal", "--recovery-private-key", "key.pem", "-o", "yaml", "-f", "template.yaml"}},
	"RecoverOtherKind":    {args: []string{"--recovery-unseal", "--recovery-private-key", "key.pem", "-f", "secret.yaml"}, apart: "ours says what it holds"},
	"RecoverEmpty":        {stdin: "", args: []string{"--recovery-unseal", "--recovery-private-key", "key.pem"}, apart: "ours says what it holds"},
	"KeyWithoutRecover":   {stdin: plainSecret, args: []string{"--cert", "cert.pem", "--recovery-private-key", "key.pem"}},
	"EnvCert":             {stdin: plainSecret, env: []string{"SEALED_SECRETS_CERT=cert.pem"}},
	"EnvFormat":           {stdin: plainSecret, env: []string{"SEALED_SECRETS_CERT=cert.pem", "SEALED_SECRETS_FORMAT=yaml"}},
	"EnvLoses":            {stdin: plainSecret, env: []string{"SEALED_SECRETS_CERT=none.pem"}, args: []string{"--cert", "cert.pem"}},
	"EnvNamespace":        {stdin: plainSecret, env: []string{"SEALED_SECRETS_CERT=cert.pem", "SEALED_SECRETS_NAMESPACE=dev"}},
	"EnvScope":            {stdin: plainSecret, env: []string{"SEALED_SECRETS_CERT=cert.pem", "SEALED_SECRETS_SCOPE=cluster-wide"}},
	"EnvWrong":            {stdin: plainSecret, env: []string{"SEALED_SECRETS_CERT=cert.pem", "SEALED_SECRETS_SCOPE=galaxy", "SEALED_SECRETS_RAW=maybe"}},
	"EnvAllowEmpty":       {stdin: "metadata: {name: a, namespace: b}\n", env: []string{"SEALED_SECRETS_CERT=cert.pem", "SEALED_SECRETS_ALLOW_EMPTY_DATA=true"}},
	"EnvFromFile":         {env: []string{"SEALED_SECRETS_FROM_FILE=text.txt"}, args: []string{"--cert", "cert.pem", "--raw", "--name", "a", "-n", "b", "--from-file", "text.txt"}},
	"EnvOutput":           {stdin: plainSecret, env: []string{"SEALED_SECRETS_SEALED_SECRET_FILE=out.yaml"}, args: []string{"--cert", "cert.pem"}},
	"RotateDeprecated":    {args: []string{"--rotate", "--version"}, apart: "each says its own version"},
	"NoCluster":           {stdin: plainSecret, apart: "the client libraries word it differently"},
	"ValidateNoCluster":   {args: []string{"--validate", "-f", "sealed.yaml"}, apart: "the client libraries word it differently"},
}

// folder makes the files that the rows name.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, cert, err := sealer.NewCertificate(2048, time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	other, short, err := sealer.NewCertificate(2048, time.Nanosecond, "")
	if err != nil {
		t.Fatal(err)
	}
	pem := string(sealer.EncodePrivateKey(key))
	put("cert.pem", string(sealer.EncodeCertificate(cert)))
	put("expired.pem", string(sealer.EncodeCertificate(short)))
	put("key.pem", pem)
	put("other.pem", string(sealer.EncodePrivateKey(other)))
	put("text.txt", "hunter2")
	put("secret.yaml", plainSecret)
	backup := "kind: Secret\napiVersion: v1\nmetadata: {name: k}\nstringData: {x: text}\ndata:\n  tls.key: " + base64Of(pem) + "\n"
	put("key.yaml", backup)
	put("list.yaml", "kind: List\napiVersion: v1\nitems:\n- "+strings.ReplaceAll(strings.TrimSpace(backup), "\n", "\n  ")+"\n")
	put("kubeconfig", "apiVersion: v1\nkind: Config\ncurrent-context: one\ncontexts:\n- {name: one, context: {namespace: first}}\n- {name: other, context: {namespace: second}}\n")
	sealed, err := ours(t.Context(), "kind: Secret\nmetadata: {name: db, namespace: prod, labels: {a: b}}\nstringData: {password: hunter2}\ntype: Opaque\n",
		"--cert", filepath.Join(dir, "cert.pem"), "-o", "yaml")
	if err != nil {
		t.Fatal(err)
	}
	put("sealed.yaml", "# kept\n"+strings.Replace(sealed, "    metadata:\n", "    metadata:\n      annotations: {note: kept}\n", 1))
	put("cut.yaml", regexp.MustCompile(`password: .*`).ReplaceAllString(sealed, "password: AgBy"))
	put("template.yaml", sealed+"    data:\n      url: db://{{ .password }}/{{ .none }}\n")
	return dir
}

// run runs one program on a row, in a folder of its own.
func (r row) run(t *testing.T, program, from string) outcome {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, r.args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"HOME=" + dir, "PATH=/nowhere"}, r.env...)
	in := r.stdin
	if name, ok := strings.CutPrefix(in, "@"); ok {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		in = string(text)
	}
	cmd.Stdin = strings.NewReader(in)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	o := outcome{Code: cmd.ProcessState.ExitCode(), Files: map[string]string{}}
	clean := func(text string) string {
		return shape(strings.NewReplacer(dir, "DIR", program, "kubeseal").Replace(text))
	}
	o.Stdout, o.Stderr = clean(out.String()), clean(errs.String())
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		o.Files[entry.Name()] = clean(string(text))
	}
	return o
}

// built returns the path of this program.
func built(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeseal")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("build kubeseal: %v\n%s", err, out)
	}
	return path
}

// In every row of the flag table a script sees of this kubeseal what it sees of
// the genuine one: both streams, the exit code and the files.
func TestFlagTable(t *testing.T) {
	theirs, mine, files := genuine(t), built(t), folder(t)
	same := 0
	for name, r := range offline {
		t.Run(name, func(t *testing.T) {
			want, got := r.run(t, theirs, files), r.run(t, mine, files)
			if r.apart != "" {
				if want.Code != got.Code {
					t.Errorf("exit code %d, the genuine one has %d\n%s%s", got.Code, want.Code, got.Stdout, got.Stderr)
				}
				return
			}
			same++
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-genuine +ours):\n%s", diff)
			}
		})
	}
	t.Logf("%d rows, %d of them the same to the byte", len(offline), same)
}
