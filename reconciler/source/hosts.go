package source

import (
	"context"
	"net/url"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	ctrlsource "sigs.k8s.io/controller-runtime/pkg/source"
)

// perHost is how many repositories of one server are fetched at once: less
// than there are workers, so that a server that never ends to answer keeps
// some for itself, and not all.
const perHost = 4

// hosts counts who speaks to which server, and wakes those who have to wait.
type hosts struct {
	mu      sync.Mutex
	busy    map[string]int
	waiting map[string][]types.NamespacedName
	queue   workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// hostOf is the server of an address; one that cannot be read has none.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// enter reports whether a repository may speak to a server now. If it may not,
// it is woken when another has left.
func (h *hosts) enter(host string, who types.NamespacedName) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy == nil {
		h.busy, h.waiting = map[string]int{}, map[string][]types.NamespacedName{}
	}
	if h.busy[host] < perHost || h.queue == nil {
		h.busy[host]++
		return true
	}
	if !slices.Contains(h.waiting[host], who) {
		h.waiting[host] = append(h.waiting[host], who)
	}
	return false
}

func (h *hosts) leave(host string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy[host]--; h.busy[host] == 0 {
		delete(h.busy, host)
	}
	if next := h.waiting[host]; len(next) > 0 {
		h.queue.Add(reconcile.Request{NamespacedName: next[0]})
		if h.waiting[host] = next[1:]; len(next) == 1 {
			delete(h.waiting, host)
		}
	}
}

// source wakes those who waited.
func (h *hosts) source() ctrlsource.Source {
	return ctrlsource.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.queue = q
		return nil
	})
}
