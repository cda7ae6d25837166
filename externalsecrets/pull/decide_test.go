package pull

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/template"
	"github.com/lockstep-dev/lockstep/reconciler"
)

func TestDecide(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	type situation struct {
		es     *esv1.ExternalSecret
		m      *memory
		live   *metav1.PartialObjectMetadata
		stores string
	}
	seen := func(uid, version string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), ResourceVersion: version}}
	}
	cases := map[string]struct {
		reason string
		change func(s *situation)
		want   action
	}{
		"AsItShouldBe": {"Nothing is to be done.", func(*situation) {}, nothing},
		"AfterRestart": {"Nor after a restart.", func(s *situation) { s.m = &memory{} }, nothing},
		"NeverRead":    {"A new object is read.", func(s *situation) { s.es.Status = esv1.ExternalSecretStatus{} }, refresh},
		"Failed":       {"So is one that failed.", func(s *situation) { s.es.Status.Conditions[0].Status = "False" }, refresh},
		"FromPeer":     {"So is one that the peer has read, as we do not know what it wrote.", func(s *situation) { s.es.Status.Target = nil }, refresh},
		"Retained":     {"One without values has no target, and that is fine.", func(s *situation) { s.es.Status.Target, s.es.Status.Conditions[0].Message = nil, messageRetained }, nothing},
		"Deleted": {"Nor has one whose Secret was deleted by policy.", func(s *situation) {
			s.es.Status.Target, s.es.Status.Conditions[0].Reason = nil, esv1.ReasonSecretDeleted
		}, nothing},
		"Due":    {"When the interval and a tenth are over, the store is read.", func(s *situation) { s.es.Status.RefreshTime.Time = now.Add(-66 * time.Minute) }, refresh},
		"NotDue": {"Before the interval is over, it is not.", func(s *situation) { s.es.Status.RefreshTime.Time = now.Add(-59 * time.Minute) }, nothing},
		"ReadInSilence": {"What this process read counts, though the status does not say so.", func(s *situation) {
			s.es.Status.RefreshTime.Time = now.Add(-66 * time.Minute)
			s.m.read = now.Add(-10 * time.Minute)
		}, nothing},
		"Future": {"A time in the future is no time.", func(s *situation) { s.es.Status.RefreshTime.Time = now.Add(time.Hour) }, refresh},
		"Zero": {"Interval 0 never ends.", func(s *situation) {
			s.es.Spec.RefreshInterval = &metav1.Duration{}
			s.es.Status.RefreshTime.Time = now.Add(-999 * time.Hour)
		}, nothing},
		"ZeroButChanged": {"But a change is read.", func(s *situation) { s.es.Spec.RefreshInterval = &metav1.Duration{}; s.es.Generation++ }, refresh},
		"SpecChanged":    {"A changed spec is read.", func(s *situation) { s.es.Generation++ }, refresh},
		"Annotated":      {"So is a changed annotation.", func(s *situation) { s.es.Annotations = map[string]string{"force-sync": "1"} }, refresh},
		"StoreChanged":   {"So is a changed store.", func(s *situation) { s.stores = "other" }, refresh},
		"OnChange": {"OnChange does not look at the time.", func(s *situation) {
			s.es.Spec.RefreshPolicy = esv1.RefreshOnChange
			s.es.Status.RefreshTime.Time = now.Add(-999 * time.Hour)
		}, nothing},
		"OnChangeChanged": {"It looks at changes.", func(s *situation) { s.es.Spec.RefreshPolicy = esv1.RefreshOnChange; s.es.Generation++ }, refresh},
		"CreatedOnce": {"CreatedOnce looks at nothing.", func(s *situation) {
			s.es.Spec.RefreshPolicy = esv1.RefreshCreatedOnce
			s.es.Generation++
			s.stores = "other"
		}, nothing},
		"CreatedOnceGone": {"But that the Secret is there.", func(s *situation) { s.es.Spec.RefreshPolicy = esv1.RefreshCreatedOnce; s.live = nil }, repair},
		"Edited":          {"An edit is put right from memory.", func(s *situation) { s.live = seen("u", "11") }, repair},
		"EditedNoMemory":  {"Or, after a restart, by a read.", func(s *situation) { s.live = seen("u", "11"); s.m = &memory{} }, refresh},
		"Gone":            {"So is a delete.", func(s *situation) { s.live = nil }, repair},
		"Replaced":        {"So is another Secret of that name.", func(s *situation) { s.live = seen("v", "12") }, repair},
		"ReplacedAtOnce":  {"Even if that was just after our write, and the cache never showed ours.", func(s *situation) { s.live, s.m.seen, s.m.wrote = seen("v", "12"), "v", now.Add(-time.Second) }, repair},
		"CacheFarBehind":  {"One of before our write, which is gone by now.", func(s *situation) { s.live, s.m.seen, s.m.wrote = seen("v", "8"), "v", now.Add(-time.Second) }, nothing},
		"CacheBehind":     {"An older version is our own write that the cache has not seen.", func(s *situation) { s.live = seen("u", "9") }, nothing},
		"CacheEmpty":      {"So is a Secret that was just made.", func(s *situation) { s.live, s.m.seen, s.m.wrote = nil, "", now.Add(-time.Second) }, nothing},
		"Orphan":          {"An orphan is left alone until it is due.", func(s *situation) { s.live, s.es.Spec.Target.CreationPolicy = nil, esv1.CreateOrphan }, nothing},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			es := &esv1.ExternalSecret{}
			es.Generation = 1
			es.Status = esv1.ExternalSecretStatus{
				RefreshTime:           &metav1.Time{Time: now.Add(-time.Minute)},
				SyncedResourceVersion: syncedVersion(es),
				Conditions:            []esv1.Condition{{Type: "Ready", Status: "True", Reason: esv1.ReasonSecretSynced, Message: messageSynced}},
				Target:                &esv1.TargetStatus{Name: "n", UID: "u", ResourceVersion: "10"},
			}
			s := &situation{es: es, live: seen("u", "10"), stores: "s"}
			s.m = &memory{desired: &template.Output{}, synced: syncedVersion(es), stores: "s", seen: "u"}
			tc.change(s)
			if got := decide(s.es, s.m, s.live, s.stores, now); got != tc.want {
				t.Errorf("%s\ndecide: got %d, want %d", tc.reason, got, tc.want)
			}
		})
	}
}

