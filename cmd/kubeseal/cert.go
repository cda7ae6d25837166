package main

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/lockstep-dev/lockstep/sealer"
)

const (
	// maxCert is the largest certificate file in bytes: a chain of a hundred.
	maxCert = 1 << 20

	// certTimeout is how long a download of it may take.
	certTimeout = 30 * time.Second
)

// certificate returns the PEM text of the certificate to seal with: that of
// --cert, or the controller's.
func (o *options) certificate(ctx context.Context) ([]byte, error) {
	if o.cert == "" {
		return o.fetch(ctx)
	}
	u, err := url.Parse(o.cert)
	if err != nil {
		return nil, fmt.Errorf("--cert: %w", err)
	}
	switch {
	case len(u.Scheme) <= 1: // none, or the letter of a drive
		return readFile(o.cert)
	case u.Scheme == "file":
		cert, err := readFile(u.Path)
		if errors.Is(err, fs.ErrNotExist) { // the genuine words: it has a web server for files
			err = fmt.Errorf("cannot fetch %q: 404 Not Found", o.cert)
		}
		return cert, err
	case u.Scheme == "http" || u.Scheme == "https":
		return download(ctx, o.cert)
	default:
		return nil, fmt.Errorf("--cert %q: use a file, http:// or https://", o.cert)
	}
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readCert(f)
}

func readCert(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxCert+1))
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	if len(text) > maxCert {
		return nil, fmt.Errorf("certificate is larger than %d bytes", maxCert)
	}
	return text, nil
}

func download(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, certTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("--cert: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("cannot fetch certificate: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("cannot fetch %q: %s", address, resp.Status)
	}
	return readCert(resp.Body)
}

// fetch asks the controller, through the API server's proxy.
func (o *options) fetch(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, certTimeout)
	defer cancel()
	c, err := o.connect(ctx, "application/x-pem-file, */*")
	if err != nil {
		return nil, err
	}
	body, err := c.client.Services(o.controllerNamespace).ProxyGet("http", o.controllerName, c.port, "/v1/cert.pem", nil).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot fetch certificate: %w", err)
	}
	defer body.Close()
	return readCert(body)
}

// publicKey returns the key of a certificate that has not expired.
func publicKey(text []byte) (*rsa.PublicKey, error) {
	cert, err := sealer.ParseCertificate(text)
	if errors.Is(err, sealer.ErrNoCertificate) {
		return nil, errors.New("data does not contain any valid RSA or ECDSA certificates") // as the genuine one says it
	}
	if err != nil {
		return nil, err
	}
	if time.Now().After(cert.NotAfter) {
		return nil, fmt.Errorf("failed to encrypt using an expired certificate on %v", cert.NotAfter.Format("January 2, 2006"))
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("certificate has no RSA key")
	}
	return key, nil
}
