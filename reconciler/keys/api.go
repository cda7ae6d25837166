package keys

import (
	"errors"
	"io"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/time/rate"

	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/sealer"
)

// The HTTP API of kubeseal. Whoever reaches it may ask, so it tells what the
// asker could not know in one bit at most: does a sealed value belong where it
// says? It looks at the sealed values and where they say they belong, and at
// nothing else: it renders no template, which is how two oracles of Sealed
// Secrets told plaintext bit by bit (fixed there in v0.39 and v0.40), and what
// it re-seals gets the scope that it had, whatever anything around it says
// (CVE-2026-22728). Each answer but that of a success is the same text every
// time.
const (
	answerBad   = "the body is not one SealedSecret in JSON or YAML\n"
	answerNo    = "the SealedSecret cannot be opened\n"
	answerLarge = "the body is too large\n"
	answerBusy  = "too many requests: try again in a moment\n"
	answerNoKey = "there is no sealing key yet\n"
	answerReady = "ok\n"
)

// api serves /v1/verify and /v1/rotate.
type api struct {
	ring    *sealer.Keyring
	limiter *limiter
	slots   chan struct{} // how many requests open values at once
}

// newAPI returns an API that opens no more values than the processors it
// leaves to the rest of the controller can: half of them.
func newAPI(ring *sealer.Keyring, limit float64, burst int) *api {
	return &api{
		ring:    ring,
		limiter: &limiter{limit: rate.Limit(limit), burst: max(burst, 1), now: time.Now}, //nolint:forbidigo // a budget fills with the time
		slots:   make(chan struct{}, max(runtime.GOMAXPROCS(0)/2, 1)),
	}
}

// verify says whether every value of a SealedSecret can be opened: 200 or 409,
// as in Sealed Secrets.
func (a *api) verify(w http.ResponseWriter, r *http.Request) {
	d, ok := a.accept(w, r)
	if !ok {
		return
	}
	if _, err := a.each(d, a.open); err != nil {
		answer(w, http.StatusConflict, answerNo)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// rotate answers with the SealedSecret, its values sealed again with the
// newest key, and with every other byte as it came.
func (a *api) rotate(w http.ResponseWriter, r *http.Request) {
	d, ok := a.accept(w, r)
	if !ok {
		return
	}
	if _, ok := a.ring.Newest(); !ok {
		answer(w, http.StatusServiceUnavailable, answerNoKey)
		return
	}
	// The deprecated form is one value that holds metadata too: there is nothing
	// in it to put a new one in place of.
	if d.whole != nil || d.wider {
		answer(w, http.StatusConflict, answerNo)
		return
	}
	values, err := a.each(d, a.ring.Reseal)
	if err != nil {
		answer(w, http.StatusConflict, answerNo)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(d.replaced(values)) // whoever asked has gone
}

// accept reads and parses a request, and waits for its turn; otherwise it
// answers it. 500 for what is no SealedSecret is what Sealed Secrets says.
func (a *api) accept(w http.ResponseWriter, r *http.Request) (*document, bool) {
	body, err := io.ReadAll(r.Body)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		answer(w, http.StatusRequestEntityTooLarge, answerLarge)
		return nil, false
	}
	if err != nil {
		answer(w, http.StatusBadRequest, answerBad)
		return nil, false
	}
	d, err := parseDocument(body)
	if err != nil || d.at.Name == "" {
		if !a.limiter.allow(r, 1) {
			busy(w)
			return nil, false
		}
		answer(w, http.StatusInternalServerError, answerBad)
		return nil, false
	}
	if !a.limiter.allow(r, len(d.items)) {
		busy(w)
		return nil, false
	}
	return d, true
}

// open opens a value of either envelope, and forgets it.
func (a *api) open(text string, at sealer.Place, hint string) (string, sealer.Opened, error) {
	opened, err := a.ring.OpenItem(text, at, hint)
	clear(opened.Value)
	return "", opened, err
}

// each calls f with every value of a SealedSecret, and the fingerprint of the
// key that opened the one before, and stops at the first error.
func (a *api) each(d *document, f func(text string, at sealer.Place, hint string) (string, sealer.Opened, error)) ([]string, error) {
	a.slots <- struct{}{}
	defer func() { <-a.slots }()
	var results []string
	hint := ""
	all := d.items
	if d.whole != nil {
		if len(all) > 0 {
			return nil, errors.New("spec.data and spec.encryptedData at once")
		}
		all = []span{*d.whole}
	}
	for _, item := range all {
		result, opened, err := f(item.value, sealer.Place{Binding: d.at, Item: item.name}, hint)
		if err != nil {
			return nil, err
		}
		hint = opened.Fingerprint
		results = append(results, result)
	}
	return results, nil
}

func busy(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1") // with it, kubeseal tries again by itself
	answer(w, http.StatusTooManyRequests, answerBusy)
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// measured counts the requests of a path under the names of Sealed Secrets.
// Source: pkg/controller/metrics.go of bitnami-labs/sealed-secrets v0.36.6.
func measured(path string, next http.HandlerFunc) http.Handler {
	const namespace = "sealed_secrets_controller"
	requests := reconciler.Register(prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "http_requests_total", Help: "A counter for requests to the wrapped handler.",
	}, []string{"path", "code", "method"}))
	seconds := reconciler.Register(prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "http_request_duration_seconds", Help: "A histogram of latencies for requests.", Buckets: prometheus.DefBuckets,
	}, []string{"path", "method"}))
	label := prometheus.Labels{"path": path}
	return promhttp.InstrumentHandlerDuration(seconds.MustCurryWith(label), promhttp.InstrumentHandlerCounter(requests.MustCurryWith(label), next))
}
