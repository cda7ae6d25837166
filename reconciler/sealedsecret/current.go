package sealedsecret

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
)

// current says whether the Secret is what the SealedSecret says, by what the
// status remembers and the metadata of the Secret, which is nil if there is
// none.
func current(ss *bitnamiv1alpha1.SealedSecret, live *metav1.PartialObjectMetadata) bool {
	target := ss.Status.Target
	if target == nil || target.Generation != ss.Generation || target.Scope != scopeOf(ss).String() {
		return false
	}
	if live == nil {
		// One that is not ours may be deleted, as in Sealed Secrets.
		return !target.Owned
	}
	if live.UID != target.UID {
		return false
	}
	if live.ResourceVersion == target.ResourceVersion {
		return true
	}
	order, err := resourceversion.CompareResourceVersion(live.ResourceVersion, target.ResourceVersion)
	return err == nil && order < 0 // the cache has not seen our own write yet
}
