package testenv

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// GCPOptions says what there is besides the services. The zero value knows no
// issuer of tokens of ServiceAccounts.
type GCPOptions struct {
	// Issuer of the tokens that workload identity pools trust, such as
	// [ControlPlane.Issuer]. Empty: none.
	Issuer string
	// IssuerCA is the PEM certificate of the authority that signs for it.
	IssuerCA []byte
	// AWS says who signed a request, for the pools that trust it. Nil: none.
	AWS *AWS
	// Listen is the address to listen on. Default: a free port of 127.0.0.1.
	Listen string
	// Progress gets a line per step that takes long. Default: standard error.
	Progress io.Writer
}

// GCP is Google Cloud Secret Manager and the exchanges that give tokens for
// it, at one address. Counts names operations as the API does, such as
// AccessSecretVersion; and sts, identitybinding, oauth and generateAccessToken.
type GCP struct {
	*server

	// CA is the PEM certificate of the authority that signs for Address.
	CA []byte
}

// StartGCP builds and starts the Google endpoints. ctx bounds the start only;
// Stop ends what was started.
func StartGCP(ctx context.Context, opts GCPOptions) (*GCP, error) {
	dir, err := os.MkdirTemp("", "lockstep-issuer-")
	if err != nil {
		return nil, fmt.Errorf("testenv: start gcp: %w", err)
	}
	var args []string
	if opts.Listen != "" {
		args = append(args, "--listen", opts.Listen)
	}
	trust := func(flag, url string, ca []byte) error {
		file := filepath.Join(dir, flag+".crt")
		args = append(args, "--"+flag, url, "--"+flag+"-ca", file)
		return os.WriteFile(file, ca, 0o600)
	}
	if opts.Issuer != "" {
		err = trust("issuer", opts.Issuer, opts.IssuerCA)
	}
	if err == nil && opts.AWS != nil {
		err = trust("aws-sts", opts.AWS.Address(), opts.AWS.CA)
	}
	var ready struct{ CA string }
	var s *server
	if err == nil {
		s, err = startServer(ctx, serverOptions{program: "gcp", args: args, tls: true, progress: opts.Progress}, &ready)
	}
	if err != nil {
		_ = os.RemoveAll(dir) // a leftover of a temporary folder harms nobody
		return nil, fmt.Errorf("testenv: start gcp: %w", err)
	}
	s.folders = []string{dir}
	return &GCP{server: s, CA: []byte(ready.CA)}, nil
}

// Host is the address without a scheme, as gRPC wants it.
func (g *GCP) Host() string { return strings.TrimPrefix(g.Address(), "https://") }

// GCPPrincipal is who may do something.
type GCPPrincipal struct {
	// Name: the email of a service account, the subject of a token of a
	// ServiceAccount, or the ARN of an identity of AWS.
	Name string `json:"name"`
	// Allow are patterns of the names of secrets that it may use, in which a *
	// stands for anything. Empty: all.
	Allow []string `json:"allow,omitempty"`
	// ActAs are the names of those that may have tokens of this account.
	ActAs []string `json:"actAs,omitempty"`
	// Seconds that its tokens live. 0: an hour.
	Seconds int `json:"seconds,omitempty"`

	// PublicKey of the account, as PEM. Key sets it.
	PublicKey string `json:"publicKey,omitempty"`
}

// Principal makes a principal, or replaces it.
func (g *GCP) Principal(ctx context.Context, p GCPPrincipal) error {
	return g.admin(ctx, http.MethodPut, "principals", p, nil)
}

// Key makes a service account with a key, and returns the key as JSON.
func (g *GCP) Key(ctx context.Context, p GCPPrincipal) ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("testenv: make a key: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("testenv: make a key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("testenv: make a key: %w", err)
	}
	p.PublicKey = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	if err := g.Principal(ctx, p); err != nil {
		return nil, err
	}
	return json.Marshal(map[string]string{"type": "service_account", "client_email": p.Name, "private_key_id": "1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))})
}

// GCPSecret is a secret to make, or what to change of it.
type GCPSecret struct {
	Parent      string            `json:"-"` // projects/P, or projects/P/locations/L
	ID          string            `json:"-"`
	Value       *string           `json:"value,omitempty"` // of a new version
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Aliases     map[string]int    `json:"aliases,omitempty"` // of versions
	Disable     int               `json:"disable,omitempty"` // number of a version
}

// PutSecret makes a secret or changes it, and returns the number of its newest
// version.
func (g *GCP) PutSecret(ctx context.Context, s GCPSecret) (int, error) {
	var out struct{ Version int }
	in := struct {
		GCPSecret

		Name string `json:"name"`
	}{s, s.Parent + "/secrets/" + s.ID}
	err := g.admin(ctx, http.MethodPut, "secrets", in, &out)
	return out.Version, err
}

// RevokeTokens ends all tokens that were given out.
func (g *GCP) RevokeTokens(ctx context.Context) error {
	return g.admin(ctx, http.MethodDelete, "tokens", nil, nil)
}
