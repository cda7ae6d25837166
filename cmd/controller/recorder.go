package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// recorder sends Warnings by a queue of their own. That of client-go holds 1000
// Events and drops what comes when it is full: in a flood, as when thousands of
// objects are made at once, four of five. None of those may be the one Warning
// among them.
type recorder struct{ normal, warnings record.EventRecorder }

// newRecorder returns one that sends until mgr ends.
func newRecorder(mgr ctrl.Manager, name string) (recorder, error) {
	api, err := typedcorev1.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return recorder{}, fmt.Errorf("make a client for events: %w", err)
	}
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: api.Events("")})
	stop := func(ctx context.Context) error {
		<-ctx.Done()
		broadcaster.Shutdown()
		return nil
	}
	if err := mgr.Add(manager.RunnableFunc(stop)); err != nil {
		return recorder{}, fmt.Errorf("add the end of events: %w", err)
	}
	return recorder{
		normal:   mgr.GetEventRecorderFor(name), //nolint:staticcheck // SA1019: the new events API has no counterpart of the series that people's dashboards read
		warnings: broadcaster.NewRecorder(mgr.GetScheme(), corev1.EventSource{Component: name}),
	}, nil
}

func (r recorder) of(kind string) record.EventRecorder {
	if kind == corev1.EventTypeWarning {
		return r.warnings
	}
	return r.normal
}

// Event implements record.EventRecorder.
func (r recorder) Event(object runtime.Object, kind, reason, message string) {
	r.of(kind).Event(object, kind, reason, message)
}

// Eventf implements record.EventRecorder.
func (r recorder) Eventf(object runtime.Object, kind, reason, format string, args ...any) {
	r.of(kind).Eventf(object, kind, reason, format, args...)
}

// AnnotatedEventf implements record.EventRecorder.
func (r recorder) AnnotatedEventf(object runtime.Object, annotations map[string]string, kind, reason, format string, args ...any) { //nolint:revive // argument-limit: the interface has so many
	r.of(kind).AnnotatedEventf(object, annotations, kind, reason, format, args...)
}
