package pull

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/template"
)

// memory is what this process knows of one ExternalSecret. All of it can be
// read again from the store.
type memory struct {
	uid types.UID

	// What the target should hold, so that putting it right needs no provider;
	// for which syncedResourceVersion of the ExternalSecret, and which stores.
	desired *template.Output
	synced  string
	stores  string

	// The versions of the values that desired was made of, by the reads of the
	// plan; nil if they are not all known, or do not tell all.
	versions []string
	valued   time.Time // when these values were read

	read  time.Time // when the stores were last read, with success
	wrote time.Time // when the target was last written
	seen  types.UID // of the target that the cache last showed
	ready outcome   // of the last read or write

	failures int    // to read or write, in a row
	tried    string // what synced would have been, at the last of them; with the versions of the stores

	made    bool   // the target, since the last Event
	missing string // that the store does not have, as last told

	windows *windows // of the spec; nil is any time

	repairs int       // writes in a row against someone else's
	truce   time.Time // until when the target is left alone
}

const (
	// maxRepairs in a row are made at once; people and tools that look at what
	// they wrote stop long before.
	maxRepairs = 5

	// truceTime is how long a target is left alone that someone changes again
	// and again, and how long a change must not come for the count to begin anew.
	truceTime = 5 * time.Second
)

// fights counts a repair, and reports whether there were too many in a row.
func (m *memory) fights(now time.Time) bool {
	if now.Sub(m.wrote) > truceTime {
		m.repairs = 0
	}
	if m.repairs++; m.repairs <= maxRepairs {
		return false
	}
	m.repairs, m.truce = 0, now.Add(truceTime)
	return true
}

// outcome is the reason and message of Ready=True.
type outcome struct{ reason, message string }

// memories holds one memory per ExternalSecret. The zero value is ready to use.
type memories struct {
	mu sync.Mutex
	m  map[types.NamespacedName]*memory
}

// of returns the memory of es. The controller works on one object at a time
// per key, so only the map needs the lock.
func (s *memories) of(es *esv1.ExternalSecret) *memory {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[types.NamespacedName]*memory{}
	}
	key := client.ObjectKeyFromObject(es)
	if s.m[key] == nil || s.m[key].uid != es.UID {
		s.m[key] = &memory{uid: es.UID}
	}
	return s.m[key]
}

func (s *memories) forget(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, key)
}
