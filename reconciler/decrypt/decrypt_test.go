package decrypt_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/getsops/sops/v3"
	sopskeys "github.com/getsops/sops/v3/keys"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	"sigs.k8s.io/yaml"

	"github.com/lockstep-dev/lockstep/reconciler/decrypt"
	"github.com/lockstep-dev/lockstep/reconciler/decrypt/testkit"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

func hexUpper(b []byte) string { return strings.ToUpper(fmt.Sprintf("%x", b)) }

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// sshKey makes an SSH key: the private part, and its line of authorized_keys.
func sshKey(t *testing.T) (private, public string) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	line, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(line)))
}

// offline are the keys that need no service: what the Secret holds, and what
// SOPS encrypts with.
func offline(t *testing.T) map[string]struct {
	secret map[string]string
	key    sopskeys.MasterKey
} {
	t.Helper()
	all := map[string]struct {
		secret map[string]string
		key    sopskeys.MasterKey
	}{}
	x25519, key := testkit.AgeKey(t)
	all["age"] = struct {
		secret map[string]string
		key    sopskeys.MasterKey
	}{map[string]string{"main.agekey": "# a comment\n" + x25519 + "\n"}, key}
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	all["age post-quantum"] = struct {
		secret map[string]string
		key    sopskeys.MasterKey
	}{map[string]string{"pq.agekey": hybrid.String()}, testkit.AgeMaster(t, hybrid.Recipient().String())}
	private, public := sshKey(t)
	all["ssh"] = struct {
		secret map[string]string
		key    sopskeys.MasterKey
	}{map[string]string{"ssh.agekey": private}, testkit.AgeMaster(t, public)}
	armored, pgp := pgpKey(t)
	all["PGP"] = struct {
		secret map[string]string
		key    sopskeys.MasterKey
	}{map[string]string{"team.asc": armored}, pgp}
	return all
}

func TestOpenKeys(t *testing.T) {
	canary := testenv.NewCanary(t)
	for name, k := range offline(t) {
		t.Run(name, func(t *testing.T) {
			sealed := testkit.Sealer{Store: "yaml", Groups: testkit.Group(k.key)}.Seal(t, "password: "+canary.Value()+"\n")
			canary.NotIn(t, "the encrypted file", sealed)
			o := open(t, k.secret, nil)
			got, err := o.Open("secret.yaml", sealed)
			if err != nil {
				t.Fatal(err)
			}
			if want := "password: " + canary.Value() + "\n"; string(got) != want {
				t.Error("opened to something else than was sealed")
			}
			if !o.Opened(canary.Value()) || !o.Opened("postgres://u:"+canary.Value()+"@h") || o.Opened("password") {
				t.Error("the opener does not know what it opened")
			}
		})
	}
}

