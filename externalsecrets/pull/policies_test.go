package pull_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
)

// creation is what a creationPolicy makes of a target.
type creation struct {
	creates bool // a Secret that is not there
	adds    bool // to a Secret that is: what is in it stays
	owns    bool // and so it goes with the ExternalSecret
	revives bool // a Secret that was deleted, at once
}

var creations = map[esv1.CreationPolicy]creation{
	esv1.CreateOwner:   {creates: true, adds: true, owns: true, revives: true},
	esv1.CreateOrphan:  {creates: true, adds: true},
	esv1.CreateMerge:   {adds: true},
	esv1.CreateOrMerge: {creates: true, adds: true, revives: true},
	esv1.CreateNone:    {},
}

// after is what a refresh comes to: Ready, and which of our keys the Secret has;
// "-" is that there is no Secret.
type after struct{ ready, keys string }

// cell is one combination of creationPolicy and deletionPolicy: why it is
// refused, or what comes of a store that has one of two keys, or none.
type cell struct {
	refused   string
	one, none after
}

const (
	isMissing = "False/SecretSyncedError/spec.data["
	needsOwn  = "deletionPolicy Delete needs a Secret of its own"
)

// What each deletionPolicy does unless the creationPolicy forbids it.
var (
	retains = cell{one: after{isMissing + "1].remoteRef.key", "ab"}, none: after{isMissing + "0].remoteRef.key", "ab"}}
	empties = cell{one: after{"True/SecretSynced", "a"}, none: after{"True/SecretSynced", ""}}
	deletes = cell{one: after{"True/SecretSynced", "a"}, none: after{"True/SecretDeleted", "-"}}
)

var policies = map[esv1.CreationPolicy]map[esv1.DeletionPolicy]cell{
	esv1.CreateOwner: {esv1.DeletionRetain: retains, esv1.DeletionMerge: empties, esv1.DeletionDelete: deletes},
	esv1.CreateOrphan: {esv1.DeletionRetain: retains, esv1.DeletionMerge: empties, esv1.DeletionDelete: {
		one: empties.one, none: after{"False/SecretSyncedError/spec.target.deletionPolicy: the store has none of the values, and Delete only deletes a Secret that the ExternalSecret owns", "a"}}},
	esv1.CreateMerge:   {esv1.DeletionRetain: retains, esv1.DeletionMerge: empties, esv1.DeletionDelete: {refused: needsOwn}},
	esv1.CreateOrMerge: {esv1.DeletionRetain: retains, esv1.DeletionMerge: empties, esv1.DeletionDelete: {refused: needsOwn}},
	esv1.CreateNone:    {esv1.DeletionRetain: retains, esv1.DeletionMerge: {refused: "nothing to work on with creationPolicy None"}, esv1.DeletionDelete: {refused: needsOwn}},
}

// TestPolicies is every creationPolicy with every deletionPolicy: where no
// Secret is, and where one is that someone else has made.
func TestPolicies(t *testing.T) {
	b := start(t)
	for created, row := range policies {
		for deleted, want := range row {
			t.Run(string(created)+"/"+string(deleted), func(t *testing.T) {
				t.Parallel()
				b := b.in(t)
				name := strings.ToLower(string(created) + "-" + string(deleted))
				if want.refused != "" {
					es := target(name, created, deleted)
					es.Namespace = b.ns
					if err := b.Create(t.Context(), es); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), want.refused) {
						t.Errorf("the API server says %v, want %q", err, want.refused)
					}
					return
				}
				for _, foreign := range []bool{false, true} {
					l := &life{bench: b, name: name, creation: creations[created], cell: want, foreign: map[string]string{}}
					if foreign {
						l.name += "-foreign"
					}
					l.live(target(l.name, created, deleted), foreign)
				}
			})
		}
	}
}

// target is an ExternalSecret with two keys of its own in the store.
func target(name string, created esv1.CreationPolicy, deleted esv1.DeletionPolicy) *esv1.ExternalSecret {
	es := &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Name: name}}
	es.Spec = esv1.ExternalSecretSpec{SecretStoreRef: esv1.SecretStoreRef{Name: "store"}, Target: esv1.Target{CreationPolicy: created, DeletionPolicy: deleted}}
	for _, key := range []string{"a", "b"} {
		es.Spec.Data = append(es.Spec.Data, esv1.ExternalSecretData{SecretKey: key, RemoteRef: esv1.RemoteRef{Key: name + "/" + key}})
	}
	return es
}

// life is that of one ExternalSecret and its Secret.
type life struct {
	*bench
	creation
	cell

	name    string
	foreign map[string]string // what someone else has put into the Secret
	value   string            // that our keys have in the store
}

// live goes through all that can happen to an ExternalSecret and its Secret.
func (l *life) live(es *esv1.ExternalSecret, foreign bool) {
	l.t.Helper()
	l.store("1")
	if foreign {
		l.give("theirs")
	}
	l.born(es)
	if !l.creates && !l.adds { // the store is read, and that is all
		l.refreshed(l.one, "b")
		l.refreshed(l.none, "a")
		l.store("2")
		l.force("True/SecretSynced")
		l.buried()
		return
	}
	l.store("2")
	l.force("True/SecretSynced")
	l.has("ab")
	l.killed()
	l.give("later")
	l.force("True/SecretSynced")
	l.has("ab")
	l.refreshed(l.one, "b")
	l.refreshed(l.none, "a")
	l.store("3")
	l.force("True/SecretSynced")
	l.has("ab")
	l.buried()
}

