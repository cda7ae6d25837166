package events

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"golang.org/x/time/rate"

	ctrl "sigs.k8s.io/controller-runtime"
)

const (
	// maxBody is far above any message: 1,000 keys of 512 bytes, the longest
	// that a service has.
	maxBody = 1 << 20
	maxKeys = 1000

	// perSecond is how many messages are looked at: a store that changes more
	// often is better read at an interval. Those above are told to try again.
	perSecond = 50
	atOnce    = 100

	// minKey is the shortest key of a webhook, in bytes: what cannot be guessed.
	minKey = 16
)

// Headers with the signature of a message: sha256= and the HMAC-SHA-256 of the
// body in hex. The second is what GitHub and many others send.
var signatures = []string{"X-Lockstep-Signature", "X-Hub-Signature-256"}

// webhook serves POST /events/NAMESPACE/NAME for a SecretStore, and
// /events/NAME for a ClusterSecretStore. The body is {"keys": ["db", ...]},
// as remoteRef.key spells them.
type webhook struct {
	limit *rate.Limiter
	// key of a store's webhook; false if it has none, for whatever reason
	key func(ctx context.Context, store Store) ([]byte, bool)
	due func(ctx context.Context, store Store, keys []string)
}

func newWebhook(key func(context.Context, Store) ([]byte, bool), due func(context.Context, Store, []string)) *http.ServeMux {
	w := &webhook{limit: rate.NewLimiter(perSecond, atOnce), key: key, due: due}
	mux := http.NewServeMux()
	mux.Handle("POST /events/{namespace}/{name}", w)
	mux.Handle("POST /events/{name}", w)
	return mux
}

// ServeHTTP implements http.Handler.
func (w *webhook) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if !w.limit.Allow() {
		rw.Header().Set("Retry-After", "1")
		http.Error(rw, "too many messages: try again in a second", http.StatusTooManyRequests)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody))
	if err != nil {
		http.Error(rw, "the body is too large, or was cut off", http.StatusRequestEntityTooLarge)
		return
	}
	store := Store{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
	key, ok := w.key(r.Context(), store)
	// The same for a store that is not there, so that nobody can ask which are.
	if !ok || !signed(r.Header, key, body) {
		http.Error(rw, "no store with a webhook by that name, or the signature is not of its key", http.StatusUnauthorized)
		return
	}
	var message struct {
		Keys []string `json:"keys"`
	}
	if json.Unmarshal(body, &message) != nil || len(message.Keys) == 0 || len(message.Keys) > maxKeys {
		http.Error(rw, `the body must be {"keys": ["..."]}, with 1 to 1000 keys`, http.StatusBadRequest)
		return
	}
	ctrl.LoggerFrom(r.Context()).V(1).Info("told of changes", "store", store.String(), "keys", len(message.Keys))
	w.due(r.Context(), store, message.Keys)
	rw.WriteHeader(http.StatusAccepted)
}

// signed reports whether a header has the signature of body.
func signed(header http.Header, key, body []byte) bool {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write(body) // a hash never fails
	want := mac.Sum(nil)
	for _, name := range signatures {
		text, ok := strings.CutPrefix(header.Get(name), "sha256=")
		if got, err := hex.DecodeString(text); ok && err == nil && hmac.Equal(got, want) {
			return true
		}
	}
	return false
}
