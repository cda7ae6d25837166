package testenv

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// S3 is a running S3 server: the Versity S3 Gateway, which checks signatures,
// behind a proxy that gives it TLS and counts what it is asked.
type S3 struct {
	*server
	// Access and Secret are the keys of its owner.
	Access, Secret string
	// CA is the certificate of the proxy, in PEM.
	CA []byte
	// Plain is where the server is reached without TLS, as HOST:PORT.
	Plain string

	proxy    *httptest.Server
	mu       sync.Mutex
	requests []string
}

// StartS3 builds the server if need be and starts it. ctx bounds the start
// only.
func StartS3(ctx context.Context) (*S3, error) {
	path, err := Binary(ctx, "s3", os.Stderr)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "lockstep-s3-")
	if err != nil {
		return nil, fmt.Errorf("testenv: start s3: %w", err)
	}
	s := &S3{server: &server{dir: dir, client: &http.Client{Timeout: time.Minute}}, Access: "owner", Secret: "key-of-the-owner"}
	if err := s.start(ctx, path); err != nil {
		s.Stop()
		return nil, fmt.Errorf("testenv: start s3: %w", err)
	}
	return s, nil
}

func (s *S3) start(ctx context.Context, path string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	for _, folder := range []string{"data", "meta"} {
		if err := os.Mkdir(filepath.Join(s.dir, folder), 0o700); err != nil {
			return err
		}
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	l := launch{name: "s3", path: path, dir: s.dir, logs: s.dir,
		env:  []string{"ROOT_ACCESS_KEY=" + s.Access, "ROOT_SECRET_KEY=" + s.Secret},
		args: []string{"--port", address, "--health", "/health", "posix", "--sidecar", filepath.Join(s.dir, "meta"), filepath.Join(s.dir, "data")}}
	if s.process, err = l.start(); err != nil {
		return err
	}
	s.Plain = address
	target, err := url.Parse("http://" + address)
	if err != nil {
		return err
	}
	// The signature is of the host that the client names.
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }}
	s.proxy = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Method+" "+r.URL.Path)
		s.mu.Unlock()
		forward.ServeHTTP(w, r)
	}))
	s.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.proxy.Certificate().Raw})
	ctx, cancel := context.WithTimeout(ctx, serverStart)
	defer cancel()
	return poll(ctx, 50*time.Millisecond, "s3 to be ready", func(ctx context.Context) (bool, error) {
		_, err := get(ctx, "http://"+address+"/health")
		return err == nil, s.process.ended()
	})
}

// Stop ends the server.
func (s *S3) Stop() {
	if s.proxy != nil {
		s.proxy.Close()
	}
	s.server.Stop()
}

// Host is where the server is reached, on TLS, as HOST:PORT.
func (s *S3) Host() string { return strings.TrimPrefix(s.proxy.URL, "https://") }

// Client trusts the server.
func (s *S3) Client() *http.Client { return s.proxy.Client() }

// Requests returns what was asked since the last call.
func (s *S3) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.requests
	s.requests = nil
	return all
}
