package decrypt

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// requestTimeout bounds one request to a key service: it answers within a
// second, or is down.
const requestTimeout = 10 * time.Second

// Settings are the platform owner's: what a file in a repository cannot say.
// The zero value allows no Vault and uses the clouds' own addresses.
type Settings struct {
	// Vaults are the addresses of Vault and OpenBao that a token may be sent
	// to, such as https://vault.example.com:8200.
	Vaults []string
	// IgnoreMACIn lists namespaces, or NAMESPACE/NAME, of Kustomizations whose
	// files are opened although they were changed after they were encrypted.
	IgnoreMACIn []string

	// HTTP makes all requests. Nil is a client of our own.
	HTTP *http.Client
	// KMS, STS, GoogleKMS, GoogleSTS, GoogleIAM, KeyVault and AzureLogin are
	// URLs to use in place of those of AWS, Google and Azure: a private
	// endpoint, or a test.
	KMS, STS, GoogleKMS, GoogleSTS, GoogleIAM, KeyVault, AzureLogin string
}

// ParseVaults reads a list of addresses with commas between them.
func ParseVaults(list string) ([]string, error) {
	var vaults []string
	for v := range strings.SplitSeq(list, ",") {
		if v = strings.TrimSpace(v); v == "" {
			continue
		}
		u, err := url.Parse(v)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" {
			return nil, fmt.Errorf("%q: want an address such as https://vault.example.com:8200", v)
		}
		vaults = append(vaults, v)
	}
	return vaults, nil
}

// IgnoresMAC reports whether the MAC of the files of a Kustomization does not
// matter.
func (s *Settings) IgnoresMAC(namespace, name string) bool {
	return slices.Contains(s.IgnoreMACIn, namespace) || slices.Contains(s.IgnoreMACIn, namespace+"/"+name)
}

// allowed reports whether a token may be sent to an address: its scheme, host
// and port are those of an entry, and its path is at or below the entry's.
func (s *Settings) allowed(address *url.URL) bool {
	for _, v := range s.Vaults {
		u, err := url.Parse(v)
		if err != nil || u.Scheme != address.Scheme || !strings.EqualFold(u.Host, address.Host) {
			continue
		}
		base := strings.TrimSuffix(u.Path, "/")
		if p := strings.TrimSuffix(address.Path, "/"); p == base || strings.HasPrefix(p, base+"/") {
			return true
		}
	}
	return false
}

// Client is what requests go through. It follows no redirect, which would take
// a token to somewhere else.
func (s *Settings) Client() *http.Client {
	c := &http.Client{}
	if s.HTTP != nil {
		*c = *s.HTTP
	}
	c.Timeout = requestTimeout
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// errNone says that there is nothing that could open a kind of key.
var errNone = errors.New("no credentials for it")
