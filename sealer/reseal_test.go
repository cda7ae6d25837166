package sealer

import (
	"errors"
	"strings"
	"testing"
)

func TestReseal(t *testing.T) {
	cluster := NewClusterID()
	old, newest := newHybrid(t, cluster), newHybrid(t, cluster)
	ring := ringOf2(t, old, newest)
	for name, tc := range map[string]struct {
		to   []Recipient
		want error
	}{
		"Old":    {[]Recipient{old.Recipient}, nil},
		"Both":   {[]Recipient{old.Recipient, newest.Recipient}, nil},
		"Others": {[]Recipient{old.Recipient, newHybrid(t, ClusterID{}).Recipient}, ErrRecipients},
		"None":   {[]Recipient{newHybrid(t, cluster).Recipient}, ErrUnknownKey},
	} {
		text, err := SealItem([]byte("v"), prod, tc.to...)
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := ring.Reseal(text, prod, "")
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
		if tc.want != nil {
			continue
		}
		if got, err := ring.OpenItem(again, prod, ""); err != nil || string(got.Value) != "v" || got.Fingerprint != newest.ID.String() {
			t.Errorf("%s: sealed again, it opens with key %s, %v", name, got.Fingerprint, err)
		}
	}
}

// Others stay with a value, each in its place; who is not known is named.
func TestOthers(t *testing.T) {
	here, there := NewClusterID(), NewClusterID()
	old, newest, foreign, offline := newHybrid(t, here), newHybrid(t, here), newHybrid(t, there), newHybrid(t, ClusterID{})
	ring := ringOf2(t, old, newest)
	text, err := SealItem([]byte("v"), prod, old.Recipient, foreign.Recipient, offline.Recipient)
	if err != nil {
		t.Fatal(err)
	}
	// The text of a public key says nothing of its cluster: the value does.
	known, err := ParseRecipients([]byte(foreign.String() + "\n" + offline.String() + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	others, err := ring.Others(text, known)
	if err != nil || len(others) != 2 {
		t.Fatalf("got %v, %v", others, err)
	}
	for _, o := range others {
		if want := map[KeyID]ClusterID{foreign.ID: there, offline.ID: {}}[o.ID]; o.Cluster != want {
			t.Errorf("key %v: cluster %v, want %v", o.ID, o.Cluster, want)
		}
	}
	again, err := SealItem([]byte("v"), prod, append(others, newest.Recipient)...)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]*HybridKey{"here": newest, "there": foreign, "offline": offline} {
		if got, err := ringOf2(t, key).OpenItem(again, prod, ""); err != nil || string(got.Value) != "v" {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = ring.Others(text, known[1:])
	if !errors.Is(err, ErrRecipients) || !strings.Contains(err.Error(), "key "+foreign.ID.String()+" of cluster "+there.String()) || strings.Contains(err.Error(), offline.ID.String()) {
		t.Errorf("got %v", err)
	}
	if _, err := ring.Others("ls2.", known); !errors.Is(err, ErrFormat) {
		t.Errorf("got %v", err)
	}
}

func TestParseRecipients(t *testing.T) {
	ring, bundle := published(t, NewClusterID(), 2)
	text, err := ring.Publish()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseRecipients(append([]byte("\n "), text...))
	if err != nil || len(got) != 2 || got[0].ID != bundle.Newest().ID || got[1].Cluster != bundle.Cluster() {
		t.Errorf("got %v, %v", got, err)
	}
	for name, text := range map[string]string{"Empty": "", "Text": "hello", "Cut": bundle.Newest().String()[:100], "Bundle": "{}", "Second": bundle.Newest().String() + "\nx"} {
		if got, err := ParseRecipients([]byte(text)); err == nil {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
