package decrypt

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/getsops/sops/v3/keyservice"
)

// errNotAllowed says that a file names a server that nothing may be sent to.
var errNotAllowed = errors.New("its address is not on the list that the platform owner allows (--sops-vault-addresses): nothing was sent to it")

// openVault has the transit engine of Vault or OpenBao decrypt a data key. The
// address comes from the repository: a token goes only to those that were
// allowed.
func (s *service) openVault(k *keyservice.VaultKey, ciphertext []byte) ([]byte, error) {
	address, err := url.Parse(k.GetVaultAddress())
	if err != nil || address.Host == "" || address.User != nil || address.RawQuery != "" {
		return nil, errors.New("its address cannot be read")
	}
	if !s.Settings.allowed(address) {
		return nil, errNotAllowed
	}
	if s.Keys.vault == "" {
		return nil, errNone
	}
	path := []string{"v1"}
	for _, part := range append(strings.Split(strings.Trim(k.GetEnginePath(), "/"), "/"), "decrypt", k.GetKeyName()) {
		if part == "" || part == "." || part == ".." {
			return nil, errors.New("its path cannot be used")
		}
		path = append(path, part)
	}
	return s.request(address.Host, func(ctx context.Context) ([]byte, error) {
		var out struct {
			Data struct {
				Plaintext string `json:"plaintext"`
			} `json:"data"`
		}
		err := post(ctx, question{
			s.vaultClient(), address.JoinPath(path...).String(),
			http.Header{"X-Vault-Token": {s.Keys.vault}, "X-Vault-Request": {"true"}}, map[string]string{"ciphertext": string(ciphertext)},
		}, &out)
		if err != nil {
			return nil, err
		}
		return base64.StdEncoding.DecodeString(out.Data.Plaintext)
	})
}

// vaultClient trusts the authority that the Secret names, beside the system's.
func (s *service) vaultClient() *http.Client {
	client := s.Settings.Client()
	if s.Keys.ca == nil {
		return client
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: s.Keys.ca, MinVersion: tls.VersionTLS12}
	t.DisableKeepAlives = true // this client is for one request
	client.Transport = t
	return client
}
