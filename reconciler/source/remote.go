package source

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"

	"github.com/lockstep-dev/lockstep/reconciler/source/pack"
)

// Keys of the Secret that spec.secretRef names. They are Flux's.
const (
	keyUsername = "username"
	keyPassword = "password"
	keyToken    = "bearerToken"
	keyCA       = "ca.crt"
	keyOldCA    = "caFile"
	keyCert     = "tls.crt"
	keyKey      = "tls.key"
	keyIdentity = "identity"
	keyHosts    = "known_hosts"
)

// remote is a repository at a server, and how to be let in.
type remote struct {
	endpoint  *transport.Endpoint
	auth      transport.AuthMethod
	transport transport.Transport
	close     func()
	limits    pack.Limits
}

// credentials are the values of the Secret; nil if there is none.
type credentials map[string][]byte

// open begins a session.
func (r *remote) open() (*session, error) {
	s, err := r.transport.NewUploadPackSession(r.endpoint, r.auth)
	if err != nil {
		return nil, err
	}
	return &session{UploadPackSession: s, limits: r.limits}, nil
}

// invalid says that the spec, or the Secret it names, cannot work as written.
type invalid struct {
	reason string
	err    error
}

func (e *invalid) Error() string { return e.err.Error() }

// access is how a repository is reached, besides its address and credentials.
type access struct {
	timeout  time.Duration
	insecure bool        // send credentials over http
	proxy    credentials // address, username and password; none for no proxy
	size     int64       // bytes that the objects of a fetch may have; 0 for the default
}

// newRemote checks the address and the credentials.
func newRemote(address string, c credentials, a access) (*remote, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, &invalid{reasonURL, errors.New("spec.url is not an address: write it as https://HOST/PATH, http://HOST/PATH or ssh://USER@HOST/PATH")}
	}
	if _, ok := u.User.Password(); ok {
		return nil, &invalid{reasonURL, errors.New("spec.url has a password in it: put it into a Secret and name that in spec.secretRef")}
	}
	endpoint, err := transport.NewEndpoint(address)
	if err != nil {
		return nil, &invalid{reasonURL, errors.New("spec.url is not an address that Git understands")}
	}
	if endpoint.Proxy, err = proxyOptions(a.proxy); err != nil {
		return nil, err
	}
	var r *remote
	switch u.Scheme {
	case "https", "http":
		r, err = newHTTP(endpoint, c, a.insecure)
	case "ssh":
		r, err = newSSH(endpoint, c, a.timeout)
	default:
		err = &invalid{reasonURL, fmt.Errorf("spec.url: %q is not a way to reach a repository: use https, http or ssh", u.Scheme)}
	}
	if err != nil {
		return nil, err
	}
	r.limits = limits(a.size)
	return r, nil
}

func proxyOptions(c credentials) (transport.ProxyOptions, error) {
	u, err := Proxy(c)
	if u == nil {
		return transport.ProxyOptions{}, err
	}
	u.User = nil
	return transport.ProxyOptions{URL: u.String(), Username: string(c[keyUsername]), Password: string(c[keyPassword])}, nil
}

