package keys

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/lockstep-dev/lockstep/sealer"
)

const (
	// maxBody is the largest request body in bytes. kubeseal sends whole
	// SealedSecrets, whose Secret holds 1 MiB at most; in base64 and JSON that
	// is less than twice as much.
	maxBody = 2 << 20

	// maxHeader is the largest request header in bytes: kubeseal sends a few
	// hundred, and the API server's proxy adds as many.
	maxHeader = 16 << 10

	// A request is answered from memory: whoever needs longer is not kubeseal.
	requestTimeout = 10 * time.Second
	idleTimeout    = time.Minute
	shutdown       = 5 * time.Second
)

// Handler is the HTTP API that kubeseal uses. It needs no credentials: all
// that it gives away is public.
func (c *Controller) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /v1/cert.pem", c.certificate)
	for path, flag := range map[string]string{"/v1/verify": "--validate", "/v1/rotate": "--re-encrypt"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, path+" is not served by this controller: kubeseal "+flag+" does not work with it yet", http.StatusNotImplemented)
		})
	}
	return http.MaxBytesHandler(mux, maxBody)
}

func (c *Controller) certificate(w http.ResponseWriter, _ *http.Request) {
	key, ok := c.Ring.Newest()
	if !ok {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "there is no sealing key yet: try again in a moment, and if this lasts see the controller's log", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/x-pem-file")
	_, _ = w.Write(sealer.EncodeCertificate(key.Certificate)) // whoever asked has gone
}

// server serves the API in every replica.
type server struct {
	addr    string
	handler http.Handler
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (*server) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (s *server) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.addr)
	if err != nil {
		return fmt.Errorf("serve sealing certificate: %w", err)
	}
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: requestTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
	}
	stopped := make(chan error, 1)
	go func() { stopped <- srv.Serve(listener) }()
	select {
	case err := <-stopped:
		return fmt.Errorf("serve sealing certificate: %w", err)
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdown)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop serving sealing certificate: %w", err)
	}
	return nil
}
