package sealer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// IsEnvelope2 says whether text is one of envelope 2, by how it begins.
func IsEnvelope2(text string) bool { return strings.HasPrefix(text, Prefix2) }

// An Address is a key that a value is sealed for, and the cluster of that key.
type Address struct {
	Key     KeyID
	Cluster ClusterID
}

// String names the key and, if it belongs to one, its cluster.
func (a Address) String() string {
	if a.Cluster == (ClusterID{}) {
		return a.Key.String()
	}
	return fmt.Sprintf("%v of cluster %v", a.Key, a.Cluster)
}

// A Sealed is a value of envelope 2 of which all is known that needs no key.
type Sealed struct{ e *envelope2 }

// ParseSealed reads the text of envelope 2. Its error is ErrFormat.
func ParseSealed(text string) (Sealed, error) {
	e, err := parse2(text)
	if err != nil {
		return Sealed{}, err
	}
	return Sealed{e}, nil
}

// Scope returns the scope that the value was sealed with.
func (s Sealed) Scope() Scope { return s.e.scope }

// Addresses returns the keys that open the value.
func (s Sealed) Addresses() []Address {
	var all []Address
	for _, st := range s.e.stanzas {
		all = append(all, Address{st.id, st.cluster})
	}
	return all
}

// Check says whether the value was sealed for a place, without any key: the
// error is ErrScope, ErrNamespace, ErrName or ErrItem. What it does not see is
// that someone changed the public part too: opening does.
func (s Sealed) Check(at Place) error {
	want := at.tags()
	switch {
	case s.e.scope != at.Scope:
		return fmt.Errorf("%w: sealed with scope %v, opened with scope %v", ErrScope, s.e.scope, at.Scope)
	case s.e.tags.namespace != want.namespace:
		return fmt.Errorf("%w than %q", ErrNamespace, at.Namespace)
	case s.e.tags.name != want.name:
		return fmt.Errorf("%w than %q", ErrName, at.Name)
	case s.e.tags.item != want.item:
		return fmt.Errorf("%w than %q", ErrItem, at.Item)
	}
	return nil
}

// CheckCluster says whether a key of a cluster opens the value, by the ids of
// the keys that are known: the error is ErrCluster or ErrUnknownKey. No ids
// means that any key of the cluster will do.
func (s Sealed) CheckCluster(cluster ClusterID, ids ...KeyID) error {
	there := false
	for _, a := range s.Addresses() {
		if slices.Contains(ids, a.Key) || len(ids) == 0 && a.Cluster == cluster {
			return nil
		}
		there = there || a.Cluster == cluster
	}
	if there {
		return fmt.Errorf("%w: key %v", ErrUnknownKey, s.e.stanzas[0].id)
	}
	return fmt.Errorf("%w: %v, with key %v", ErrCluster, s.e.stanzas[0].cluster, s.e.stanzas[0].id)
}

// OpenItem opens the text of either envelope, if it was sealed for at. hint is
// as in Open; envelope 2 needs none, as it names its keys.
//
// Its errors are those of Open, and those of ErrPlace, ErrCluster and
// ErrUnknownKey for envelope 2.
func (r *Keyring) OpenItem(text string, at Place, hint string) (Opened, error) {
	opened, err := r.OpenItemToReseal(text, at, hint)
	if err == nil && r.Retired(opened.Fingerprint) {
		clear(opened.Value)
		return Opened{}, fmt.Errorf("%w: %s", ErrRetired, opened.Fingerprint)
	}
	return opened, err
}

