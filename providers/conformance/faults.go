package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/providers"
)

// Faulty is a backend that speaks HTTP, and how its service says no.
type Faulty struct {
	// Open opens a store at a server that answers every request in the same way,
	// and returns a ref to read. The credential is what the store logs in with.
	Open func(t *testing.T, server *httptest.Server) (r providers.Reader, ref providers.Ref, credential string)
	// TLS says that the backend speaks to no server without. The server speaks
	// HTTP/2 then, too.
	TLS bool
	// Denied and Throttled are the bodies, and their statuses, with which the
	// service itself refuses a request, and asks for fewer of them.
	Denied, Throttled string
	DeniedStatus      int // 0: 403
	ThrottledStatus   int // 0: 429
	// Refuses is in place of all of these if status and body are not how the
	// service says it. What it sends holds leak, and a wait of 7 seconds.
	Refuses func(w http.ResponseWriter, throttled bool, leak string)
	// Any404 says that a 404 of any server means that there is no secret.
	Any404 bool
	// Hangs is how long the backend waits for an answer, at most.
	Hangs time.Duration
}

// leak stands in every answer, and may be in no message.
const leak = "leaked-by-the-server"

// flipped has a text where services have objects, and the other way round.
const flipped = `{"data":"` + leak + `","items":"` + leak + `","SecretString":{"a":"` + leak + `"},"Parameter":["` + leak + `"],"access_token":{"a":"` + leak + `"},"payload":7}`

// TestFaults wants every way in which a service can fail to be told as what it
// is: none of them passes for a secret that is not there, or for a value.
func TestFaults(t *testing.T, f Faulty) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body)) // the client is gone
		}
	}
	denied, throttled := answer(or(f.DeniedStatus, 403), f.Denied), answer(or(f.ThrottledStatus, 429), f.Throttled)
	if f.Refuses != nil {
		denied = func(w http.ResponseWriter, _ *http.Request) { f.Refuses(w, false, leak) }
		throttled = func(w http.ResponseWriter, _ *http.Request) { f.Refuses(w, true, leak) }
	}
	cases := map[string]struct {
		reason string
		serve  http.HandlerFunc
		want   error
	}{
		"Denied":     {"A refusal is one.", denied, providers.ErrDenied},
		"Throttled":  {"A quota is no failure.", throttled, providers.ErrThrottled},
		"Empty":      {"An answer with nothing in it is none.", answer(200, ""), providers.ErrUnavailable},
		"HTML":       {"A proxy cannot say what a value is.", answer(200, "<html>"+leak+"</html>"), providers.ErrUnavailable},
		"HTML404":    {"Nor that a secret is gone.", answer(404, "<html>"+leak+"</html>"), providers.ErrUnavailable},
		"JSON404":    {"Only the service itself can.", answer(404, `{"message":"`+leak+`"}`), providers.ErrUnavailable},
		"HTML502":    {"Nor anything else.", answer(502, "<html>"+leak+"</html>"), providers.ErrUnavailable},
		"List":       {"JSON of another form holds no value.", answer(200, `["`+leak+`",{"data":"`+leak+`"}]`), providers.ErrUnavailable},
		"Flipped":    {"Nor do its fields of other types.", answer(200, flipped), providers.ErrUnavailable},
		"Null":       {"Nor does null.", answer(200, "null"), providers.ErrUnavailable},
		"Crash":      {"A server that fails may be back.", answer(500, leak), providers.ErrUnavailable},
		"Truncated":  {"Half an answer is none.", truncated, providers.ErrUnavailable},
		"Redirected": {"A redirect is not followed.", elsewhere(t), providers.ErrUnavailable},
		"Hangs":      {"A server that does not answer is given up on.", hang, providers.ErrUnavailable},
	}
	if f.Any404 {
		delete(cases, "JSON404")
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // one of them waits
			f.want(t, tc.serve, tc.want, tc.reason)
		})
	}
}

// want reads from a server, and wants an error of a class that repeats nothing.
func (f Faulty) want(t *testing.T, serve http.HandlerFunc, class error, reason string) {
	t.Helper()
	server := httptest.NewUnstartedServer(serve)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that give up
	if f.TLS {
		server.EnableHTTP2 = true
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	r, ref, credential := f.Open(t, server)
	ctx, cancel := context.WithTimeout(t.Context(), 6*f.Hangs)
	defer cancel()
	_, err := r.Read(ctx, ref)
	failed{reason, class, credential}.as(t, "Read", err)
	if finder, ok := r.(providers.Finder); ok {
		_, err := finder.Find(ctx, providers.Query{})
		failed{reason, class, credential}.as(t, "Find", err)
	}
}

// failed is what an error has to be, and why, and what it may not hold.
type failed struct {
	reason     string
	class      error
	credential string
}

func (f failed) as(t *testing.T, request string, err error) {
	t.Helper()
	if !errors.Is(err, f.class) || errors.Is(err, providers.ErrNotFound) {
		t.Errorf("%s\n%s: got %v, want %q", f.reason, request, err, f.class)
	}
	text := fmt.Sprintf("%v %+v %#v", err, err, err)
	if strings.Contains(text, leak) || strings.Contains(text, f.credential) {
		t.Errorf("%s: %v repeats what the server said, or the credential", request, err)
	}
	var wait providers.Throttled
	if errors.As(err, &wait) && wait.After != 7*time.Second {
		t.Errorf("%s: got After %s, want 7s", request, wait.After)
	}
}

func or(status, otherwise int) int {
	if status != 0 {
		return status
	}
	return otherwise
}

// truncated promises more than it sends.
func truncated(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte(`{"data":{"data":{"a":"` + leak)) // the client is gone
}

// elsewhere redirects to a server that must not be asked.
func elsewhere(t *testing.T) http.HandlerFunc {
	t.Helper()
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was sent to whom a redirect names, with %v", r.Method, r.URL.Path, r.Header)
	}))
	t.Cleanup(other.Close)
	return func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}
}

// hang answers no request.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // what is not read keeps the end of the connection from being seen
	<-r.Context().Done()
}
