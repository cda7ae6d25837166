package sealedsecret

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler"
)

// conflicts is how often a Secret is read again when someone else wrote it at
// the same moment. Beyond that, the back-off of the loop spreads the attempts.
const conflicts = 3

// write makes the Secret what is wanted, and returns it as it is then. live is
// its metadata as the cache has it, nil if there is none: then it is created
// without a look, as that is one request less for each new SealedSecret.
func (c *Controller) write(ctx context.Context, ss *bitnamiv1alpha1.SealedSecret, live *metav1.PartialObjectMetadata, wanted *corev1.Secret) (*corev1.Secret, error) {
	if live == nil {
		if c.departed.lately(client.ObjectKeyFromObject(wanted)) {
			return nil, reconciler.ErrPending
		}
		created := wanted.DeepCopy()
		err := c.Client.Create(ctx, created)
		if err == nil {
			return created, nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return nil, failed(wanted, err)
		}
	}
	for range conflicts {
		written, err := c.update(ctx, ss, wanted)
		if errors.Is(err, errGone) && live != nil {
			return nil, reconciler.ErrPending // the watch is about to tell, and wakes ss
		}
		if !apierrors.IsConflict(err) {
			return written, err
		}
	}
	return nil, reconciler.Temporary(bitnamiv1alpha1.ReasonUpdateFailed,
		fmt.Errorf("write Secret %q: someone else writes it at the same time", wanted.Name))
}

// update changes the Secret that is there, if it may, and if it differs.
func (c *Controller) update(ctx context.Context, ss *bitnamiv1alpha1.SealedSecret, wanted *corev1.Secret) (*corev1.Secret, error) {
	live := &corev1.Secret{}
	if err := c.Reader.Get(ctx, client.ObjectKeyFromObject(wanted), live); err != nil {
		return nil, missing(wanted, err)
	}
	if !ours(ss, live) {
		// The words of Sealed Secrets, and the way out.
		return nil, reconciler.Final(bitnamiv1alpha1.ReasonUpdateFailed, fmt.Errorf(
			"failed update: Resource %q already exists and %w: delete the Secret, or annotate it with %s: \"true\" to replace it, or %s: \"true\" to add to it",
			live.Name, errUnmanaged, bitnamiv1alpha1.AnnotationManaged, bitnamiv1alpha1.AnnotationPatch))
	}
	next := merge(live, wanted)
	if equality.Semantic.DeepEqual(live, next) {
		return live, nil
	}
	if isImmutable(live) && !equality.Semantic.DeepEqual(live.Data, next.Data) {
		return nil, reconciler.Final(bitnamiv1alpha1.ReasonUpdateFailed, fmt.Errorf(
			"error updating %s/%s: the target Secret is immutable. Once a Secret is marked as immutable, it is not possible to revert this change nor to mutate the contents of the data field. You can only delete and recreate the Secret",
			live.Namespace, live.Name))
	}
	if err := c.Client.Update(ctx, next); err != nil {
		return nil, missing(wanted, err)
	}
	return next, nil
}

// ours says whether a SealedSecret may write a Secret that is there: one that
// it owns, one whose annotations let it, and one that it made itself without
// owning it.
func ours(ss *bitnamiv1alpha1.SealedSecret, live *corev1.Secret) bool {
	target := ss.Status.Target
	return metav1.IsControlledBy(live, ss) ||
		live.Annotations[bitnamiv1alpha1.AnnotationManaged] == "true" ||
		live.Annotations[bitnamiv1alpha1.AnnotationPatch] == "true" ||
		target != nil && target.UID == live.UID && live.Annotations[bitnamiv1alpha1.AnnotationSkipSetOwnerReferences] == "true"
}

func isImmutable(s *corev1.Secret) bool { return s.Immutable != nil && *s.Immutable }

// merge returns live with what is wanted: all of it in the place of what is
// there, or beside it where the annotation says so.
func merge(live, wanted *corev1.Secret) *corev1.Secret {
	next := live.DeepCopy()
	if live.Annotations[bitnamiv1alpha1.AnnotationPatch] == "true" {
		next.Data = merged(live.Data, wanted.Data)
		next.Labels = merged(live.Labels, wanted.Labels)
		next.Annotations = merged(live.Annotations, wanted.Annotations)
	} else {
		next.Data, next.Labels, next.Annotations = wanted.Data, wanted.Labels, wanted.Annotations
	}
	if live.Annotations[bitnamiv1alpha1.AnnotationPatch] != "true" || live.Annotations[bitnamiv1alpha1.AnnotationManaged] == "true" {
		next.OwnerReferences = wanted.OwnerReferences
	}
	if wanted.Type != "" {
		next.Type = wanted.Type
	}
	return next
}

func merged[V any](below, above map[string]V) map[string]V {
	if len(below)+len(above) == 0 {
		return below
	}
	all := make(map[string]V, len(below)+len(above))
	maps.Copy(all, below)
	maps.Copy(all, above)
	return all
}

// errGone says that a Secret was deleted while we were about to change it.
var errGone = errors.New("it was deleted at the same moment")

// missing is failed for a Secret that was there a moment ago.
func missing(secret *corev1.Secret, err error) error {
	if apierrors.IsNotFound(err) {
		return reconciler.Temporary(bitnamiv1alpha1.ReasonUpdateFailed, fmt.Errorf("write Secret %q: %w", secret.Name, errGone))
	}
	return failed(secret, err)
}

// failed makes an error of a write fit to be shown. The API server repeats
// rejected values in its messages, so only its reason and the fields that it
// speaks of are kept.
func failed(secret *corev1.Secret, err error) error {
	if apierrors.IsConflict(err) {
		return err // tried again before anyone sees it
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return reconciler.Temporary(bitnamiv1alpha1.ReasonUpdateFailed, fmt.Errorf("write Secret %q: %w", secret.Name, err))
	}
	s := status.Status()
	text := string(s.Reason)
	if s.Details != nil {
		var fields []string
		for _, cause := range s.Details.Causes {
			if cause.Field != "" {
				fields = append(fields, cause.Field)
			}
		}
		if len(fields) > 0 {
			text += ": see " + strings.Join(fields, ", ")
		}
	}
	return reconciler.Temporary(bitnamiv1alpha1.ReasonUpdateFailed, fmt.Errorf("write Secret %q: the API server refuses it: %s", secret.Name, text))
}
