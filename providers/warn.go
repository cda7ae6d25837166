package providers

import (
	"context"
	"slices"
	"sync"
)

// Warnings are what a backend has to say of settings that work, but not in the
// way that they look.
type Warnings struct {
	mu  sync.Mutex
	all []string
}

type warningsKey struct{}

// Listen returns a context in which Warn is heard.
func Listen(ctx context.Context) (context.Context, *Warnings) {
	w := &Warnings{}
	return context.WithValue(ctx, warningsKey{}, w), w
}

// Warn says that a setting makes no difference, or another one than it seems
// to: it names the field, why, and the way out, and no value. It is for what
// External Secrets passes over in silence, and would break if it were refused.
func Warn(ctx context.Context, text string) {
	w, ok := ctx.Value(warningsKey{}).(*Warnings)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.all, text) {
		w.all = append(w.all, text)
	}
}

// All returns what was said, each once.
func (w *Warnings) All() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}
