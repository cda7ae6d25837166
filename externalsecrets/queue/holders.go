package queue

import "k8s.io/apimachinery/pkg/types"

// holders are the objects of one place. Nearly every place has only one, for
// which a map would be ten times as large as its name. The zero value has none.
type holders struct {
	one  types.NamespacedName
	more map[types.NamespacedName]bool // besides one
}

// with returns h with one more object. It changes h, if that has several.
func (h holders) with(object types.NamespacedName) holders {
	switch {
	case h.empty():
		h.one = object
	case h.one != object:
		if h.more == nil {
			h.more = map[types.NamespacedName]bool{}
		}
		h.more[object] = true
	}
	return h
}

// without returns h without an object. It changes h, if that has several.
func (h holders) without(object types.NamespacedName) holders {
	delete(h.more, object)
	if h.one != object {
		return h
	}
	h.one = types.NamespacedName{}
	for next := range h.more {
		h.one = next
		delete(h.more, next)
		break
	}
	return h
}

func (h holders) empty() bool { return h.one == types.NamespacedName{} }

// all calls yield with each object, until that returns false.
func (h holders) all(yield func(types.NamespacedName) bool) {
	if h.empty() || !yield(h.one) {
		return
	}
	for object := range h.more {
		if !yield(object) {
			return
		}
	}
}