func newHTTP(endpoint *transport.Endpoint, c credentials, insecure bool) (*remote, error) {
	auth, err := httpAuth(c)
	if err != nil {
		return nil, err
	}
	secret := auth != nil || len(c[keyCert]) > 0
	if endpoint.Protocol == "http" && secret && !insecure {
		return nil, &invalid{reasonAuthentication, errors.New("spec.secretRef: credentials are not sent over http, where all can read them: " +
			"use an https address, or start the controller with --allow-http-credentials")}
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	if t.TLSClientConfig, err = TLS("spec.secretRef", c); err != nil {
		return nil, err
	}
	if endpoint.Proxy.URL != "" {
		full, err := endpoint.Proxy.FullURL()
		if err != nil {
			return nil, &invalid{reasonAuthentication, errors.New("spec.proxySecretRef: address is not the address of a proxy")}
		}
		// Here and not by the library, which would make a transport of its own
		// that nobody closes.
		t.Proxy, endpoint.Proxy = http.ProxyURL(full), transport.ProxyOptions{}
	}
	// No Timeout: a large pack takes as long as spec.timeout allows.
	client := &http.Client{Transport: t}
	return &remote{endpoint: endpoint, auth: auth, transport: githttp.NewClient(client), close: t.CloseIdleConnections}, nil
}

// httpAuth returns nil, and no typed nil, for no credentials.
func httpAuth(c credentials) (transport.AuthMethod, error) {
	token, username, password := string(c[keyToken]), string(c[keyUsername]), string(c[keyPassword])
	switch {
	case token != "" && (username != "" || password != ""):
		return nil, &invalid{reasonAuthentication, fmt.Errorf("spec.secretRef: the Secret has both %s and %s or %s: keep one", keyToken, keyUsername, keyPassword)}
	case token != "":
		return &githttp.TokenAuth{Token: token}, nil
	case password != "":
		return &githttp.BasicAuth{Username: username, Password: password}, nil
	case username != "":
		return nil, &invalid{reasonAuthentication, fmt.Errorf("spec.secretRef: the Secret has %s but no %s", keyUsername, keyPassword)}
	default:
		return nil, nil
	}
}

func newSSH(endpoint *transport.Endpoint, c credentials, timeout time.Duration) (*remote, error) {
	if len(c[keyIdentity]) == 0 || len(c[keyHosts]) == 0 {
		return nil, &invalid{reasonAuthentication, fmt.Errorf("spec.secretRef: SSH needs a Secret with %s, the private key, and %s, the keys that the server may have", keyIdentity, keyHosts)}
	}
	signer, err := parseIdentity(c[keyIdentity], c[keyPassword])
	if err != nil {
		return nil, err
	}
	hosts, err := parseKnownHosts(c[keyHosts])
	if err != nil {
		return nil, &invalid{reasonAuthentication, fmt.Errorf("spec.secretRef: %s: %w", keyHosts, err)}
	}
	if endpoint.User == "" {
		endpoint.User = "git"
	}
	auth := &sshAuth{user: endpoint.User, signer: signer, hosts: hosts, address: sshAddress(endpoint), timeout: timeout}
	return &remote{endpoint: endpoint, auth: auth, transport: gitssh.NewClient(nil), close: func() {}}, nil
}

func parseIdentity(identity, passphrase []byte) (ssh.Signer, error) {
	var signer ssh.Signer
	var err error
	if len(passphrase) > 0 {
		signer, err = ssh.ParsePrivateKeyWithPassphrase(identity, passphrase)
	} else {
		signer, err = ssh.ParsePrivateKey(identity)
	}
	var missing *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &missing):
		return nil, &invalid{reasonAuthentication, fmt.Errorf("spec.secretRef: %s is encrypted: put its passphrase into %s", keyIdentity, keyPassword)}
	case err != nil: // whose text may repeat what is in the key
		return nil, &invalid{reasonAuthentication, fmt.Errorf("spec.secretRef: %s is not a private key in PEM, or %s is not its passphrase", keyIdentity, keyPassword)}
	default:
		return signer, nil
	}
}

// sshAuth is a gitssh.AuthMethod that trusts the known hosts and no other.
type sshAuth struct {
	user    string
	signer  ssh.Signer
	hosts   knownHosts
	address string
	timeout time.Duration
}

func (a *sshAuth) Name() string   { return "public-key" }
func (a *sshAuth) String() string { return a.Name() }

// ClientConfig implements gitssh.AuthMethod.
func (a *sshAuth) ClientConfig() (*ssh.ClientConfig, error) {
	return &ssh.ClientConfig{
		User:              a.user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(a.signer)},
		HostKeyCallback:   a.hosts.check,
		HostKeyAlgorithms: a.hosts.algorithms(a.address),
		Timeout:           a.timeout,
	}, nil
}