// OpenItemToReseal is OpenItem for those who seal the value again with the
// newest key, and do nothing else with it: retired keys open too.
func (r *Keyring) OpenItemToReseal(text string, at Place, hint string) (Opened, error) {
	if IsEnvelope2(text) {
		return r.open2(text, at)
	}
	sealed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return Opened{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return r.OpenToReseal(sealed, at.Binding, hint)
}

// open2 opens with the one key that the envelope names and the ring holds; of
// several, with the newest that is not retired.
func (r *Keyring) open2(text string, at Place) (Opened, error) {
	s, err := ParseSealed(text)
	if err != nil {
		return Opened{}, err
	}
	if err := at.valid(); err != nil {
		return Opened{}, fmt.Errorf("%w: %w", ErrPlace, err)
	}
	if err := s.Check(at); err != nil {
		return Opened{}, err
	}
	keys := r.all()
	key, st, ok := s.e.pick(keys)
	if !ok {
		return Opened{}, r.noKey2(s, keys)
	}
	value, err := s.e.open(key.Hybrid, st, at)
	if err != nil {
		return Opened{}, err
	}
	return Opened{Value: value, Fingerprint: key.Fingerprint}, nil
}

func (e *envelope2) pick(keys []Key) (key Key, s stanza, ok bool) {
	for _, k := range keys {
		if k.Hybrid == nil || ok && k.Retired {
			continue
		}
		for _, st := range e.stanzas {
			if st.id == k.Hybrid.ID && (!ok || key.Retired) {
				key, s, ok = k, st, true
			}
		}
	}
	return key, s, ok
}

// noKey2 tells a value of another cluster from one whose key is gone.
func (r *Keyring) noKey2(s Sealed, keys []Key) error {
	cluster, ok := r.Cluster()
	switch {
	case len(keys) == 0:
		return noKey(nil, 0) // whose key it was cannot be told
	case !ok:
		return fmt.Errorf("%w: there is no sealing key of envelope 2 here yet", ErrUnknownKey)
	}
	for _, k := range keys {
		if k.Hybrid == nil {
			continue
		}
		if err := s.CheckCluster(k.Hybrid.Cluster); err == nil {
			return fmt.Errorf("%w: key %v", ErrUnknownKey, s.e.stanzas[0].id)
		}
	}
	here := "this is cluster " + cluster.String()
	if cluster == (ClusterID{}) {
		here = "the keys here belong to no cluster"
	}
	return fmt.Errorf("%w: cluster %v with key %v; %s", ErrCluster, s.e.stanzas[0].cluster, s.e.stanzas[0].id, here)
}

// Cluster returns the identity of the cluster: that of its newest key which
// has one.
func (r *Keyring) Cluster() (ClusterID, bool) {
	for _, k := range r.all() {
		if k.Hybrid != nil {
			return k.Hybrid.Cluster, true
		}
	}
	return ClusterID{}, false
}

// ErrRecipients says that a value cannot be sealed again: it was sealed for
// keys of others too, whose public halves are not known.
var ErrRecipients = errors.New("it was sealed for others too, whose public keys are not known here")

// Reseal seals the text of either envelope again with the newest key, in the
// same envelope, for the same place. Its errors are those of OpenItem, and
// ErrRecipients for what was sealed for others too.
func (r *Keyring) Reseal(text string, at Place, hint string) (again string, by Opened, err error) {
	newest, ok := r.Newest()
	if !ok {
		return "", Opened{}, fmt.Errorf("%w: there is none to seal with", ErrNoKey)
	}
	opened, err := r.OpenItemToReseal(text, at, hint)
	if err != nil {
		return "", Opened{}, err
	}
	defer clear(opened.Value)
	by = Opened{Fingerprint: opened.Fingerprint}
	if !IsEnvelope2(text) {
		sealed, err := Seal(&newest.Private.PublicKey, opened.Value, at.Label())
		return base64.StdEncoding.EncodeToString(sealed), by, err
	}
	if newest.Hybrid == nil {
		return "", Opened{}, fmt.Errorf("%w: the newest has none of envelope 2 yet", ErrNoKey)
	}
	if _, err := r.Others(text, nil); err != nil {
		return "", Opened{}, err
	}
	again, err = SealItem(opened.Value, at, newest.Hybrid.Recipient)
	return again, by, err
}

// Others returns the recipients of a value of envelope 2 that are not of the
// ring, each by its public half, which has to be among the known ones: whom it
// is to be sealed for again, besides the newest key. That is to be trusted only
// of a value that opened. Its errors are ErrFormat, and an ErrRecipients that
// names the keys.
func (r *Keyring) Others(text string, known []Recipient) ([]Recipient, error) {
	s, err := ParseSealed(text)
	if err != nil {
		return nil, err
	}
	var others []Recipient
	var missing []string
	keys := r.all()
	for _, a := range s.Addresses() {
		if slices.ContainsFunc(keys, func(k Key) bool { return k.Hybrid != nil && k.Hybrid.ID == a.Key }) {
			continue
		}
		i := slices.IndexFunc(known, func(k Recipient) bool { return k.ID == a.Key })
		if i < 0 {
			missing = append(missing, "key "+a.String())
			continue
		}
		other := known[i]
		other.Cluster = a.Cluster // which the text of a public key does not say
		others = append(others, other)
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrRecipients, strings.Join(missing, ", "))
	}
	return others, nil
}

// KeyBits returns the size of the key that a value of envelope 1 was sealed
// with, in bits: all that is public of it. Its error is ErrFormat.
func KeyBits(sealed []byte) (int, error) {
	e, err := parse(sealed)
	if err != nil {
		return 0, err
	}
	return len(e.wrapped) * 8, nil
}
