package kustomization

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/lockstep-dev/lockstep/reconciler/apply"
	"github.com/lockstep-dev/lockstep/reconciler/health"
	"github.com/lockstep-dev/lockstep/reconciler/plan"
	"github.com/lockstep-dev/lockstep/reconciler/render"
)

// parallel is how many objects of one stage are applied at once. The API
// server of a small cluster answers about 8 at a time without queueing.
const parallel = 8

// stages applies, stage after stage. A stage in which an object is refused
// stops those behind it. Objects of a kind that is not served, yet or at the
// moment, stop nothing: they are what is left over.
func (r *run) stages(ctx context.Context, stages [][]plan.Action) error {
	var over []error
	for _, stage := range stages {
		ready, undefined := r.split(stage)
		failed, left := r.stage(ctx, ready)
		if len(failed) > 0 {
			return r.failed(first(failed))
		}
		over = append(append(over, undefined...), left...)
	}
	if len(over) == 0 {
		return nil
	}
	unserved := slices.DeleteFunc(slices.Clone(over), waitable)
	if len(unserved) > 0 {
		return r.failed(first(unserved))
	}
	return r.await(meta.HealthCheckFailedReason, time.Second, first(over))
}

// errEstablishing says that a kind is not there yet, but on its way.
var errEstablishing = errors.New("its kind is not established")

// waitable reports whether what an error tells of passes by itself.
func waitable(err error) bool {
	return errors.Is(err, errEstablishing) || errors.Is(err, apply.ErrTerminating)
}

// split tells the objects that can be applied from those whose kind is defined
// among the objects, but not established.
func (r *run) split(stage []plan.Action) (ready []plan.Action, left []error) {
	undefined := r.undefined()
	for _, a := range stage {
		if err := undefined[a.ID.GroupKind]; err != nil {
			left = append(left, fmt.Errorf("%s: %w", render.Name(a.Desired), err))
			continue
		}
		ready = append(ready, a)
	}
	return ready, left
}

// undefined returns the kinds whose definitions are among the objects but not
// established, and what to say about each.
func (r *run) undefined() map[schema.GroupKind]error {
	kinds := map[schema.GroupKind]error{}
	for _, o := range r.state.rendered.objects {
		if o.ID.GroupKind.Kind != "CustomResourceDefinition" {
			continue
		}
		live, ok := r.watcher.Get(r.target(r.ks, o), o.ID)
		if ok && live.Health.Status == health.Current {
			continue
		}
		group, _, _ := unstructured.NestedString(o.Desired.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(o.Desired.Object, "spec", "names", "kind")
		class := errEstablishing
		if live.Health.Status == health.Failed {
			class = apply.ErrNoKind // it will not be by itself
		}
		kinds[schema.GroupKind{Group: group, Kind: kind}] = fmt.Errorf("%w: %s: %s", class, render.Name(o.Desired), cmp.Or(live.Health.Message, "it was not seen yet"))
	}
	return kinds
}

// stage applies objects in parallel. left are the errors of those whose kind
// is not there, or that are on their way out.
func (r *run) stage(ctx context.Context, actions []plan.Action) (failed, left []error) {
	var (
		mu    sync.Mutex
		group errgroup.Group
		hung  = map[schema.GroupKind]int{}
	)
	group.SetLimit(parallel)
	// What had no answer in the last run comes last, or it would keep others
	// from their turn for good.
	slices.SortStableFunc(actions, func(a, b plan.Action) int { return compare(r.state.hung[a.ID], r.state.hung[b.ID]) })
	for _, a := range actions {
		group.Go(func() error {
			mu.Lock()
			before, silent := r.state.applied[a.ID], hung[a.ID.GroupKind] >= parallel
			mu.Unlock()
			is, err := applied{}, errHung
			if !silent {
				is, err = r.applyOne(ctx, a, before)
			}
			mu.Lock()
			defer mu.Unlock()
			if hangs(err) {
				hung[a.ID.GroupKind]++
				r.state.hung[a.ID] = true
			} else if !silent {
				delete(r.state.hung, a.ID)
			}
			switch {
			case err == nil:
				r.state.applied[a.ID] = is
				r.state.attempt.changed = true
			case passing(err):
				left = append(left, fmt.Errorf("%s: %w", render.Name(a.Desired), err))
			default:
				failed = append(failed, fmt.Errorf("%s: %w", render.Name(a.Desired), err))
			}
			return nil
		})
	}
	_ = group.Wait() // the functions return none
	return failed, left
}

// compare orders false before true.
func compare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// objectTimeout bounds the apply of one object: more than an admission webhook
// may take. Source: timeoutSeconds of a webhook, 30 at most.
const objectTimeout = 40 * time.Second

// errHung says that an object was not tried: as many of its kind as are
// applied at once had no answer, so that a webhook that hangs keeps a run no
// longer than one of them.
var errHung = errors.New("was not tried, as others of its kind had no answer: see the admission webhooks for the kind")

// hangs reports whether the API server, or a webhook that it asks, did not
// answer.
func hangs(err error) bool {
	return err != nil && (errors.Is(err, context.DeadlineExceeded) || apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) ||
		apierrors.IsInternalError(err) && strings.Contains(err.Error(), "failed calling webhook"))
}

