package pull

import (
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/reconciler"
)

// action is what to do about an ExternalSecret now.
type action int

const (
	nothing action = iota // all is as it should be
	repair                // write the target again, from memory
	refresh               // read the store
)

const (
	// defaultInterval is that of External Secrets Operator.
	defaultInterval = time.Hour

	// jitter is the part of an interval by which a refresh comes later, at most:
	// what was made together does not come back together for ever. It comes
	// from the object's UID, so that a restart changes nothing.
	jitter = 0.1

	// lag is how long the cache may take to show a Secret that was just made.
	lag = 2 * time.Second
)

// decide looks at es, at what is remembered of it, at the target's metadata
// (nil if there is none), and at the versions of its stores.
func decide(es *esv1.ExternalSecret, m *memory, live *metav1.PartialObjectMetadata, stores string, now time.Time) action {
	switch {
	case due(es, m, stores, now):
		return refresh
	case !drifted(es, m, live, now):
		return nothing
	case m.desired == nil || m.synced != es.Status.SyncedResourceVersion:
		return refresh
	default:
		return repair
	}
}

// due reports whether the store must be read.
func due(es *esv1.ExternalSecret, m *memory, stores string, now time.Time) bool {
	ready := meta.FindStatusCondition(es.GetConditions(), reconciler.Ready)
	if es.Status.RefreshTime.IsZero() || ready == nil || ready.Status != metav1.ConditionTrue {
		return true // never read, or not with success
	}
	if es.Status.Target == nil && ready.Reason == esv1.ReasonSecretSynced && ready.Message != messageRetained && policy(es) != esv1.CreateNone {
		return true // read by External Secrets Operator, and not yet by us
	}
	if es.Spec.RefreshPolicy == esv1.RefreshCreatedOnce {
		return false
	}
	if es.Status.SyncedResourceVersion != syncedVersion(es) || m.stores != "" && m.stores != stores {
		return true
	}
	if !periodic(es) {
		return false
	}
	if now.Before(next(es, m)) && lastRead(es, m).Sub(now) <= time.Minute {
		return false
	}
	return m.windows.admits(now)
}

// periodic reports whether the store is read every interval.
func periodic(es *esv1.ExternalSecret) bool {
	return es.Spec.RefreshPolicy != esv1.RefreshCreatedOnce && es.Spec.RefreshPolicy != esv1.RefreshOnChange && interval(es) > 0
}

// ready reports whether the last read was a success.
func ready(es *esv1.ExternalSecret) bool {
	return meta.IsStatusConditionTrue(es.GetConditions(), reconciler.Ready)
}

// lastRead is when the stores were last read with success, as far as is known.
func lastRead(es *esv1.ExternalSecret, m *memory) time.Time {
	if last := es.Status.RefreshTime; last != nil && last.After(m.read) {
		return last.Time
	}
	return m.read
}

// next is when the stores are to be read again.
func next(es *esv1.ExternalSecret, m *memory) time.Time {
	every := interval(es)
	h := fnv.New64a()
	_, _ = h.Write([]byte(es.UID)) // a hash never fails
	share := float64(h.Sum64()>>11) / (1 << 53)
	at := lastRead(es, m).Add(every + time.Duration(jitter*share*float64(every)))
	if renew := es.Status.RenewTime; renew != nil && renew.Time.Before(at) {
		return renew.Time
	}
	return at
}

// coarse is how old the refresh time in the status may be while reads find
// nothing new: ten intervals, and an hour at most.
func coarse(every time.Duration) time.Duration { return min(10*every, time.Hour) }

// drifted reports whether the target is to be put right although the store is
// not to be read. An orphan is looked at when it is read next, as the peer does.
func drifted(es *esv1.ExternalSecret, m *memory, live *metav1.PartialObjectMetadata, now time.Time) bool {
	return policy(es) != esv1.CreateOrphan && differs(es, m, live, now)
}

