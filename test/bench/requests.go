package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// meter measures what is spent between start and stop.
type meter struct {
	b        *bench
	offset   int64
	total    map[string]int
	provider map[string]int
	cpu      time.Duration
}

// spent is what was spent.
type spent struct {
	verbs    map[string]int // of the controller: by verb, and "lease"
	objects  map[string]int // of the controller's writes: by verb and resource
	total    map[string]int // of all clients, by verb
	provider map[string]int
	cpu      time.Duration
	peak     int64
}

func (b *bench) meter(ctx context.Context) (*meter, error) {
	m := &meter{b: b}
	info, err := os.Stat(b.Cluster.AuditLog())
	if err != nil {
		return nil, err
	}
	m.offset = info.Size()
	if m.total, err = b.requestTotal(ctx); err != nil {
		return nil, err
	}
	if m.provider, err = b.calls(ctx); err != nil {
		return nil, err
	}
	m.cpu, _, err = b.usage()
	return m, err
}

func (m *meter) stop(ctx context.Context) (spent, error) {
	var s spent
	var err error
	if s.verbs, s.objects, err = m.b.audit(m.offset); err != nil {
		return s, err
	}
	if s.total, err = m.b.requestTotal(ctx); err != nil {
		return s, err
	}
	subtract(s.total, m.total)
	if s.provider, err = m.b.calls(ctx); err != nil {
		return s, err
	}
	subtract(s.provider, m.provider)
	var cpu time.Duration
	if cpu, s.peak, err = m.b.usage(); err != nil {
		return s, err
	}
	s.cpu = cpu - m.cpu
	return s, nil
}

// usage sums up what the controllers have used: processor time, and the most
// memory in bytes.
func (b *bench) usage() (cpu time.Duration, peak int64, err error) {
	for _, c := range append([]*testenv.Controller{b.Controller}, b.besides...) {
		t, _, p, err := c.Usage()
		if err != nil {
			return 0, 0, err
		}
		cpu, peak = cpu+t, peak+p
	}
	return cpu, peak, nil
}

// calls are the requests at the providers so far, by operation.
func (b *bench) calls(ctx context.Context) (map[string]int, error) {
	all, err := b.Vault.Counts(ctx)
	if err != nil || b.AWS == nil {
		return all, err
	}
	counts, err := b.AWS.Counts(ctx)
	maps.Copy(all, counts)
	return all, err
}

// sum adds up the counts of the operations that begin with any of prefixes.
func sum(counts map[string]int, prefixes ...string) (n int) {
	for name, count := range counts {
		if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			n += count
		}
	}
	return n
}

func subtract(from, what map[string]int) {
	for k, n := range what {
		if from[k] -= n; from[k] == 0 {
			delete(from, k)
		}
	}
}

// auditEvent is a line of the audit log.
type auditEvent struct {
	Verb      string
	User      struct{ Username string }
	ObjectRef *struct{ Resource, Subresource string }
}

// audit counts the controller's requests in the audit log from an offset on:
// by verb, and its writes by verb and resource. Keeping the lease is counted
// apart: it costs the same whatever there is to do.
func (b *bench) audit(offset int64) (verbs, objects map[string]int, err error) {
	f, err := os.Open(b.Cluster.AuditLog())
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, nil, err
	}
	verbs, objects = map[string]int{}, map[string]int{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e auditEvent
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, nil, fmt.Errorf("audit log: %w", err)
		}
		switch {
		case e.User.Username != stage.User:
		case e.ObjectRef != nil && e.ObjectRef.Resource == "leases":
			verbs["lease"]++
		default:
			verbs[e.Verb]++
			if e.ObjectRef != nil && isWrite(e.Verb) {
				objects[strings.TrimSuffix(e.Verb+" "+e.ObjectRef.Resource+"/"+e.ObjectRef.Subresource, "/")]++
			}
		}
	}
	return verbs, objects, lines.Err()
}

func isWrite(verb string) bool {
	switch verb {
	case "create", "update", "patch", "delete", "deletecollection":
		return true
	default:
		return false
	}
}

// applies counts the writes of the objects that come from Git, but for their
// status.
func (s spent) applies() int {
	n := 0
	for _, resource := range []string{"deployments", "services", "sealedsecrets", "externalsecrets"} {
		n += s.objects["patch "+resource] + s.objects["create "+resource] + s.objects["update "+resource]
	}
	return n
}

// requestTotal returns apiserver_request_total by verb, of all clients.
func (b *bench) requestTotal(ctx context.Context) (map[string]int, error) {
	text, err := b.Cluster.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for line := range strings.Lines(text) {
		labels, ok := strings.CutPrefix(line, "apiserver_request_total{")
		if !ok {
			continue
		}
		labels, value, _ := strings.Cut(labels, "} ")
		_, verb, _ := strings.Cut(labels, `verb="`)
		verb, _, _ = strings.Cut(verb, `"`)
		n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			return nil, fmt.Errorf("apiserver_request_total: %w", err)
		}
		counts[verb] += int(n)
	}
	if len(counts) == 0 {
		return nil, fmt.Errorf("the API server has no apiserver_request_total")
	}
	return counts, nil
}

// record puts what was spent on a number of objects into the result.
func (b *bench) record(s spent, objects int) {
	r := &b.result
	r.APIServer, r.APIServerTotal, r.ProviderCalls = s.verbs, s.total, s.provider
	writes := 0
	for verb, n := range s.verbs {
		if isWrite(verb) {
			writes += n
		}
	}
	if objects > 0 {
		r.WritesPerObject = round(float64(writes) / float64(objects))
	}
	r.CPU, r.RSSPeak = round(s.cpu.Seconds()), round(float64(s.peak)/(1<<20))
	r.More["writes"] = s.objects
}
