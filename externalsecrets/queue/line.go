package queue

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/providers"
)

const (
	// atOnce is how many requests a store gets at the same time.
	atOnce = 8

	// batchSize is how many secrets are asked for together: what AWS Secrets
	// Manager takes in one BatchGetSecretValue.
	batchSize = 20

	// callTimeout is for one request with all its tries: a store that does not
	// answer is given up on.
	callTimeout = 10 * time.Second
)

// line is the reads that wait for one store.
type line struct {
	queue *Queue
	name  string

	mu       sync.Mutex
	ctx      context.Context //nolint:containedctx // of the newest asker, without its end: it carries the logger
	open     func(context.Context) (providers.Reader, error)
	asked    time.Time // last
	calls    map[fetch.Read]*call
	waiting  [lanes][]*call
	workers  int
	batch    int         // secrets per request; 0 until the store was opened
	timer    *time.Timer // of the window; nil if none is open
	closes   time.Time   // when the window does
	pace     *pace
	breaker  breaker
	writers  writers
	stranded map[types.NamespacedName]bool // objects that failed because the store is down
	shelf    shelf
	lists    lists
}

// call is one read for all jobs that want it.
type call struct {
	read    fetch.Read
	lane    Lane
	jobs    []*job
	next    []*job // that came when it was sent already: they want an answer that is newer
	urgent  Lane   // of next
	running bool
	sent    time.Time                     // when it was
	wanted  map[types.NamespacedName]bool // objects that it is read for, besides jobs: they come for it later
}

func newLine(q *Queue, name string) *line {
	return &line{queue: q, name: name, calls: map[fetch.Read]*call{}, pace: newPace(), stranded: map[types.NamespacedName]bool{}}
}

func (l *line) openAs(ctx context.Context, open func(context.Context) (providers.Reader, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ctx, l.open, l.asked = ctx, open, time.Now() //nolint:forbidigo // a line has the process's clock; tests have that of synctest
}

// forgotten is how long nobody may have asked until a line is dropped. What it
// has learnt about the store's pace would be out of date, too.
const forgotten = time.Hour

func (l *line) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.calls) == 0 && l.writers.busy == 0 && len(l.writers.waiting) == 0 && time.Since(l.asked) > forgotten
}

// add puts a job for a read in line.
func (l *line) add(read fetch.Read, lane Lane, j *job) {
	l.mu.Lock()
	if err := l.breaker.err; err != nil {
		l.stranded[j.object] = true
		l.mu.Unlock()
		go j.finish(read, fetch.Result{Err: err})
		return
	}
	if result, ok := l.shelf.take(read, j); ok {
		l.mu.Unlock()
		go j.finish(read, result)
		return
	}
	l.put(read, lane, j)
	l.mu.Unlock()
}

func (l *line) put(read fetch.Read, lane Lane, j *job) {
	c := l.calls[read]
	switch {
	case c != nil && c.running && c.serves(j):
		c.jobs = append(c.jobs, j)
		return
	case c != nil && c.running:
		c.next, c.urgent = append(c.next, j), min(c.urgent, lane)
		return
	case c != nil:
		c.jobs = append(c.jobs, j)
		if lane < c.lane {
			l.waiting[c.lane] = slices.DeleteFunc(l.waiting[c.lane], func(o *call) bool { return o == c })
			c.lane = lane
			l.waiting[lane] = append(l.waiting[lane], c)
		}
	default:
		l.enqueue(&call{read: read, lane: lane, jobs: []*job{j}})
	}
	l.openWindow(lane)
}

// serves reports whether the answer of a call that was sent is new enough for
// a job.
func (c *call) serves(j *job) bool {
	return j.fresh > 0 && (c.wanted[j.object] || time.Since(c.sent) <= j.fresh)
}

func (l *line) enqueue(c *call) {
	c.urgent = lanes
	l.calls[c.read] = c
	l.waiting[c.lane] = append(l.waiting[c.lane], c)
}

// openWindow makes sure that the line sends what waits, soon.
func (l *line) openWindow(lane Lane) {
	wait := window
	if lane == First {
		wait = firstWindow
	}
	closes := time.Now().Add(wait) //nolint:forbidigo // a line has the process's clock; tests have that of synctest
	if l.timer != nil {
		if closes.Before(l.closes) {
			l.timer.Reset(wait)
			l.closes = closes
		}
		return
	}
	l.closes = closes
	l.timer = time.AfterFunc(wait, l.send)
}

