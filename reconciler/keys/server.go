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

	// readTimeout is how long a request may take to arrive, if nobody says
	// otherwise; whoever needs longer is not kubeseal.
	readTimeout = 10 * time.Second

	// writeTimeout is how long the answer may take: opening the 3,000 values that
	// fit a body takes half a minute with keys of 4096 bits.
	writeTimeout = time.Minute
	idleTimeout  = time.Minute
	shutdown     = 5 * time.Second
)

// Handler is the HTTP API that kubeseal uses. It needs no credentials, and
// gives away nothing that is secret: see api.
func (c *Controller) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, answerReady)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if c.Ring.Len() == 0 {
			answer(w, http.StatusServiceUnavailable, answerNoKey)
			return
		}
		answer(w, http.StatusOK, answerReady)
	})
	a := newAPI(c.Ring, c.RateLimit, c.RateBurst)
	mux.Handle("GET /v1/cert.pem", measured("/v1/cert.pem", c.certificate))
	mux.Handle("GET /v1/keys", measured("/v1/keys", (&publisher{ring: c.Ring}).ServeHTTP))
	mux.Handle("POST /v1/verify", measured("/v1/verify", a.verify))
	mux.Handle("POST /v1/rotate", measured("/v1/rotate", a.rotate))
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
	addr        string
	handler     http.Handler
	read, write time.Duration // see readTimeout and writeTimeout
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
		ReadHeaderTimeout: s.read,
		ReadTimeout:       s.read,
		WriteTimeout:      s.write,
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
