package reconciler

import "fmt"

// References decides which objects of other namespaces a namespaced object may
// refer to, for every kind of reference. The zero value allows none.
type References struct {
	AllowCrossNamespace bool
}

// Check returns an error if an object in namespace from may not refer, by the
// field, to one in namespace to. An empty to is the same namespace.
func (r References) Check(field, from, to string) error {
	if to == "" || to == from || r.AllowCrossNamespace {
		return nil
	}
	return fmt.Errorf("%s: namespace %q is not the object's own, %q: move one of them, or start the controller with --allow-cross-namespace-refs", field, to, from)
}
