package providers_test

import (
	"context"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockstep-dev/lockstep/providers"
)

func TestWarnings(t *testing.T) {
	providers.Warn(t.Context(), "nobody listens")
	ctx, heard := providers.Listen(t.Context())
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { providers.Warn(inner, "spec.a: it makes no difference") })
	}
	wg.Wait()
	providers.Warn(ctx, "spec.b: nor does this")
	if diff := cmp.Diff([]string{"spec.a: it makes no difference", "spec.b: nor does this"}, heard.All()); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}
