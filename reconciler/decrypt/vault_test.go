package decrypt_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/getsops/sops/v3/hcvault"
	sopskeys "github.com/getsops/sops/v3/keys"

	"github.com/lockstep-dev/lockstep/reconciler/decrypt"
	"github.com/lockstep-dev/lockstep/reconciler/decrypt/testkit"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var bao = testenv.Share(func(t testing.TB) (*testenv.Vault, error) {
	return testenv.StartVault(t.Context(), testenv.VaultOptions{})
})

func TestMain(m *testing.M) { testenv.Main(m) }

// transit makes a key in the transit engine, a token that may decrypt with it,
// and the master key that SOPS encrypts with.
func transit(t *testing.T, name string) (v *testenv.Vault, token string, key sopskeys.MasterKey) {
	t.Helper()
	v = bao.Get(t)
	_ = v.Call(t.Context(), http.MethodPost, "sys/mounts/sops", map[string]string{"type": "transit"}, nil) // it may be there from another test
	if err := v.Call(t.Context(), http.MethodPost, "sops/keys/"+name, map[string]string{}, nil); err != nil {
		t.Fatal(err)
	}
	token, err := v.Token(t.Context(), testenv.VaultRole{Name: name, Policy: `path "sops/decrypt/` + name + `" { capabilities = ["update"] }`})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("VAULT_CACERT", certificate(t, v.CA))
	master := hcvault.NewMasterKey(v.Address(), "sops", name)
	hcvault.Token(v.RootToken).ApplyToMasterKey(master)
	return v, token, master
}

func certificate(t *testing.T, pem []byte) string {
	t.Helper()
	file := t.TempDir() + "/ca.crt"
	write(t, file, pem)
	return file
}

func TestVault(t *testing.T) {
	canary := testenv.NewCanary(t)
	v, token, key := transit(t, "main")
	// What the process has in its environment must never be sent.
	t.Setenv("VAULT_TOKEN", v.RootToken)
	sealed := testkit.Sealer{Store: "yaml", Groups: testkit.Group(key)}.Seal(t, "password: "+canary.Value()+"\n")
	keys := func(token string) map[string]string {
		return map[string]string{"sops.vault-token": token, "ca.crt": string(v.CA)}
	}

	o := open(t, keys(token), &decrypt.Settings{Vaults: []string{v.Address()}})
	got, err := o.Open("s.yaml", sealed)
	if err != nil || !strings.Contains(string(got), canary.Value()) {
		t.Fatalf("open: %v", err)
	}

	for name, c := range map[string]struct {
		keys     map[string]string
		settings decrypt.Settings
		want     string
	}{
		"not allowed":    {keys(token), decrypt.Settings{}, "not on the list"},
		"another port":   {keys(token), decrypt.Settings{Vaults: []string{"https://127.0.0.1:1"}}, "not on the list"},
		"another path":   {keys(token), decrypt.Settings{Vaults: []string{v.Address() + "/base"}}, "not on the list"},
		"another scheme": {keys(token), decrypt.Settings{Vaults: []string{strings.Replace(v.Address(), "https", "http", 1)}}, "not on the list"},
		"wrong token":    {keys("s.wrong"), decrypt.Settings{Vaults: []string{v.Address()}}, "may not decrypt"},
		"no token":       {map[string]string{"a.agekey": identity(t)}, decrypt.Settings{Vaults: []string{v.Address()}}, "no credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			before := requests(t, v)
			_, err := open(t, c.keys, &c.settings).Open("s.yaml", sealed)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if sent := requests(t, v) - before; sent != 0 && c.want == "not on the list" {
				t.Errorf("%d requests were sent to an address that is not allowed", sent)
			}
			canary.NotIn(t, "the error", []byte(err.Error()))
		})
	}
}

func identity(t *testing.T) string {
	t.Helper()
	id, _ := testkit.AgeKey(t)
	return id
}

// requests counts the decryptions that were asked for.
func requests(t *testing.T, v *testenv.Vault) int {
	t.Helper()
	counts, err := v.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for what, count := range counts {
		if strings.Contains(what, "sops/decrypt") {
			n += count
		}
	}
	return n
}

// TestTokenStays has a file name servers that are not the one that is allowed,
// in all the ways that could look like it.
func TestTokenStays(t *testing.T) {
	var got atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != "" {
			got.Add(1)
		}
	}))
	t.Cleanup(thief.Close)
	redirects := httptest.NewServer(http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect))
	t.Cleanup(redirects.Close)
	at, err := url.Parse(thief.URL)
	if err != nil {
		t.Fatal(err)
	}
	settings := &decrypt.Settings{Vaults: []string{redirects.URL}}
	good, err := url.Parse(redirects.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{
		thief.URL, redirects.URL, redirects.URL + "@" + at.Host, "http://" + good.Host + ":@" + at.Host, thief.URL + "/" + redirects.URL,
		"http://" + at.Host + "?" + good.Host, "http://" + at.Host + "#" + good.Host, "//" + at.Host,
	} {
		key := hcvault.NewMasterKey(address, "sops", "main")
		key.EncryptedKey = "vault:v1:AAAA"
		sealed := testkit.Sealer{Store: "yaml", Groups: testkit.Group(key), Key: testkit.Random(t)}.Seal(t, "a: b\n")
		if _, err := open(t, map[string]string{"sops.vault-token": "s.token"}, settings).Open("s.yaml", sealed); err == nil {
			t.Errorf("%s: opened", address)
		}
	}
	if n := got.Load(); n != 0 {
		t.Errorf("the token was sent to an address that is not allowed, %d times", n)
	}
}
