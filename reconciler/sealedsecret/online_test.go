package sealedsecret_test

import (
	"bytes"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
)

// answer is what a script sees of a call.
type answer struct {
	Stdout, Stderr string
	Code           int
}

var (
	ciphertext = regexp.MustCompile(`A[Qg][A-Za-z0-9+/]{300,}=*`)
	service    = regexp.MustCompile(`http:[a-z0-9-]+:http`)
)

func (b *bench) kubeseal(path, stdin string, args ...string) answer {
	b.t.Helper()
	args = append(args, "--controller-namespace", b.ns, "--kubeconfig", b.cp.Kubeconfig())
	cmd := exec.CommandContext(b.t.Context(), path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the code says it
	return answer{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// shape is a text without what differs between two runs.
func shape(text string) string {
	return service.ReplaceAllString(ciphertext.ReplaceAllString(text, "CIPHERTEXT"), "SERVICE")
}

// The genuine kubeseal and ours get the same from our controller, through the
// API server's proxy, to the byte: --validate, --re-encrypt and --fetch-cert.
func TestOnlineTable(t *testing.T) {
	b := newBench(t)
	b.run()
	b.key()
	b.serve()
	object := func(name string, at sealer.Binding) string {
		ss := b.sealed(name, at, b.key(), "v")
		ss.APIVersion, ss.Kind = bitnamiv1alpha1.GroupVersion.String(), bitnamiv1alpha1.SealedSecretKind
		ss.Labels = map[string]string{"outer": "kept"}
		ss.Spec.Template.Labels = map[string]string{"app": "db"}
		ss.Spec.Template.Annotations = map[string]string{bitnamiv1alpha1.AnnotationManaged: "true"}
		ss.Spec.Template.Data = texts(map[string]string{"url": "db://{{ .password }}"})
		text, err := yaml.Marshal(ss)
		if err != nil {
			t.Fatal(err)
		}
		return "---\n" + string(text)
	}
	good, wide, moved := object("db", b.strict("db")), object("wide", sealer.Binding{Scope: sealer.ClusterWide}), object("moved", b.strict("elsewhere"))
	rows := map[string]struct {
		stdin string
		args  []string
		code  int
	}{
		"ValidateGood":   {good, []string{"--validate"}, 0},
		"ValidateMoved":  {moved, []string{"--validate"}, 1},
		"ValidateAll":    {good + wide, []string{"--validate"}, 0},
		"ValidateSecond": {good + moved, []string{"--validate"}, 1},
		"ValidateEmpty":  {"", []string{"--validate"}, 0},
		"ValidateSecret": {"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n", []string{"--validate"}, 1},
		"ReEncrypt":      {good, []string{"--re-encrypt"}, 0},
		"ReEncryptYAML":  {good, []string{"--re-encrypt", "-o", "yaml"}, 0},
		"ReEncryptAll":   {good + wide, []string{"--re-encrypt", "-o", "yaml"}, 0},
		"ReEncryptMoved": {moved, []string{"--re-encrypt"}, 1},
		"Rotate":         {wide, []string{"--rotate", "-o", "yaml"}, 0},
		"FetchCert":      {"", []string{"--fetch-cert"}, 0},
		"OtherName":      {"", []string{"--fetch-cert", "--controller-name", "none"}, 1},
	}
	programs := kubeseals(t)
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			var got [2]answer
			for i, program := range []string{"Genuine", "Ours"} {
				a := b.kubeseal(programs[program], row.stdin, row.args...)
				a.Stdout, a.Stderr = shape(a.Stdout), shape(a.Stderr)
				got[i] = a
			}
			if diff := cmp.Diff(got[0], got[1]); diff != "" || got[0].Code != row.code {
				t.Errorf("code %d, want %d (-genuine +ours):\n%s", got[0].Code, row.code, diff)
			}
		})
	}
	// What the genuine one re-encrypts has lost nothing, and opens.
	again := b.kubeseal(programs["Genuine"], good, "--re-encrypt", "-o", "yaml")
	was, is := &bitnamiv1alpha1.SealedSecret{}, &bitnamiv1alpha1.SealedSecret{}
	if err := yaml.Unmarshal([]byte(good), was); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(again.Stdout), is); err != nil {
		t.Fatal(err)
	}
	if is.Spec.EncryptedData["password"] == was.Spec.EncryptedData["password"] {
		t.Error("nothing was sealed again")
	}
	sealed := is.Spec.EncryptedData
	is.Spec.EncryptedData = was.Spec.EncryptedData
	if diff := cmp.Diff(was, is); diff != "" {
		t.Errorf("but for the sealed values (-was +is):\n%s", diff)
	}
	is.Spec.EncryptedData = sealed
	b.create(is)
	b.holds("db", "v")
}
