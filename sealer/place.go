package sealer

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// These say how the place that a value of envelope 2 was sealed for differs
// from the one that it is opened for. All of them are ErrPlace. They follow
// from the sealed text alone: no key is needed to find out.
var (
	ErrPlace     = errors.New("it was sealed for another place")
	ErrScope     = fmt.Errorf("%w: another scope", ErrPlace)
	ErrNamespace = fmt.Errorf("%w: another namespace", ErrPlace)
	ErrName      = fmt.Errorf("%w: another name of the Secret", ErrPlace)
	ErrItem      = fmt.Errorf("%w: another item", ErrPlace)
)

// These are the ErrNoKey of envelope 2, which names the keys that open a value.
var (
	ErrCluster    = fmt.Errorf("%w: it was sealed for another cluster", ErrNoKey)
	ErrUnknownKey = fmt.Errorf("%w: it was sealed for this cluster, with a key that is not here any more", ErrNoKey)
)

// A Place is where an item may be opened: the Binding of its Secret, and the
// name of the item in that Secret. Envelope 1 does not bind Item.
type Place struct {
	Binding
	Item string
}

// String describes p for people.
func (p Place) String() string { return fmt.Sprintf("item %q, %v", p.Item, p.Binding) }

// narrowed returns p without the names that its scope does not bind.
func (p Place) narrowed() Place {
	switch p.Scope {
	case ClusterWide:
		p.Namespace, p.Name = "", ""
	case NamespaceWide:
		p.Name = ""
	default: // Strict binds all
	}
	return p
}

// context returns the unambiguous bytes that stand for p.
func (p Place) context() []byte {
	p = p.narrowed()
	out := []byte(domain + "context\x00")
	out = append(out, byte(p.Scope)) //nolint:gosec // G115: SealItem and Check refuse a Scope that is none of the three
	for _, name := range []string{p.Namespace, p.Name, p.Item} {
		out = binary.BigEndian.AppendUint32(out, uint32(len(name))) //nolint:gosec // G115: SealItem refuses names above maxName
		out = append(out, name...)
	}
	return out
}

const (
	tagSize2 = 8

	// maxName is the longest name of a namespace, Secret or item in bytes.
	// Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
	maxName = 253
)

// tags are the public digests of the names of a place. They are for diagnosis
// only: what binds is the context, which is in no envelope.
type tags struct {
	namespace, name, item [tagSize2]byte
}

func (p Place) tags() tags {
	p = p.narrowed()
	var t tags
	if p.Scope != ClusterWide {
		t.namespace = tag("namespace", p.Namespace)
	}
	if p.Scope == Strict {
		t.name = tag("name", p.Name)
	}
	t.item = tag("item", p.Item)
	return t
}

func tag(kind, name string) (t [tagSize2]byte) {
	sum := sha256.Sum256([]byte(domain + kind + "\x00" + name))
	copy(t[:], sum[:])
	return t
}

// valid refuses a place that nothing can be sealed for.
func (p Place) valid() error {
	if p.Scope < Strict || p.Scope > ClusterWide {
		return fmt.Errorf("%v is no scope", p.Scope)
	}
	for _, n := range []struct{ what, name string }{{"namespace", p.Namespace}, {"name", p.Name}, {"item", p.Item}} {
		if len(n.name) > maxName {
			return fmt.Errorf("%s has %d bytes; Kubernetes takes at most %d", n.what, len(n.name), maxName)
		}
	}
	q := p.narrowed()
	switch {
	case p.Item == "":
		return errors.New("the name of the item is missing")
	case q.Namespace == "" && p.Scope != ClusterWide:
		return fmt.Errorf("the namespace is missing: scope %v needs one", p.Scope)
	case q.Name == "" && p.Scope == Strict:
		return fmt.Errorf("the name of the Secret is missing: scope %v needs one", p.Scope)
	}
	return nil
}
