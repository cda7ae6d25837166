package pull_test

import "time"

// costs returns what f costs in API writes, API reads and provider reads,
// once all is quiet.
func (b *bench) costs(f func()) (writes, reads, calls int64) {
	b.t.Helper()
	b.quiet()
	w, r, c := b.requests.writes.Load(), b.requests.reads.Load(), b.backend.reads.Load()
	f()
	time.Sleep(700 * time.Millisecond) // for what should not follow
	return b.requests.writes.Load() - w, b.requests.reads.Load() - r, b.backend.reads.Load() - c
}

// quiet waits until what went before has been written: a status comes after
// its Secret, and an Event after both.
func (b *bench) quiet() {
	b.t.Helper()
	before := int64(-1)
	b.eventually("writes to end", func() bool {
		was := before
		before = b.requests.writes.Load()
		time.Sleep(200 * time.Millisecond)
		return before == was
	})
}
