package vault_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/vault"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// TestCheckAndSet writes to an engine that takes no write which does not name
// the version that it replaces, with another writer in between.
func TestCheckAndSet(t *testing.T) {
	v := server.Get(t)
	must(t, v.Mount(t.Context(), "cas", 2))
	unmounted(t, v, "cas")
	must(t, v.Call(t.Context(), http.MethodPost, "cas/config", map[string]any{"cas_required": true}, nil))
	refs := &conformance.References{}
	refs.Set("t", "t", v.RootToken)
	with := settings(v, map[string]any{"tokenSecretRef": map[string]string{"name": "t", "key": "t"}})
	with["path"], with["checkAndSet"] = "cas", map[string]any{"required": true}
	r, err := vault.Open(t.Context(), store(t, with, refs))
	must(t, err)
	w, ok := r.(providers.Writer)
	if !ok {
		t.Fatal("a store of Vault is no Writer")
	}
	write := func(path, property, value string) error {
		return w.Write(t.Context(), providers.Target{Path: path, Property: property}, providers.NewValue([]byte(value)), nil)
	}
	must(t, write("app", "a", "1"))
	must(t, write("app", "a", "2"))
	must(t, write("app", "b", "3"))
	got, err := r.Read(t.Context(), providers.Ref{Path: "app"})
	if err != nil || string(got.Bytes()) != `{"a":"2","b":"3"}` {
		t.Errorf("after three writes: got %s, %v, want both properties", got.Bytes(), err)
	}
	if err := v.Call(t.Context(), http.MethodPost, "cas/data/app", map[string]any{"data": map[string]string{"a": "x"}}, nil); err == nil {
		t.Error("the engine takes a write that names no version: this test shows nothing")
	}
}

// TestWriteBesideAnother has someone else write between the read and the write
// of a Writer: the value of the other stays.
func TestWriteBesideAnother(t *testing.T) {
	v := server.Get(t)
	var between func()
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && r.URL.Path == "/v1/secret/data/beside/app" && between != nil {
			between()
			between = nil
		}
		relay(t, v, w, r)
	})
	refs := &conformance.References{}
	refs.Set("t", "t", v.RootToken)
	r, err := vault.Open(t.Context(), store(t, byToken(proxy.URL), refs))
	must(t, err)
	w, ok := r.(providers.Writer)
	if !ok {
		t.Fatal("a store of Vault is no Writer")
	}
	to := providers.Target{Path: "beside/app", Property: "a"}
	must(t, w.Write(t.Context(), to, providers.NewValue([]byte("1")), nil))
	between = func() {
		_, err := v.Put(t.Context(), "beside/app", map[string]any{"theirs": "2"})
		must(t, err)
	}
	if err := w.Write(t.Context(), to, providers.NewValue([]byte("3")), nil); !errors.Is(err, providers.ErrUnavailable) {
		t.Errorf("Write beside another: got %v, want ErrUnavailable, to be tried again", err)
	}
	if got, err := r.Read(t.Context(), providers.Ref{Path: "beside/app"}); err != nil || string(got.Bytes()) != `{"theirs":"2"}` {
		t.Errorf("after a write that came too late: got %s, %v, want what the other wrote", got.Bytes(), err)
	}
	must(t, w.Write(t.Context(), to, providers.NewValue([]byte("3")), nil))
	if got, err := r.Read(t.Context(), providers.Ref{Path: "beside/app"}); err != nil || string(got.Bytes()) != `{"a":"3","theirs":"2"}` {
		t.Errorf("after the next try: got %s, %v, want both", got.Bytes(), err)
	}
}

// TestLinkLocal wants no store to reach the metadata service of the machine,
// unless the platform's owner lets it.
func TestLinkLocal(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		with := map[string]any{"server": "http://169.254.169.254", "path": "secret"} // without auth, nothing is sent before a read
		config := store(t, with, &conformance.References{})
		config.LinkLocal = allowed
		r, err := vault.Open(t.Context(), config)
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err = r.Read(ctx, providers.Ref{Path: "app"})
		cancel()
		refused := err != nil && strings.Contains(err.Error(), "link-local")
		if err == nil || refused == allowed {
			t.Errorf("Read at a metadata service: got %v, want it refused before it is dialled: %v", err, !allowed)
		}
	}
}

// TestNamespaceOfTheLogin logs in at the root and reads from an engine of
// another namespace.
func TestNamespaceOfTheLogin(t *testing.T) {
	v := server.Get(t)
	must(t, v.Call(t.Context(), http.MethodPost, "sys/namespaces/team-c", map[string]any{}, nil))
	must(t, v.Call(t.Context(), http.MethodPost, "team-c/sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]string{"version": "1"}}, nil))
	canary := testenv.NewCanary(t)
	must(t, v.Call(t.Context(), http.MethodPost, "team-c/kv/app", map[string]string{"password": canary.Value()}, nil))
	role, secret, err := v.AppRole(t.Context(), testenv.VaultRole{Name: "across", Policy: testenv.Allow("team-c/kv/*")})
	must(t, err)
	refs := &conformance.References{}
	refs.Set("r", "id", role)
	refs.Set("s", "id", secret)
	for namespace, denied := range map[string]string{"": "", "team-c": secret} {
		auth := maps.Clone(byAppRole)
		auth["namespace"] = namespace
		with := settings(v, auth)
		with["path"], with["version"], with["namespace"] = "kv", "v1", "team-c"
		wantLogin(t, store(t, with, refs), "app", canary, denied)
	}
}

// TestUnreadableEnvironment wants what the library cannot read of the
// environment to be told without repeating it. There is no client then.
func TestUnreadableEnvironment(t *testing.T) {
	t.Setenv("VAULT_CACERT", "/no/such/file-of-the-environment")
	_, err := vault.Open(t.Context(), store(t, byToken("https://127.0.0.1:1"), &conformance.References{}))
	if !errors.Is(err, providers.ErrUnavailable) || !strings.Contains(err.Error(), "VAULT_") || strings.Contains(err.Error(), "file-of-the-environment") {
		t.Errorf("Open: got %v, want ErrUnavailable that names VAULT_ and no value", err)
	}
}