// differs reports whether the target is not as it was last written.
func differs(es *esv1.ExternalSecret, m *memory, live *metav1.PartialObjectMetadata, now time.Time) bool {
	written, settled := es.Status.Target, now.Sub(m.wrote) > lag
	switch {
	case written == nil: // nothing was to be written: None, or deleted, or no values
		return false
	case live == nil:
		return m.seen == written.UID || settled
	case live.ResourceVersion == written.ResourceVersion:
		return false
	default:
		order, err := resourceversion.CompareResourceVersion(live.ResourceVersion, written.ResourceVersion)
		// An older one is a cache that lags behind.
		return err != nil || order > 0 || live.UID != written.UID && settled
	}
}

// interval is the time between two reads; 0 or less is never again.
func interval(es *esv1.ExternalSecret) time.Duration {
	if es.Spec.RefreshInterval == nil {
		return defaultInterval
	}
	return es.Spec.RefreshInterval.Duration
}

// every is when the Loop should come back after a success; 0 is never. The next
// read has an alarm of its own: it comes at its time, and not about then.
func (c *Controller) every(es *esv1.ExternalSecret) time.Duration {
	now, m := time.Now(), c.memories.of(es) //nolint:forbidigo // the Loop has no clock of its own
	object := client.ObjectKeyFromObject(es)
	var expected queue.Expectation
	if periodic(es) {
		at := next(es, m)
		if at.Before(now) {
			at = now
		}
		if at = m.windows.first(at); !at.IsZero() {
			expected = queue.Expectation{Due: at, Every: interval(es), Versions: m.versions}
			if m.windows != nil {
				expected.From = at
			}
			c.alarm.set(object, queue.Periodic, at.Sub(now))
		}
	}
	c.queue.Expect(object, expected)
	if open, after := c.tickets.hinted(object); open {
		c.alarm.set(object, queue.Repair, after)
	}
	// A Secret that someone deletes before the cache ever shows it is missed by
	// the watch: look once more when the cache has had its time.
	if es.Status.Target != nil && m.seen != es.Status.Target.UID && now.Sub(m.wrote) <= lag {
		return lag + lag/10
	}
	return 0
}

// policy is the creation policy, Owner if none is set.
func policy(es *esv1.ExternalSecret) esv1.CreationPolicy {
	if es.Spec.Target.CreationPolicy == "" {
		return esv1.CreateOwner
	}
	return es.Spec.Target.CreationPolicy
}

func deletion(es *esv1.ExternalSecret) esv1.DeletionPolicy {
	if es.Spec.Target.DeletionPolicy == "" {
		return esv1.DeletionRetain
	}
	return es.Spec.Target.DeletionPolicy
}

// fits refuses policies that contradict each other. The schema does, too, but
// not that of an older version, or of External Secrets Operator.
func fits(es *esv1.ExternalSecret) error {
	created, deleted := policy(es), deletion(es)
	switch {
	case deleted == esv1.DeletionDelete && created != esv1.CreateOwner && created != esv1.CreateOrphan:
		return fmt.Errorf("spec.target.deletionPolicy: Delete would delete a Secret of someone else with creationPolicy %s: set creationPolicy: Owner, or another deletionPolicy", created)
	case deleted == esv1.DeletionMerge && created == esv1.CreateNone:
		return errors.New("spec.target.deletionPolicy: Merge has nothing to work on with creationPolicy None: remove one of the two")
	default:
		return nil
	}
}

func targetName(es *esv1.ExternalSecret) string {
	if es.Spec.Target.Name == "" {
		return es.Name
	}
	return es.Spec.Target.Name
}

// syncedVersion changes with everything of es that a user can change. It is
// spelled as External Secrets Operator does, so that moving from it reads
// nothing anew for that reason.
func syncedVersion(es *esv1.ExternalSecret) string {
	type metadata struct{ annotations, labels map[string]string }
	return fmt.Sprintf("%d-%s", es.Generation, hash(fmt.Sprintf("%+v", metadata{es.Annotations, es.Labels})))
}

// hash is SHA3-224 in hex; of names and metadata only, never of a value.
func hash(text string) string {
	sum := sha3.Sum224([]byte(text))
	return hex.EncodeToString(sum[:])
}