// passing reports whether an error is about one kind of objects, or one
// object on its way out, and says nothing about others.
func passing(err error) bool {
	return errors.Is(err, apply.ErrTerminating) || errors.Is(err, apply.ErrNoKind) ||
		errors.Is(err, apply.ErrUnserved) || apierrors.IsServiceUnavailable(err)
}

func (r *run) applyOne(ctx context.Context, a plan.Action, before applied) (applied, error) {
	ctx, cancel := context.WithTimeout(ctx, objectTimeout)
	defer cancel()
	target := r.target(r.ks, a.Object)
	seen, _ := r.watcher.Get(target, a.ID)
	out, err := r.client.Apply(ctx, a.Desired, apply.Options{
		Known:    before.uid != "" && !before.skipped,
		Recreate: r.ks.Spec.Force || apply.Recreatable(a.Desired),
		Ignore:   r.state.compiled.ignores(a.Desired),
	})
	if err != nil {
		return applied{}, err
	}
	is := applied{hash: a.Hash, fight: before.fight, skipped: out.Skipped}
	log := ctrl.LoggerFrom(ctx).WithValues("object", render.Name(a.Desired), "why", a.Why, "revision", r.revision)
	if out.Skipped {
		log.Info("left as it is")
		return is, nil
	}
	log.Info("applied", "recreated", out.Recreated)
	live := r.watcher.Saw(target, out.Live)
	is.uid, is.owned = live.UID, live.Owned
	if a.Why == plan.Drifted && live.Version != seen.Version {
		r.corrected(a, seen, &is.fight)
	}
	return is, nil
}

// corrected tells that an object was put right, and who had written it.
func (r *run) corrected(a plan.Action, seen apply.Observed, f *fight) {
	what := "was deleted by someone else"
	if seen.UID != "" {
		what = "was changed by " + cmp.Or(seen.Writer, "someone else")
	}
	r.Recorder.Eventf(r.ks, corev1.EventTypeNormal, "DriftCorrected", "%s %s: put back as in revision %s", render.Name(a.Desired), what, r.revision)
	now := time.Now() //nolint:forbidigo // the Loop has no clock of its own
	if f.again(now) {
		r.Recorder.Eventf(r.ks, corev1.EventTypeWarning, "DriftFight", "%s %s %d times in a row: left in peace for %s; stop the other writer, or leave the fields to it by spec.ignore",
			render.Name(a.Desired), what, f.times, f.until.Sub(now))
	}
}

// first returns the first of several errors, by text so that the same failures
// give the same message, and how many there are besides.
func first(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	slices.SortFunc(errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	if len(errs) == 1 {
		return errs[0]
	}
	return fmt.Errorf("%w (and %d more objects)", errs[0], len(errs)-1)
}
