package apply

import (
	"strconv"
	"sync"

	"github.com/fluxcd/cli-utils/pkg/object"
	"k8s.io/apimachinery/pkg/types"
)

// objects is what one watch has seen. It is a cache.ReflectorStore that keeps
// no objects, only what observe makes of them.
type objects struct {
	target   Target
	override Managers
	notify   func(types.NamespacedName)
	cancel   func()

	mu     sync.Mutex
	seen   map[object.ObjMetadata]entry
	owners map[types.NamespacedName]bool // who requires the watch
}

type entry struct {
	Observed
	owner types.NamespacedName // by its labels
}

// Add, Update, Delete, Replace and Resync implement cache.ReflectorStore.

func (s *objects) Add(obj any) error { return s.Update(obj) }
func (s *objects) Resync() error     { return nil }

func (s *objects) Update(obj any) error {
	live, err := toLive(obj, s.target.Kind)
	if err != nil {
		return err
	}
	id, is := idOf(live, s.target.Kind), entry{observe(live, s.target, s.override), ownerOf(live)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(id, is)
	return nil
}

// put stores what a watch says and tells the owners if it matters. s.mu is
// held.
func (s *objects) put(id object.ObjMetadata, is entry) {
	was, known := s.seen[id]
	if known && was.Version > is.Version && was.UID == is.UID {
		return // older than what an apply returned
	}
	s.seen[id] = is
	if known && was.UID == is.UID && was.Owned == is.Owned && was.Health == is.Health && was.Mode == is.Mode && was.Foreign == is.Foreign {
		return
	}
	s.tell(is.owner)
}

func (s *objects) Delete(obj any) error {
	live, err := toLive(obj, s.target.Kind)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(idOf(live, s.target.Kind), version(live.GetResourceVersion()))
	return nil
}

// drop forgets an object that was gone at a resourceVersion. s.mu is held.
func (s *objects) drop(id object.ObjMetadata, at int64) {
	was, known := s.seen[id]
	if !known || was.Version > at {
		return // applied again since
	}
	delete(s.seen, id)
	s.tell(was.owner)
}

func (s *objects) Replace(list []any, resourceVersion string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	listed := map[object.ObjMetadata]bool{}
	for _, obj := range list {
		live, err := toLive(obj, s.target.Kind)
		if err != nil {
			return err
		}
		id := idOf(live, s.target.Kind)
		listed[id] = true
		s.put(id, entry{observe(live, s.target, s.override), ownerOf(live)})
	}
	for id := range s.seen {
		if !listed[id] {
			s.drop(id, version(resourceVersion))
		}
	}
	for o := range s.owners {
		s.notify(o) // who waited for the list
	}
	return nil
}

// tell notifies the owner by label; of a single watched object, all who
// require it. s.mu is held: notify does not block.
func (s *objects) tell(owner types.NamespacedName) {
	if s.target.Name == "" {
		s.notify(owner)
		return
	}
	for o := range s.owners {
		s.notify(o)
	}
}

// tellAll notifies all who require the watch.
func (s *objects) tellAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for o := range s.owners {
		s.notify(o)
	}
}

func (s *objects) saw(id object.ObjMetadata, o Observed, owner types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was, known := s.seen[id]; known && was.Version >= o.Version && was.UID == o.UID {
		return
	}
	s.seen[id] = entry{o, owner}
}

func (s *objects) get(id object.ObjMetadata) (Observed, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.seen[id]
	return e.Observed, ok
}

func (s *objects) addOwner(owner types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owners[owner] = true
}

func (s *objects) removeOwner(owner types.NamespacedName) (left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.owners, owner)
	return len(s.owners)
}

// version reads a resourceVersion, which is a growing number within a kind; 0
// if it is none. Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
func version(resourceVersion string) int64 {
	v, err := strconv.ParseInt(resourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return v
}
