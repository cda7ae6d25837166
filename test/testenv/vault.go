package testenv

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// VaultOptions says how to start OpenBao. The zero value works.
type VaultOptions struct {
	// Listen is the address to listen on. Default: a free port of 127.0.0.1.
	Listen string
	// Progress gets a line per step that takes long. Default: standard error.
	Progress io.Writer
}

// Vault is a running OpenBao with storage in memory and a KV engine of version
// 2 at secret/. Counts names operations by method and the first two parts of
// the path, such as "GET secret/data".
type Vault struct {
	*server
	unsealKey string

	// CA is the PEM certificate of the authority that signs for Address.
	CA []byte
	// RootToken may do everything.
	RootToken string
}

// StartVault builds and starts OpenBao. ctx bounds the start only; Stop ends
// what was started.
func StartVault(ctx context.Context, opts VaultOptions) (*Vault, error) {
	var args []string
	if opts.Listen != "" {
		args = append(args, "--listen", opts.Listen)
	}
	var ready struct{ RootToken, UnsealKey, CA string }
	s, err := startServer(ctx, serverOptions{program: "vault", args: args, tls: true, progress: opts.Progress}, &ready)
	if err != nil {
		return nil, err
	}
	s.header = http.Header{"X-Vault-Token": {ready.RootToken}, "Content-Type": {"application/json"}}
	v := &Vault{server: s, unsealKey: ready.UnsealKey, CA: []byte(ready.CA), RootToken: ready.RootToken}
	if err := v.prepare(ctx); err != nil {
		v.Stop()
		return nil, fmt.Errorf("testenv: prepare vault: %w", err)
	}
	return v, nil
}

// prepare mounts what the methods below need.
func (v *Vault) prepare(ctx context.Context) error {
	if err := v.Mount(ctx, "secret", 2); err != nil {
		return err
	}
	for _, auth := range []string{"approle", "kubernetes"} {
		if err := v.Call(ctx, http.MethodPost, "sys/auth/"+auth, map[string]string{"type": auth}, nil); err != nil {
			return err
		}
	}
	return nil
}

// Call sends a request as root to path, which has no /v1/ in front, and reads
// the answer into out unless that is nil.
func (v *Vault) Call(ctx context.Context, method, path string, in, out any) error {
	return v.call(ctx, method, "/v1/"+path, in, out)
}

// Mount mounts a KV engine of version 1 or 2 at path.
func (v *Vault) Mount(ctx context.Context, path string, version int) error {
	if err := v.Call(ctx, http.MethodPost, "sys/mounts/"+path, map[string]any{
		"type": "kv", "options": map[string]string{"version": fmt.Sprint(version)}}, nil); err != nil {
		return err
	}
	if version == 1 {
		return nil
	}
	// A new engine of version 2 answers 400 until it has set itself up.
	return poll(ctx, 20*time.Millisecond, "the KV engine at "+path, func(ctx context.Context) (bool, error) {
		return v.Call(ctx, http.MethodGet, path+"/config", nil, nil) == nil, v.process.ended()
	})
}

// Put stores data at path of the KV engine of version 2 at secret/, and
// returns the number of the version that it made.
func (v *Vault) Put(ctx context.Context, path string, data map[string]any) (version int, err error) {
	var out struct {
		Data struct {
			Version int `json:"version"`
		} `json:"data"`
	}
	err = v.Call(ctx, http.MethodPost, "secret/data/"+path, map[string]any{"data": data}, &out)
	return out.Data.Version, err
}

// Allow returns the text of a policy that may read the paths, as Vault spells
// them: secret/data/team-a/*.
func Allow(paths ...string) string {
	var b strings.Builder
	for _, p := range paths {
		fmt.Fprintf(&b, "path %q { capabilities = [\"read\"] }\n", p)
	}
	return b.String()
}

// VaultRole is what who logs in may do, and for how long.
type VaultRole struct {
	Name string
	// Policy is the text of a policy; see Allow.
	Policy string
	// TTL of the tokens. 0: that of the server, 32 days.
	TTL time.Duration
}

// settings writes the policy of r, and returns what every auth method takes.
func (v *Vault) settings(ctx context.Context, r VaultRole) (map[string]any, error) {
	err := v.Call(ctx, http.MethodPost, "sys/policies/acl/"+r.Name, map[string]string{"policy": r.Policy}, nil)
	return map[string]any{"token_policies": []string{r.Name}, "token_ttl": r.TTL.String()}, err
}

// Token makes a token with the policy of r.
func (v *Vault) Token(ctx context.Context, r VaultRole) (string, error) {
	if _, err := v.settings(ctx, r); err != nil {
		return "", err
	}
	var out struct {
		Auth struct {
			ClientToken string `json:"client_token"`
		} `json:"auth"`
	}
	in := map[string]any{"policies": []string{r.Name}}
	if r.TTL > 0 {
		in["ttl"] = r.TTL.String()
	}
	err := v.Call(ctx, http.MethodPost, "auth/token/create", in, &out)
	return out.Auth.ClientToken, err
}

// AppRole makes a role of the auth method at approle, or replaces it, and
// returns what to log in with.
func (v *Vault) AppRole(ctx context.Context, r VaultRole) (roleID, secretID string, err error) {
	in, err := v.settings(ctx, r)
	if err != nil {
		return "", "", err
	}
	path := "auth/approle/role/" + r.Name
	if err := v.Call(ctx, http.MethodPost, path, in, nil); err != nil {
		return "", "", err
	}
	var role, secret struct {
		Data struct {
			RoleID   string `json:"role_id"`
			SecretID string `json:"secret_id"`
		} `json:"data"`
	}
	if err := v.Call(ctx, http.MethodGet, path+"/role-id", nil, &role); err != nil {
		return "", "", err
	}
	err = v.Call(ctx, http.MethodPost, path+"/secret-id", map[string]any{}, &secret)
	return role.Data.RoleID, secret.Data.SecretID, err
}

// Seal seals Vault: it answers 503 until Unseal.
func (v *Vault) Seal(ctx context.Context) error {
	return v.Call(ctx, http.MethodPost, "sys/seal", nil, nil)
}

// Unseal ends what Seal began, and waits until Vault serves again.
func (v *Vault) Unseal(ctx context.Context) error {
	if err := v.Call(ctx, http.MethodPost, "sys/unseal", map[string]string{"key": v.unsealKey}, nil); err != nil {
		return err
	}
	return poll(ctx, 20*time.Millisecond, "vault to be unsealed", func(ctx context.Context) (bool, error) {
		return v.Call(ctx, http.MethodGet, "sys/health", nil, nil) == nil && v.Call(ctx, http.MethodGet, "secret/config", nil, nil) == nil, v.process.ended()
	})
}

// CallWrapped is Call with POST, for an answer that is to be wrapped.
func (v *Vault) CallWrapped(ctx context.Context, path string, in, out any) error {
	wrapping := *v.server
	wrapping.header = v.header.Clone()
	wrapping.header.Set("X-Vault-Wrap-Ttl", "1m")
	return wrapping.call(ctx, http.MethodPost, "/v1/"+path, in, out)
}
