// Package queue carries out the reads of all objects together: what several
// want from a store within a short window is read once, and in batches where
// the store has them. Each store has a line of its own, with a rate, a number
// of requests at once and a circuit breaker, so that one that is slow or down
// holds up none of the others.
package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unique"

	"k8s.io/apimachinery/pkg/types"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/providers"
)

// Lane says which reads go first.
type Lane int

// Lanes, the most urgent first.
const (
	First    Lane = iota // someone waits: a new object, a changed one, a forced sync
	Repair               // a Secret is not as it should be
	Periodic             // an interval is over
	lanes
)

// How long a line gathers reads before it sends them. Someone waits for the
// first, so they gather only what comes in the same moment.
const (
	firstWindow = 5 * time.Millisecond
	window      = 50 * time.Millisecond
)

// Stores opens stores for a Queue.
type Stores interface {
	// Line names what namespace reads from a store through, or says why it may
	// not. Two namespaces with the same Line get the same answers.
	Line(ctx context.Context, read fetch.Read, namespace string) (string, error)
	// Get returns an open reader of a store.
	Get(ctx context.Context, kind, namespace, name string) (providers.Reader, error)
}

// A Request is what an object wants to know.
type Request struct {
	Object types.NamespacedName
	Reads  []fetch.Read
	Lane   Lane

	// Every is the interval of a Periodic read, 0 for all others: an answer
	// will do that is a small part of it old.
	Every time.Duration

	// Have are the versions of values that the object has, of all of Reads or of
	// none. A Result may be Unchanged, then.
	Have map[fetch.Read]string
}

// fresh is how old an answer may be.
func (r Request) fresh() time.Duration {
	if r.Lane != Periodic {
		return 0
	}
	return min(r.Every/freshPart, freshAtMost)
}

// Queue reads from stores for many objects. Stores is required. It is safe for
// use by many goroutines.
type Queue struct {
	Stores Stores

	// Wake tells an object that now is a good time to ask again: its store has
	// recovered, or another object's read can serve it too. Nil tells no one.
	Wake func(types.NamespacedName, Lane)

	mu       sync.Mutex
	lines    map[string]*line
	expected expectations
}

// Submit asks for the reads of an object, and returns at once. done is called
// once, from another goroutine, with a result for each read.
func (q *Queue) Submit(ctx context.Context, r Request, done func(map[fetch.Read]fetch.Result)) {
	j := &job{object: r.Object, fresh: r.fresh(), every: r.Every, have: r.Have, left: len(r.Reads), results: map[fetch.Read]fetch.Result{}, done: done}
	if j.left == 0 {
		go done(j.results)
		return
	}
	var places []place
	for _, read := range r.Reads {
		name, err := q.Stores.Line(ctx, read, r.Object.Namespace)
		if err != nil {
			go j.finish(read, fetch.Result{Err: unavailable(err)})
			continue
		}
		places = append(places, place{unique.Make(name).Value(), read}) // thousands of objects have the same
	}
	q.asks(r.Object, places)
	for _, p := range places {
		q.line(ctx, p.line, p.read.Store, r.Object.Namespace).add(p.read, r.Lane, j)
	}
}

// Read carries out the reads of an object, and waits for them.
func (q *Queue) Read(ctx context.Context, r Request) (map[fetch.Read]fetch.Result, error) {
	results := make(chan map[fetch.Read]fetch.Result, 1)
	q.Submit(ctx, r, func(m map[fetch.Read]fetch.Result) { results <- m })
	select {
	case m := <-results:
		return m, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("read from the store: %w", ctx.Err())
	}
}

func (q *Queue) line(ctx context.Context, name string, store esv1.SecretStoreRef, namespace string) *line {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lines == nil {
		q.lines = map[string]*line{}
	}
	if q.lines[name] == nil {
		q.sweep()
		q.lines[name] = newLine(q, name)
	}
	l := q.lines[name]
	// The newest asker opens it: an older one may not be admitted any more.
	l.openAs(context.WithoutCancel(ctx), func(ctx context.Context) (providers.Reader, error) {
		return q.Stores.Get(ctx, store.Kind, namespace, store.Name)
	})
	return l
}

// sweep drops the lines of stores that are gone, or were changed since: nobody
// has asked for a long time.
func (q *Queue) sweep() {
	for name, l := range q.lines {
		if l.idle() {
			delete(q.lines, name)
		}
	}
}

// job is a Request on its way.
type job struct {
	object types.NamespacedName
	fresh  time.Duration // how old its answers may be
	every  time.Duration // its interval, if it is periodic
	have   map[fetch.Read]string
	done   func(map[fetch.Read]fetch.Result)

	mu      sync.Mutex
	left    int
	results map[fetch.Read]fetch.Result
}

func (j *job) finish(read fetch.Read, result fetch.Result) {
	j.mu.Lock()
	j.results[read] = result
	j.left--
	last := j.left == 0
	j.mu.Unlock()
	if last {
		j.done(j.results)
	}
}

// unavailable keeps a store that cannot be opened from passing for a secret
// that is gone, which may be deleted here, too.
func unavailable(err error) error {
	if errors.Is(err, providers.ErrNotFound) {
		return fmt.Errorf("%w: %v", providers.ErrUnavailable, err) //nolint:errorlint // the class is hidden on purpose
	}
	return err
}
