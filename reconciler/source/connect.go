package source

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// TLS returns how to connect to a server, with the certificates of a Secret
// that a field names: ca.crt, that of the server; tls.crt and tls.key, ours. c
// may be nil. The error is one for the Loop.
func TLS(field string, c map[string][]byte) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	ca := c[keyCA]
	if len(ca) == 0 {
		ca = c[keyOldCA]
	}
	if len(ca) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return nil, &invalid{reasonAuthentication, fmt.Errorf("%s: %s holds no certificate in PEM", field, keyCA)}
		}
	}
	if len(c[keyCert]) > 0 || len(c[keyKey]) > 0 {
		pair, err := tls.X509KeyPair(c[keyCert], c[keyKey])
		if err != nil { // whose text may repeat what is in the key
			return nil, &invalid{reasonAuthentication, fmt.Errorf("%s: %s and %s are not a certificate and its key in PEM", field, keyCert, keyKey)}
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// Untrusted reports whether an error is that a server's certificate is signed
// by nobody who is trusted, or is of another host.
func Untrusted(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// keyAddress is in the Secret that spec.proxySecretRef names, besides username
// and password. They are Flux's.
const keyAddress = "address"

// Proxy returns the address of the proxy that a Secret names, with username
// and password; nil for no Secret. The error is one for the Loop.
func Proxy(c map[string][]byte) (*url.URL, error) {
	if c == nil {
		return nil, nil
	}
	u, err := url.Parse(string(c[keyAddress]))
	if err != nil || u.Host == "" {
		return nil, &invalid{reasonAuthentication, fmt.Errorf("spec.proxySecretRef: %s is not the address of a proxy: write it as http://HOST:PORT or socks5://HOST:PORT", keyAddress)}
	}
	if len(c[keyUsername]) > 0 {
		u.User = url.UserPassword(string(c[keyUsername]), string(c[keyPassword]))
	}
	return u, nil
}

// Transport returns how to speak HTTP with a server: by the certificates and
// the proxy of Secrets, and no other, and never sending credentials in clear
// unless allowed to. Close its idle connections at the end.
func Transport(config *tls.Config, proxy *url.URL, plain Plain) http.RoundTripper {
	t := &http.Transport{
		TLSClientConfig: config, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4,
		IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second,
	}
	if proxy != nil {
		t.Proxy = http.ProxyURL(proxy)
	}
	return &guarded{Transport: t, plain: plain}
}

// Plain says what may go over http://, where all can read and change it.
type Plain struct{ Requests, Credentials bool }

type guarded struct {
	*http.Transport
	plain Plain
}

// RoundTrip implements http.RoundTripper.
func (g *guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		if !g.plain.Requests {
			return nil, ErrPlain
		}
		if r.Header.Get("Authorization") != "" && !g.plain.Credentials {
			return nil, ErrPlainCredentials
		}
	}
	return g.Transport.RoundTrip(r) //nolint:wrapcheck // a transport hands on what it is given
}

// ErrPlain says that a server was to be reached over http:// without leave.
var ErrPlain = errors.New("the server is reached by https only: set spec.insecure if it has none")

// ErrPlainCredentials says that credentials were to be sent in clear.
var ErrPlainCredentials = errors.New("credentials are not sent over http, where all can read them: use https, or start the controller with --allow-http-credentials")

// Unwrap makes e an error that the Loop understands.
func (e *invalid) Unwrap() error { return reconciler.Final(e.reason, e.err) }