// store gives our keys a value in the store.
func (l *life) store(value string) {
	l.value = value
	for _, key := range []string{"a", "b"} {
		l.backend.set(l.name+"/"+key, value)
	}
}

// give lets someone else put a key into the Secret, which may be his, too.
func (l *life) give(key string) {
	l.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: l.ns, Name: l.name}, StringData: map[string]string{key: "theirs"}}
	err := l.Create(l.t.Context(), secret)
	if apierrors.IsAlreadyExists(err) {
		err = l.Patch(l.t.Context(), secret, client.RawPatch("application/merge-patch+json", []byte(`{"stringData":{"`+key+`":"theirs"}}`)))
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.foreign[key] = "theirs"
}

// born creates the ExternalSecret.
func (l *life) born(es *esv1.ExternalSecret) {
	l.t.Helper()
	es.Namespace = l.ns
	if err := l.Create(l.t.Context(), es); err != nil {
		l.t.Fatal(err)
	}
	if !l.creates && l.adds && len(l.foreign) == 0 {
		l.ready(l.name, "False/SecretMissing/spec.target.name")
		l.has("-")
		l.give("theirs")
	}
	es = l.ready(l.name, "True/SecretSynced")
	if !l.adds {
		l.has("-")
		return
	}
	l.has("ab")
	s := l.secret(l.name)
	if owns := metav1.IsControlledBy(s, es) && s.Labels[esv1.LabelOwner] != ""; owns != l.owns || len(s.OwnerReferences) > 1 || s.Labels[esv1.LabelManaged] != "true" {
		l.t.Errorf("owners %v, labels %v, want the ExternalSecret among them: %t", s.OwnerReferences, s.Labels, l.owns)
	}
	finalizers := 0
	if es.Spec.Target.DeletionPolicy == esv1.DeletionDelete {
		finalizers = 1
	}
	if len(es.Finalizers) != finalizers {
		l.t.Errorf("finalizers %v, want %d", es.Finalizers, finalizers)
	}
}

// refreshed takes a key out of the store.
func (l *life) refreshed(want after, key string) {
	l.t.Helper()
	l.backend.remove(l.name + "/" + key)
	l.force(want.ready)
	switch {
	case !l.adds:
		want.keys = "-"
	case want.keys == "-":
		clear(l.foreign) // they were in a Secret of ours
	}
	l.has(want.keys)
}

// killed deletes the Secret.
func (l *life) killed() {
	l.t.Helper()
	old := l.secret(l.name)
	if err := l.Delete(l.t.Context(), old); err != nil {
		l.t.Fatal(err)
	}
	clear(l.foreign)
	switch {
	case l.revives:
		l.eventually("the Secret to be made anew", func() bool { return l.data(l.name) != nil })
		l.has("ab")
	case l.creates:
		time.Sleep(300 * time.Millisecond) // for what should not happen
		l.has("-")
		l.force("True/SecretSynced")
		l.has("ab")
	default:
		l.ready(l.name, "False/SecretMissing/")
		l.has("-")
		l.give("theirs")
		l.ready(l.name, "True/SecretSynced")
		l.has("ab")
	}
}

// buried deletes the ExternalSecret. The garbage collector, which is not here,
// deletes what it owns.
func (l *life) buried() {
	l.t.Helper()
	es := l.ready(l.name, "")
	finalizes := len(es.Finalizers) > 0
	if err := l.Delete(l.t.Context(), es); err != nil {
		l.t.Fatal(err)
	}
	l.eventually("the ExternalSecret to go", func() bool {
		return apierrors.IsNotFound(l.Get(l.t.Context(), l.key(l.name), es))
	})
	switch {
	case !l.adds:
		l.has("-")
	case finalizes && l.owns:
		clear(l.foreign)
		l.has("-")
	default:
		time.Sleep(200 * time.Millisecond) // for what should not happen
		l.has("ab")
	}
}

// force has the store read, and waits until Ready has the prefix want after
// that.
func (l *life) force(want string) {
	l.t.Helper()
	before := ""
	l.change(l.name, func(es *esv1.ExternalSecret) {
		before = es.Status.SyncedResourceVersion
		es.Annotations = map[string]string{esv1.AnnotationForceSync: es.ResourceVersion}
	})
	last := ""
	l.eventually(l.name+" to be "+want, func() bool {
		es := &esv1.ExternalSecret{}
		if err := l.Get(l.t.Context(), l.key(l.name), es); err != nil {
			l.t.Fatal(err)
		}
		c := apimeta.FindStatusCondition(es.GetConditions(), "Ready")
		last = string(c.Status) + "/" + c.Reason + "/" + c.Message
		return strings.HasPrefix(last, want) && (c.Status == metav1.ConditionFalse || es.Status.SyncedResourceVersion != before)
	}, &last)
}

// has compares the Secret with those of our keys and all of the others; "-" is
// none of ours.
func (l *life) has(keys string) {
	l.t.Helper()
	var want map[string]string
	if keys != "-" || len(l.foreign) > 0 {
		want = maps.Clone(l.foreign)
		for _, key := range strings.Trim(keys, "-") {
			want[string(key)] = l.value
		}
	}
	if diff := cmp.Diff(want, l.data(l.name)); diff != "" {
		l.t.Errorf("the Secret (-want +got):\n%s", diff)
	}
}