// TestPoliciesThatContradict has an API server that takes them, as that of
// External Secrets Operator does without its webhook.
func TestPoliciesThatContradict(t *testing.T) {
	for created, refused := range map[esv1.CreationPolicy]string{
		"": "", esv1.CreateOwner: "", esv1.CreateOrphan: "", esv1.CreateMerge: "Delete", esv1.CreateOrMerge: "Delete", esv1.CreateNone: "Delete Merge",
	} {
		for _, deleted := range []esv1.DeletionPolicy{"", esv1.DeletionRetain, esv1.DeletionMerge, esv1.DeletionDelete} {
			es := &esv1.ExternalSecret{}
			es.Spec.Data = []esv1.ExternalSecretData{{SecretKey: "a", RemoteRef: esv1.RemoteRef{Key: "a"}}}
			es.Spec.SecretStoreRef.Name = "store"
			es.Spec.Target.CreationPolicy, es.Spec.Target.DeletionPolicy = created, deleted
			want := deleted != "" && strings.Contains(refused, string(deleted))
			err := fits(es)
			if (err != nil) != want {
				t.Errorf("%q and %q: got %v, want an error: %t", created, deleted, err, want)
			}
			if !want {
				continue
			}
			var told *reconciler.Error
			if err := (&Controller{}).apply(t.Context(), es); !errors.As(err, &told) || told.Reason != esv1.ReasonSecretSyncedError || !strings.HasPrefix(err.Error(), "spec.target.deletionPolicy: "+string(deleted)) {
				t.Errorf("%q and %q: got %v, want Ready=False that names the field", created, deleted, err)
			}
		}
	}
}

func TestFingerprints(t *testing.T) {
	sum := func(key string, pairs ...string) string {
		data := map[string][]byte{}
		for i := 0; i < len(pairs); i += 2 {
			data[pairs[i]] = []byte(pairs[i+1])
		}
		return NewFingerprints([]byte(key)).Sum(data)
	}
	same := sum("key", "a", "1", "b", "2")
	if got := sum("key", "b", "2", "a", "1"); got != same || len(got) != 64 {
		t.Errorf("the same data: got %s, want %s", got, same)
	}
	for name, other := range map[string]string{
		"another value":     sum("key", "a", "1", "b", "3"),
		"another key":       sum("key", "a", "1", "c", "2"),
		"a moved boundary":  sum("key", "a", "1b", "", "2"),
		"less":              sum("key", "a", "1"),
		"none":              sum("key"),
		"another cluster's": sum("other", "a", "1", "b", "2"),
	} {
		if other == same {
			t.Errorf("%s has the same fingerprint", name)
		}
	}
}

func TestFieldManager(t *testing.T) {
	es := &esv1.ExternalSecret{}
	es.Name = "app"
	if got, want := fieldManager(es), "externalsecrets.external-secrets.io/app"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	es.Name = "a-name-that-is-quite-a-bit-longer-than-usual"
	if got, limit := fieldManager(es), 128; len(got) > limit || got == esv1.FieldManagerPrefix+es.Name {
		t.Errorf("got %s, want a hash", got)
	}
}
