package main

import (
	"context"

	"k8s.io/client-go/tools/record"

	"github.com/lockstep-dev/lockstep/externalsecrets/events"
	"github.com/lockstep-dev/lockstep/externalsecrets/pull"
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
)

// hints makes what services tell of changes due at once.
func hints(o *options, open *stores.Stores, puller *pull.Controller, recorder record.EventRecorder) *events.Controller {
	return &events.Controller{
		Client: open.Client, Reader: open.Reader, Recorder: recorder, Open: open.Open, Addr: o.eventsAddr,
		Due: func(ctx context.Context, store events.Store, keys []string) {
			puller.Due(ctx, store.Kind(), store.Namespace, store.Name, keys)
		},
	}
}
