package pull

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/externalsecrets/template"
)

// versioned is a run of an ExternalSecret that has read two secrets with
// success, each in a version.
func versioned(t *testing.T, change func(*esv1.ExternalSecretSpec)) (*run, map[fetch.Read]fetch.Result) {
	t.Helper()
	es := &esv1.ExternalSecret{}
	es.Generation, es.Spec.SecretStoreRef.Name = 1, "store"
	for _, key := range []string{"a", "b"} {
		es.Spec.Data = append(es.Spec.Data, esv1.ExternalSecretData{SecretKey: key, RemoteRef: esv1.RemoteRef{Key: key}})
	}
	change(&es.Spec)
	plan, err := fetch.New(&es.Spec)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	r := &run{Controller: &Controller{}, es: es, plan: plan, stores: "s", now: now, live: &metav1.PartialObjectMetadata{}}
	r.live.UID, r.live.ResourceVersion = types.UID("u"), "10"
	r.memory = &memory{desired: &template.Output{}, seen: "u", ready: outcome{esv1.ReasonSecretSynced, messageSynced}}
	es.Status.Target = &esv1.TargetStatus{Name: "n", UID: "u", ResourceVersion: "10"}
	es.Status.Conditions = []esv1.Condition{{Type: "Ready", Status: "True", Reason: esv1.ReasonSecretSynced, Message: messageSynced}}
	results := map[fetch.Read]fetch.Result{}
	for _, read := range plan.Reads {
		results[read] = fetch.Result{Version: "1 of " + read.Ref.Path, At: now}
	}
	r.remember(results)
	r.refreshed(now, true)
	return r, results
}

// TestVersionsOnlyWhereTheyTellAll: a version does in place of a value only if
// the target is known to be what that value made it.
func TestVersionsOnlyWhereTheyTellAll(t *testing.T) {
	for name, tc := range map[string]struct {
		spec   func(*esv1.ExternalSecretSpec)
		change func(*run)
		lane   queue.Lane
		want   bool
	}{
		"an interval is over":              {lane: queue.Periodic, want: true},
		"someone waits":                    {lane: queue.First},
		"the Secret was edited":            {lane: queue.Repair},
		"the store said that it changed":   {lane: queue.Periodic, change: func(r *run) { r.hinted = true }},
		"the spec is another":              {lane: queue.Periodic, change: func(r *run) { r.es.Generation = 2 }},
		"the store is another":             {lane: queue.Periodic, change: func(r *run) { r.stores = "t" }},
		"the last read failed":             {lane: queue.Periodic, change: func(r *run) { r.es.Status.Conditions[0].Status = "False" }},
		"the Secret is not as it was":      {lane: queue.Periodic, change: func(r *run) { r.live.ResourceVersion = "11" }},
		"an orphan is not as it was":       {lane: queue.Periodic, spec: func(s *esv1.ExternalSecretSpec) { s.Target.CreationPolicy = esv1.CreateOrphan }, change: func(r *run) { r.live = nil }},
		"nothing is remembered":            {lane: queue.Periodic, change: func(r *run) { r.memory.desired = nil }},
		"the values were read a day ago":   {lane: queue.Periodic, change: func(r *run) { r.memory.valued = r.now.Add(-25 * time.Hour) }},
		"the values were read an hour ago": {lane: queue.Periodic, change: func(r *run) { r.memory.valued = r.now.Add(-time.Hour) }, want: true},
		"a template is in a ConfigMap": {lane: queue.Periodic, spec: func(s *esv1.ExternalSecretSpec) {
			s.Target.Template = &esv1.Template{TemplateFrom: []esv1.TemplateFrom{{}}}
		}},
		"it is read once": {lane: queue.Periodic, spec: func(s *esv1.ExternalSecretSpec) { s.RefreshPolicy = esv1.RefreshCreatedOnce }},
		"a generator, too": {lane: queue.Periodic, spec: func(s *esv1.ExternalSecretSpec) {
			s.DataFrom = []esv1.DataFrom{{SourceRef: &esv1.SourceRef{GeneratorRef: &esv1.GeneratorRef{Kind: "UUID", Name: "u"}}}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.spec == nil {
				tc.spec = func(*esv1.ExternalSecretSpec) {}
			}
			r, results := versioned(t, tc.spec)
			if tc.change != nil {
				tc.change(r)
			}
			var want map[fetch.Read]string
			if tc.want {
				want = map[fetch.Read]string{}
				for read, result := range results {
					want[read] = result.Version
				}
			}
			if diff := cmp.Diff(want, r.have(tc.lane)); diff != "" {
				t.Errorf("versions in place of values (-want +got):\n%s", diff)
			}
		})
	}
}

// TestVersionsAreOfAllOrNone: a read without a version, as of another store,
// takes those of the others with it.
func TestVersionsAreOfAllOrNone(t *testing.T) {
	r, results := versioned(t, func(*esv1.ExternalSecretSpec) {})
	results[r.plan.Reads[1]] = fetch.Result{}
	if r.remember(results); r.memory.versions != nil || r.have(queue.Periodic) != nil {
		t.Errorf("got versions %v, want none", r.memory.versions)
	}
}

// TestUnchangedIsARefresh: the next one counts from when the store was asked,
// and the target stays.
func TestUnchangedIsARefresh(t *testing.T) {
	r, results := versioned(t, func(*esv1.ExternalSecretSpec) {})
	at := r.now.Add(50 * time.Minute)
	for read, result := range results {
		results[read] = fetch.Result{Version: result.Version, Unchanged: true, At: at}
	}
	r.now = r.now.Add(time.Hour)
	before, versions := r.es.Status.DeepCopy(), r.memory.versions
	if !anyUnchanged(results) {
		t.Fatal("the results do not pass for unchanged")
	}
	if err := r.unchanged(t.Context(), results); err != nil {
		t.Fatal(err)
	}
	if !r.memory.read.Equal(at) || next(r.es, r.memory).Before(at.Add(time.Hour)) || next(r.es, r.memory).After(at.Add(66*time.Minute)) {
		t.Errorf("read at %s, next at %s, want %s and an hour and a tenth later at most", r.memory.read, next(r.es, r.memory), at)
	}
	if diff := cmp.Diff(before, r.es.Status.DeepCopy()); diff != "" || len(r.memory.versions) != len(versions) {
		t.Errorf("the status has changed, or versions were lost: %v\n%s", r.memory.versions, diff)
	}
}