func TestOpenFormats(t *testing.T) {
	identity, key := testkit.AgeKey(t)
	for _, c := range []struct{ store, file, plain string }{
		{"yaml", "s.yaml", "a: 1\nb:\n    - x\n    - true\n"},
		{"yaml", "config", "a: b\n"},
		{"json", "s.json", "{\n\t\"a\": \"b\",\n\t\"n\": 3\n}"},
		{"json", "data.json", "{\n\t\"data\": \"only\"\n}"},
		{"dotenv", ".env", "A=1\nB=two words\n"},
		{"dotenv", "database.conf", "A=1\n"},
		{"ini", "s.ini", "[one]\na = b\n"},
		{"binary", "cert.pem", "\x00\x01 anything\nat all"},
		{"binary", "Dockerfile", "FROM scratch"},
	} {
		t.Run(c.store+" "+c.file, func(t *testing.T) {
			sealed := testkit.Sealer{Store: c.store, Groups: testkit.Group(key)}.Seal(t, c.plain)
			got, err := open(t, map[string]string{"a.agekey": identity}, nil).Open(c.file, sealed)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimSpace(c.plain), strings.TrimSpace(string(got))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlainFilesPass(t *testing.T) {
	identity, _ := testkit.AgeKey(t)
	o := open(t, map[string]string{"a.agekey": identity}, nil)
	for name, text := range map[string]string{
		"empty.yaml": "", "doc.yaml": "kind: ConfigMap\n", "sops.yaml": "sops: about ENC[AES256_GCM, and nothing more\n", "list.yaml": "- a\n---\n- b\n",
		"text": "sops ENC[AES256_GCM,", "o.json": `{"sops":{},"x":"ENC[AES256_GCM,`,
	} {
		got, err := o.Open(name, []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if string(got) != text {
			t.Errorf("%s: became %q", name, got)
		}
	}
}

func TestMAC(t *testing.T) {
	identity, key := testkit.AgeKey(t)
	keys := map[string]string{"a.agekey": identity}
	regex := func(m *sops.Metadata) { m.UnencryptedSuffix, m.EncryptedRegex = "", "^data$" }
	sealed := testkit.Sealer{Store: "yaml", Groups: testkit.Group(key), Change: regex}.Seal(t, "kind: Secret\nmetadata:\n    name: one\ndata:\n    a: first-value\n    b: second-value\n")
	swap := func(text []byte) []byte { // the values of a and b
		lines := strings.Split(string(text), "\n")
		var at []int
		for i, l := range lines {
			if strings.HasPrefix(l, "    a: ENC") || strings.HasPrefix(l, "    b: ENC") {
				at = append(at, i)
			}
		}
		a, b := lines[at[0]], lines[at[1]]
		lines[at[0]], lines[at[1]] = a[:7]+b[7:], b[:7]+a[7:]
		return []byte(strings.Join(lines, "\n"))
	}
	for _, c := range []struct {
		name      string
		text      []byte
		want      string // in the error
		otherwise bool   // it opens if the MAC does not count
	}{
		{"as it was", sealed, "", true},
		{"a field in clear was changed", bytes.Replace(sealed, []byte("name: one"), []byte("name: two"), 1), "was changed after it was encrypted", true},
		{"a field in clear was added", append([]byte("added: yes please\n"), sealed...), "was changed after it was encrypted", true},
		{"two values were swapped", swap(sealed), "cannot be opened", false},
		{"the MAC was taken out", dropMAC(sealed), "was changed after it was encrypted", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := open(t, keys, nil).Open("s.yaml", c.text)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			o := open(t, keys, nil)
			o.SkipMAC = true
			if _, err := o.Open("s.yaml", c.text); (err == nil) != c.otherwise {
				t.Errorf("without MAC: %v", err)
			}
		})
	}
}

// dropMAC replaces the MAC by one that is empty, but there.
func dropMAC(sealed []byte) []byte {
	var lines []string
	for l := range strings.Lines(string(sealed)) {
		if indent, _, ok := strings.Cut(l, "mac:"); ok && strings.TrimSpace(indent) == "" {
			l = indent + "mac: ENC[]\n"
		}
		lines = append(lines, l)
	}
	return []byte(strings.Join(lines, ""))
}

func TestFlippedBytesSayNothing(t *testing.T) {
	canary := testenv.NewCanary(t)
	identity, key := testkit.AgeKey(t)
	plain := "password: " + canary.Value() + "\nnumber: 7\n"
	for _, store := range []string{"yaml", "binary"} {
		sealed := testkit.Sealer{Store: store, Groups: testkit.Group(key)}.Seal(t, plain)
		for i := 0; i < len(sealed); i += 3 {
			bad := bytes.Clone(sealed)
			bad[i] ^= 1
			got, err := open(t, map[string]string{"a.agekey": identity}, nil).Open("s."+store, bad)
			if err != nil {
				canary.NotIn(t, "the error", []byte(err.Error()))
				continue
			}
			// A flip that passes hit the metadata, or took the name "sops" away:
			// what comes out is the plaintext, or still encrypted.
			if !bytes.Contains(got, []byte(canary.Value())) && !bytes.Contains(got, []byte("ENC[AES256")) {
				t.Errorf("%s: flipped byte %d gives %q", store, i, got)
			}
		}
	}
}

func TestDocuments(t *testing.T) {
	identity, key := testkit.AgeKey(t)
	_, other := testkit.AgeKey(t)
	one := testkit.Sealer{Store: "yaml", Groups: testkit.Group(key)}
	object := func(name string) string {
		return "kind: Secret\nmetadata_unencrypted:\n    name: " + name + "\nvalue: of " + name + "\n"
	}
	kept := testkit.Sealer{Store: "yaml", Groups: testkit.Group(other), Change: func(m *sops.Metadata) { m.UnencryptedSuffix, m.EncryptedRegex = "", "^value$" }}.
		Seal(t, "kind: SopsSecret\nmetadata:\n    annotations:\n        "+decrypt.Disabled+": disabled\nvalue: kept\n")

	joined := bytes.Join([][]byte{
		[]byte("kind: ConfigMap\n"), one.Seal(t, object("a")), kept, one.Seal(t, object("b")+"---\n"+object("c")), {},
	}, []byte("---\n"))
	got, err := open(t, map[string]string{"a.agekey": identity}, nil).Open("all.yaml", joined)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for d := range strings.SplitSeq(string(got), "\n---\n") {
		var o struct {
			Kind, Value string
			SOPS        map[string]any
		}
		if err := yaml.Unmarshal([]byte(d), &o); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(o.Value, "ENC[") && o.SOPS != nil {
			o.Value = "encrypted"
		}
		values = append(values, o.Kind+" "+o.Value)
	}
	want := []string{"ConfigMap ", "Secret of a", "SopsSecret encrypted", "Secret of b", "Secret of c"}
	if diff := cmp.Diff(want, values); diff != "" {
		t.Error(diff)
	}
}

func TestShamir(t *testing.T) {
	a, ka := testkit.AgeKey(t)
	b, kb := testkit.AgeKey(t)
	_, kc := testkit.AgeKey(t)
	s := testkit.Sealer{Store: "yaml", Threshold: 2, Groups: []sops.KeyGroup{{ka}, {kb}, {kc}}}
	sealed := s.Seal(t, "a: b\n")
	if _, err := open(t, map[string]string{"a.agekey": a, "b.agekey": b}, nil).Open("s.yaml", sealed); err != nil {
		t.Error(err)
	}
	if _, err := open(t, map[string]string{"a.agekey": a}, nil).Open("s.yaml", sealed); err == nil {
		t.Error("one of three shares opened the file")
	}
}

func TestNoKeyFits(t *testing.T) {
	_, key := testkit.AgeKey(t)
	wrong, _ := testkit.AgeKey(t)
	_, pgp := pgpKey(t)
	sealed := testkit.Sealer{Store: "yaml", Groups: testkit.Group(key, pgp)}.Seal(t, "a: b\n")
	_, err := open(t, map[string]string{"a.agekey": wrong}, nil).Open("dir/s.yaml", sealed)
	if err == nil {
		t.Fatal("opened with a wrong key")
	}
	for _, want := range []string{"dir/s.yaml", "age age1", "no identity in the Secret fits", "PGP ", "no credentials for it"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestParseKeys(t *testing.T) {
	canary := testenv.NewCanary(t)
	for _, c := range []struct {
		name, value, want string
	}{
		{"a.agekey", canary.Value(), "no age identities"},
		{"a.agekey", "-----BEGIN OPENSSH PRIVATE KEY-----\n" + canary.Value(), "no SSH private key"},
		{"a.asc", canary.Value(), "no armored PGP key"},
		{"sops.aws-kms", "aws_access_key_id: " + canary.Value(), "aws_secret_access_key"},
		{"sops.gcp-kms", `{"type":"external_account","client_email":"` + canary.Value() + `"}`, "service_account"},
		{"sops.azure-kv", "clientSecret: " + canary.Value(), "tenantId"},
		{"ca.crt", canary.Value(), "no PEM certificate"},
		{"other", canary.Value(), "none of its keys"},
	} {
		_, err := decrypt.ParseKeys(map[string]string{c.name: c.value})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
			continue
		}
		canary.NotIn(t, "the error about "+c.name, []byte(err.Error()))
	}
	k, err := decrypt.ParseKeys(map[string]string{"sops.vault-token": canary.Value()})
	if err != nil {
		t.Fatal(err)
	}
	canary.NotIn(t, "printed keys", fmt.Appendf(nil, "%v %+v %#v %s", k, k, k, k))
}

func TestLimits(t *testing.T) {
	identity, key := testkit.AgeKey(t)
	o := open(t, map[string]string{"a.agekey": identity}, nil)
	big := append([]byte("sops ENC[AES256_GCM, "), bytes.Repeat([]byte("x"), 6<<20)...)
	if _, err := o.Open("big.yaml", big); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("6 MiB: %v", err)
	}
	var many sops.KeyGroup
	for range 101 {
		many = append(many, key)
	}
	sealed := testkit.Sealer{Store: "yaml", Groups: []sops.KeyGroup{many}}.Seal(t, "a: b\n")
	if _, err := o.Open("many.yaml", sealed); err == nil || !strings.Contains(err.Error(), "more than 100 keys") {
		t.Errorf("101 keys: %v", err)
	}
}