// send closes the window, and lets workers carry out what waits.
func (l *line) send() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = nil
	l.hire()
}

// hire starts as many workers as there is work for. The first finds out
// whether the store is there, and how much it takes at once.
func (l *line) hire() {
	want := 1
	if l.batch > 0 && l.breaker.closed() {
		want = min(atOnce, (l.length()+l.batch-1)/l.batch)
	}
	for l.workers < want && l.length() > 0 {
		l.workers++
		go l.work(l.ctx)
	}
}

func (l *line) length() (n int) {
	for _, w := range l.waiting {
		n += len(w)
	}
	return n
}

// work sends requests until nothing waits.
func (l *line) work(ctx context.Context) {
	for l.goesOn() {
		l.pace.wait(ctx)
		reader, err := l.reader(ctx)
		if calls := l.take(reader); len(calls) > 0 && !l.look(ctx, reader, calls) {
			calls = l.takeAlong(calls)
			l.finish(calls, carryOut(ctx, reader, err, calls))
		}
	}
}

// goesOn lets a worker go that has nothing to do.
func (l *line) goesOn() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.length() == 0 {
		l.workers--
		return false
	}
	return true
}

// reader opens the store.
func (l *line) reader(ctx context.Context) (providers.Reader, error) {
	l.mu.Lock()
	open := l.open
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reader, err := open(ctx)
	return reader, unavailable(err)
}

// take returns what goes into the next request, the most urgent first.
func (l *line) take(reader providers.Reader) []*call {
	l.mu.Lock()
	defer l.mu.Unlock()
	if reader != nil {
		l.batch = 1
		if _, ok := reader.(providers.BatchReader); ok {
			l.batch = batchSize
		}
	}
	var taken []*call
	for lane := range l.waiting {
		for len(l.waiting[lane]) > 0 && len(taken) < max(l.batch, 1) {
			c := l.waiting[lane][0]
			if alone := !c.read.Plain() || len(taken) > 0 && !taken[0].read.Plain(); alone && len(taken) > 0 {
				break // one of them goes alone
			}
			l.waiting[lane][0] = nil // or the array would hold it, and the values in it, for as long as others wait
			l.waiting[lane] = l.waiting[lane][1:]
			taken = append(taken, c.send())
		}
		if len(l.waiting[lane]) == 0 {
			l.waiting[lane] = nil
		}
	}
	l.hire()
	return taken
}

// send marks a call as being sent now.
func (c *call) send() *call {
	c.running, c.sent = true, time.Now() //nolint:forbidigo // a line has the process's clock; tests have that of synctest
	return c
}

// finish hands out results, and puts back in line what was asked for again
// meanwhile.
func (l *line) finish(calls []*call, results []fetch.Result) {
	for i, c := range calls {
		if results[i].At.IsZero() {
			results[i].At = c.sent
		}
		if results[i].Err == nil && !results[i].Unchanged { // which is no news for who has failed
			l.wantToo(c, l.queue.failing(place{l.name, c.read}))
		}
	}
	l.mu.Lock()
	l.judge(calls, results)
	for i, c := range calls {
		delete(l.calls, c.read)
		c.unlike(results[i])
		if len(c.next) > 0 {
			l.enqueue(&call{read: c.read, lane: c.urgent, jobs: c.next})
			l.openWindow(c.urgent)
		}
		l.shelve(c, results[i])
	}
	refused := l.refuse()
	l.mu.Unlock()
	for i, c := range calls {
		for _, j := range c.jobs {
			j.finish(c.read, copied(results[i]))
		}
	}
	for _, r := range refused {
		r()
	}
	l.tell(calls)
}

// copied gives each object values of its own: whoever reads owns the bytes.
func copied(r fetch.Result) fetch.Result {
	if r.Err != nil {
		return r
	}
	if r.Unchanged {
		return r
	}
	out := fetch.Result{At: r.At, Version: r.Version, Value: providers.NewValue(slices.Clone(r.Value.Bytes()))}
	if r.Values != nil {
		out.Values = make(map[string]providers.Value, len(r.Values))
		for key, value := range r.Values {
			out.Values[key] = providers.NewValue(slices.Clone(value.Bytes()))
		}
	}
	return out
}
