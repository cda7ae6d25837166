package providers

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Retries is how often what failed is tried again at once. The zero value
// tries once.
type Retries struct {
	Max  int           // further tries
	Wait time.Duration // before each
}

// patience is how long the tries of one request may wait in all: nobody waits
// longer for an answer.
const patience = 10 * time.Second

// temporary reports whether err may be gone in a moment. A service that asks
// for fewer requests is not: the pace of the store sees to that one.
func temporary(err error) bool {
	for _, class := range []error{ErrNotFound, ErrDenied, ErrThrottled, ErrInvalid, ErrForeign} {
		if errors.Is(err, class) {
			return false
		}
	}
	return err != nil
}

// do calls f until it works, or its error is one that stays.
func (t Retries) do(ctx context.Context, f func() error) error {
	err := f()
	for tries, waited := 0, t.Wait; tries < t.Max && temporary(err) && waited <= patience; tries, waited = tries+1, waited+t.Wait {
		if end, ok := ctx.Deadline(); ok && time.Until(end) <= t.Wait {
			return err // the answer would be too late
		}
		timer := time.NewTimer(t.Wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		err = f()
	}
	return err
}

// Open returns open with tries, and so are the requests of what it opens.
func (t Retries) Open(open Open) Open {
	if t.Max <= 0 {
		return open
	}
	return func(ctx context.Context, config Config) (Reader, error) {
		var r Reader
		err := t.do(ctx, func() (err error) {
			r, err = open(ctx, config)
			return err
		})
		if err != nil {
			return nil, err
		}
		return t.reader(r), nil
	}
}

type (
	retriedReader struct {
		to Reader
		by Retries
	}
	retriedBatches struct {
		to BatchReader
		by Retries
	}
	retriedFinder struct {
		to Finder
		by Retries
	}
	retriedMetadata struct {
		to MetadataReader
		by Retries
	}
	retriedWriter struct {
		to Writer
		by Retries
	}
)

// Read implements Reader.
func (r retriedReader) Read(ctx context.Context, ref Ref) (v Value, err error) {
	err = r.by.do(ctx, func() error { v, err = r.to.Read(ctx, ref); return err })
	return v, err
}

// WithoutRetries returns the Reader that r adds tries to, with what else that
// one can do; r itself if it adds none.
func WithoutRetries(r Reader) Reader {
	if tries, ok := r.(interface{ without() Reader }); ok {
		return tries.without()
	}
	return r
}

func (r retriedReader) without() Reader { return r.to }

// ReadAll implements BatchReader. Only what failed is read again.
func (r retriedBatches) ReadAll(ctx context.Context, refs []Ref) []Result {
	results := make([]Result, len(refs))
	left := make([]int, len(refs))
	for i := range left {
		left[i] = i
	}
	_ = r.by.do(ctx, func() error { // the results have the errors
		ask := make([]Ref, len(left))
		for i, at := range left {
			ask[i] = refs[at]
		}
		var failed []int
		var err error
		for i, result := range r.to.ReadAll(ctx, ask) {
			results[left[i]] = result
			if temporary(result.Err) {
				failed, err = append(failed, left[i]), result.Err
			}
		}
		left = failed
		return err
	})
	return results
}

// Find implements Finder.
func (r retriedFinder) Find(ctx context.Context, query Query) (found []string, err error) {
	err = r.by.do(ctx, func() error { found, err = r.to.Find(ctx, query); return err })
	return found, err
}

// Metadata implements MetadataReader.
func (r retriedMetadata) Metadata(ctx context.Context, ref Ref) (v Value, err error) {
	err = r.by.do(ctx, func() error { v, err = r.to.Metadata(ctx, ref); return err })
	return v, err
}

// Write implements Writer.
func (r retriedWriter) Write(ctx context.Context, to Target, v Value, metadata json.RawMessage) error {
	return r.by.do(ctx, func() error { return r.to.Write(ctx, to, v, metadata) })
}

// Delete implements Writer.
func (r retriedWriter) Delete(ctx context.Context, to Target) error {
	return r.by.do(ctx, func() error { return r.to.Delete(ctx, to) })
}
