package sealedsecret

import (
	"errors"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
)

// uses counts the items that each key opened.
type uses struct {
	first string // the fingerprint that opened the first item
	items map[string]int32
}

func (u *uses) add(fingerprint string) {
	if u.items == nil {
		u.first, u.items = fingerprint, map[string]int32{}
	}
	u.items[fingerprint]++
}

// several returns the keys if there is more than one.
func (u *uses) several() []bitnamiv1alpha1.KeyUse {
	if len(u.items) < 2 {
		return nil
	}
	var all []bitnamiv1alpha1.KeyUse
	for _, key := range slices.Sorted(maps.Keys(u.items)) {
		all = append(all, bitnamiv1alpha1.KeyUse{Key: key, Items: u.items[key]})
	}
	return all
}

// sealedWithRetired says whether an item of ss was sealed with a key that is
// retired now, by what the status remembers, and with which.
func (c *Controller) sealedWithRetired(ss *bitnamiv1alpha1.SealedSecret) (is bool, key string) {
	if ss.Status.Target == nil || ss.Status.Target.Generation != ss.Generation {
		return false, ""
	}
	for _, u := range ss.Uses() {
		if c.Keys.Retired(u.Key) {
			return true, u.Key
		}
	}
	return false, ""
}

// tellRetired sets the condition SealedWithRetiredKey, or takes it away. err is
// why ss could not be opened.
func (c *Controller) tellRetired(ss *bitnamiv1alpha1.SealedSecret, err error) {
	conditions := ss.GetConditions()
	is, key := c.sealedWithRetired(ss)
	if !is && !errors.Is(err, sealer.ErrRetired) {
		if meta.RemoveStatusCondition(&conditions, bitnamiv1alpha1.SealedWithRetiredKey) {
			ss.SetConditions(conditions)
		}
		return
	}
	if key != "" {
		key = ", " + key
	}
	meta.SetStatusCondition(&conditions, metav1.Condition{
		Type: bitnamiv1alpha1.SealedWithRetiredKey, Status: metav1.ConditionTrue, Reason: bitnamiv1alpha1.ReasonRetiredKey,
		Message: "a value was sealed with a key that is retired" + key + ": seal it again with lockstep reseal",
	})
	ss.SetConditions(conditions)
}
