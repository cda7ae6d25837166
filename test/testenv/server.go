package testenv

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// server is a running program of test/servers.
type server struct {
	process *process
	dir     string   // with its log
	folders []string // what else goes when it stops
	address string
	header  http.Header // of every request
	client  *http.Client
	keep    bool
}

// serverOptions says what to start.
type serverOptions struct {
	program  string
	args     []string
	tls      bool
	progress io.Writer // default: standard error
}

// serverStart is how long a test server may take to say that it is ready: a
// hundred times what it needs.
const serverStart = 30 * time.Second

// startServer builds a program if need be, starts it and reads its line into
// ready, besides the address and the authority that every server says.
func startServer(ctx context.Context, o serverOptions, ready any) (*server, error) {
	if o.progress == nil {
		o.progress = os.Stderr
	}
	path, err := Binary(ctx, o.program, o.progress)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "lockstep-"+o.program+"-")
	if err != nil {
		return nil, fmt.Errorf("testenv: start %s: %w", o.program, err)
	}
	if o.tls {
		o.args = append(o.args, "--tls")
	}
	s := &server{dir: dir}
	if err := s.start(ctx, launch{name: o.program, path: path, args: o.args, dir: dir, logs: dir}, ready); err != nil {
		s.Stop()
		return nil, fmt.Errorf("testenv: start %s: %w", o.program, err)
	}
	return s, nil
}

func (s *server) start(ctx context.Context, l launch, ready any) error {
	out, in := io.Pipe()
	l.out = in
	var err error
	if s.process, err = l.start(); err != nil {
		return err
	}
	line := make(chan []byte, 1)
	go func() {
		first, _ := bufio.NewReader(out).ReadBytes('\n') // a line that is not whole does not parse
		line <- first
		_, _ = io.Copy(io.Discard, out)
	}()
	select {
	case text := <-line:
		return s.connect(text, ready)
	case <-s.process.done:
		return s.process.ended()
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(serverStart):
		return fmt.Errorf("not ready after %s\n%s", serverStart, s.process.tail(15))
	}
}

func (s *server) connect(line []byte, ready any) error {
	var common struct{ Address, CA string }
	if err := errors.Join(json.Unmarshal(line, &common), json.Unmarshal(line, ready)); err != nil {
		return errors.New("what it says is not JSON") // the line may hold credentials
	}
	s.address = common.Address
	transport := &http.Transport{}
	if common.CA != "" {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(common.CA))
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	s.client = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	return nil
}

// Address is the URL of the server, without a path.
func (s *server) Address() string { return s.address }

// Stop ends the server.
func (s *server) Stop() {
	if s.process != nil {
		s.process.stop(3 * time.Second)
	}
	if s.keep {
		return
	}
	for _, dir := range append(s.folders, s.dir) {
		_ = os.RemoveAll(dir) // a leftover of a temporary folder harms nobody
	}
}

// Keep makes Stop leave the log.
func (s *server) Keep() { s.keep = true }

// Tail returns the last n lines of the log.
func (s *server) Tail(n int) string {
	return fmt.Sprintf("--- %s (%s)\n%s\n", s.process.name, filepath.Join(s.dir, s.process.name+".log"), s.process.tail(n))
}

// Logs is the folder with the log.
func (s *server) Logs() string { return s.dir }

// Counts returns how many requests the server has had, by operation.
func (s *server) Counts(ctx context.Context) (map[string]int, error) {
	counts := map[string]int{}
	return counts, s.admin(ctx, http.MethodGet, "counters", nil, &counts)
}

// ResetCounts starts counting anew.
func (s *server) ResetCounts(ctx context.Context) error {
	return s.admin(ctx, http.MethodDelete, "counters", nil, nil)
}

// Fault is what a test server does instead of, or before, an answer.
type Fault struct {
	Operation   string `json:"operation,omitempty"`   // as in Counts; a * at the end stands for any rest; empty is everything
	Code        string `json:"code,omitempty"`        // the service's error code
	Status      int    `json:"status,omitempty"`      // the HTTP status; neither Code nor Status: only the delay
	DelayMillis int    `json:"delayMillis,omitempty"` // before the answer
	Times       int    `json:"times,omitempty"`       // for so many requests; 0 is until ClearFaults
	PerSecond   int    `json:"perSecond,omitempty"`   // only for requests beyond so many in a second
}

// Second is what came to a test server within one second.
type Second struct {
	Unix              int64
	Requests, Refused int // refused by a Fault
}

// Seconds returns those since ResetCounts in which anything came.
func (s *server) Seconds(ctx context.Context) ([]Second, error) {
	var all []Second
	err := s.admin(ctx, http.MethodGet, "seconds", nil, &all)
	return all, err
}

// Connections returns how many connections requests came over since
// ResetCounts, faults and all.
func (s *server) Connections(ctx context.Context) (int, error) {
	var n int
	err := s.admin(ctx, http.MethodGet, "connections", nil, &n)
	return n, err
}

// Fail orders a fault.
func (s *server) Fail(ctx context.Context, f Fault) error {
	return s.admin(ctx, http.MethodPost, "faults", f, nil)
}

// ClearFaults lets the server work again.
func (s *server) ClearFaults(ctx context.Context) error {
	return s.admin(ctx, http.MethodDelete, "faults", nil, nil)
}

// admin talks to the server's admin API. in and out may be nil.
func (s *server) admin(ctx context.Context, method, path string, in, out any) error {
	return s.call(ctx, method, "/_admin/"+path, in, out)
}

// call sends in as JSON and reads the answer into out; both may be nil.
func (s *server) call(ctx context.Context, method, path string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return fmt.Errorf("testenv: %s %s: %w", method, path, err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, s.address+path, &body)
	if err != nil {
		return fmt.Errorf("testenv: %s %s: %w", method, path, err)
	}
	maps.Copy(request.Header, s.header)
	answer, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("testenv: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("testenv: %s %s: %w", method, path, err)
	}
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("testenv: %s %s: %s: %s", method, path, answer.Status, text)
	}
	if out == nil || len(text) == 0 {
		return nil
	}
	return json.Unmarshal(text, out)
}
