package source

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"k8s.io/apimachinery/pkg/types"
)

// pool is what the GitRepositories of one address, with the same credentials,
// have in common: one listing and one fetch serve them all.
type pool struct {
	mu  sync.Mutex
	all map[[sha256.Size]byte]*repository
}

// repository is one of a pool. What is behind the lock belongs to whoever
// holds that.
type repository struct {
	lock  chan struct{} // holds a value while it is taken
	users map[types.NamespacedName]bool

	listed *packp.AdvRefs
	asked  time.Time // when that listing began

	failed  error
	failure time.Time // when that listing ended

	checkouts map[string]*checkout // newest, by what is wanted of it
	objects   *objects             // of the last fetch, for a while
	commit    plumbing.Hash        // that those are of
}

// of returns the repository of f, and notes that f uses it.
func (p *pool) of(f fetching) *repository {
	key := sha256.Sum256([]byte(f.Spec.URL + "\n" + sortedSecret(f.secret) + "\n" + sortedSecret(f.proxy) + "\n" + f.identity()))
	user := types.NamespacedName{Namespace: f.Namespace, Name: f.Name}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[[sha256.Size]byte]*repository{}
	}
	r := p.all[key]
	if r != nil && r.users[user] {
		return r
	}
	p.leave(user) // its address or its credentials were others
	if r == nil {
		r = &repository{lock: make(chan struct{}, 1), users: map[types.NamespacedName]bool{}, checkouts: map[string]*checkout{}}
		p.all[key] = r
	}
	r.users[user] = true
	return r
}

// identity is who a cloud gives credentials to. Without it, one would be shown
// what another may see.
func (f fetching) identity() string {
	if f.Spec.Provider != sourcev1.GitProviderAzure {
		return ""
	}
	return f.Spec.Provider + " " + f.Namespace + "/" + f.Spec.ServiceAccountName
}

// forget notes that an object uses no repository any more.
func (p *pool) forget(user types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave(user)
}

func (p *pool) leave(user types.NamespacedName) {
	for key, r := range p.all {
		if delete(r.users, user); len(r.users) == 0 {
			delete(p.all, key)
		}
	}
}

// take waits for the lock.
func (r *repository) take(ctx context.Context) (release func(), err error) {
	select {
	case r.lock <- struct{}{}:
		return func() { <-r.lock }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// recent returns a listing that began after a time, if there is one, or why
// there was none.
func (r *repository) recent(since time.Time) (*packp.AdvRefs, error) {
	if r.failed != nil && r.failure.After(since) {
		return nil, r.failed
	}
	if r.listed != nil && r.asked.After(since) {
		return r.listed, nil
	}
	return nil, nil
}

// remember keeps a listing for others.
func (r *repository) remember(listed *packp.AdvRefs, asked, ended time.Time, err error) {
	if err != nil {
		r.failed, r.failure = err, ended
		return
	}
	r.listed, r.asked, r.failed = listed, asked, nil
}

// sharing is for how long a listing and a pack serve others: long enough for
// those that come at the same time, and shorter than any interval.
const sharing = 5 * time.Second

// lend keeps the objects of a fetch for those who want another part of them,
// and lets go of them soon: they are the whole repository.
func (r *repository) lend(o *objects, commit plumbing.Hash) {
	r.objects, r.commit = o, commit
	time.AfterFunc(sharing, func() {
		r.lock <- struct{}{}
		defer func() { <-r.lock }()
		if r.objects == o {
			r.objects = nil
		}
	})
}

// isNew reports whether a repository has never been looked at.
func (f fetching) isNew() bool {
	return f.Generation == 1 && f.Status.ObservedGeneration < 1 && f.Annotations[meta.ReconcileRequestAnnotation] == ""
}

// soon is when to look again after a new repository was told what another one
// knew.
const soon = 2 * time.Second

// doubtful reports whether a listing could be older than a new repository:
// creation times have whole seconds.
func (f fetching) doubtful(asked time.Time) bool {
	return f.isNew() && asked.Before(f.CreationTimestamp.Add(time.Second))
}

// since returns from when on a listing must have begun to be news to r. One
// who asked, or whose spec changed, is told nothing that is older.
func since(r fetching, now time.Time) time.Time {
	handled := r.Status.GetLastHandledReconcileRequest() == r.Annotations[meta.ReconcileRequestAnnotation]
	switch {
	case r.Generation == r.Status.ObservedGeneration && handled:
		// Never for so long that it would miss a look of its own.
		return now.Add(-min(sharing, r.Spec.Interval.Duration*3/4))
	case r.isNew():
		return r.CreationTimestamp.Time
	default:
		return now
	}
}
