// Package reconciler is the one loop that every controller of the suite runs
// in: it owns finalizers, the single status patch, conditions, events and the
// retry decision, so that a controller is a function apply(ctx, object) error.
package reconciler
