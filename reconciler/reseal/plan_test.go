package reseal_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/lockstep-dev/lockstep/reconciler/reseal"
	"github.com/lockstep-dev/lockstep/reconciler/reseal/rewrite"
	"github.com/lockstep-dev/lockstep/sealer"
)

// newKeys returns an old key and a new one, each of both envelopes.
func newKeys(t *testing.T) (old, newest sealer.Key) {
	t.Helper()
	id := sealer.NewClusterID()
	var all []sealer.Key
	for i := range 2 {
		private, cert, err := sealer.NewCertificate(sealer.MinKeySize, time.Hour, "")
		if err != nil {
			t.Fatal(err)
		}
		k, err := sealer.NewKey(private, cert)
		if err != nil {
			t.Fatal(err)
		}
		if k.Hybrid, err = sealer.NewHybridKey(id); err != nil {
			t.Fatal(err)
		}
		k.Since = time.Unix(int64(i+1), 0)
		all = append(all, k)
	}
	return all[0], all[1]
}

func envelope1(t *testing.T, k sealer.Key, at sealer.Binding) string {
	t.Helper()
	sealed, err := sealer.Seal(&k.Private.PublicKey, []byte("value"), at.Label())
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sealed)
}

func envelope2(t *testing.T, at sealer.Place, recipients ...sealer.Recipient) string {
	t.Helper()
	text, err := sealer.SealItem([]byte("value"), at, recipients...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Each value is sealed again in the envelope that it was in, for all that it
// was sealed for, or not at all.
func TestKeysReseal(t *testing.T) {
	old, newest := newKeys(t)
	foreign, _ := newKeys(t)
	ring := &sealer.Keyring{}
	ring.Set(old, newest)
	at := sealer.Place{Binding: sealer.Binding{Namespace: "ns", Name: "name"}, Item: "item"}
	cases := map[string]struct {
		text       string
		recipients []sealer.Recipient
		known      []sealer.Recipient
		from       string // the key; "" if it cannot be known
		again      bool
		err        string
	}{
		"Old1":      {text: envelope1(t, old, at.Binding), from: old.Fingerprint, again: true},
		"Newest1":   {text: envelope1(t, newest, at.Binding), from: newest.Fingerprint},
		"Old2":      {text: envelope2(t, at, old.Hybrid.Recipient), from: old.Fingerprint, again: true},
		"Newest2":   {text: envelope2(t, at, newest.Hybrid.Recipient), from: newest.Fingerprint},
		"Both2":     {text: envelope2(t, at, old.Hybrid.Recipient, newest.Hybrid.Recipient), from: newest.Fingerprint},
		"Foreign1":  {text: envelope1(t, foreign, at.Binding), err: "no sealing key opens it"},
		"Lost2":     {text: envelope2(t, at, old.Hybrid.Recipient, foreign.Hybrid.Recipient), from: old.Fingerprint, err: foreign.Hybrid.ID.String() + " of cluster " + foreign.Hybrid.Cluster.String() + ": name them among the recipients"},
		"Kept2":     {text: envelope2(t, at, old.Hybrid.Recipient, foreign.Hybrid.Recipient), recipients: []sealer.Recipient{foreign.Hybrid.Recipient}, from: old.Fingerprint, again: true},
		"Known2":    {text: envelope2(t, at, old.Hybrid.Recipient, foreign.Hybrid.Recipient) + "\n", known: []sealer.Recipient{foreign.Hybrid.Recipient}, from: old.Fingerprint, again: true},
		"Only2":     {text: envelope2(t, at, old.Hybrid.Recipient), known: []sealer.Recipient{foreign.Hybrid.Recipient}, from: old.Fingerprint, again: true},
		"Malformed": {text: "AgB", err: "not a sealed value"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			k := &reseal.Keys{Ring: ring, Recipients: tc.recipients, Known: tc.known}
			got := k.Reseal(t.Context(), at.Binding, []*rewrite.Item{{Name: at.Item, Value: tc.text}})[0]
			if got.From != tc.from || (got.Next != "") != tc.again || (got.Err != nil) != (tc.err != "") || got.Err != nil && !strings.Contains(got.Err.Error(), tc.err) {
				t.Fatalf("got %+v", got)
			}
			if !tc.again {
				return
			}
			opened, err := ring.OpenItem(got.Next, at, "")
			if err != nil || string(opened.Value) != "value" || opened.Fingerprint != newest.Fingerprint || sealer.IsEnvelope2(got.Next) != sealer.IsEnvelope2(tc.text) {
				t.Errorf("sealed again it is of %s, %v", opened.Fingerprint, err)
			}
			if sealer.IsEnvelope2(got.Next) && len(addresses(t, got.Next)) != len(addresses(t, tc.text)) {
				t.Errorf("sealed for %v, and then for %v", addresses(t, tc.text), addresses(t, got.Next))
			}
			other := sealer.Address{Key: foreign.Hybrid.ID, Cluster: foreign.Hybrid.Cluster}
			if len(tc.recipients) > 0 && !slices.Contains(addresses(t, got.Next), other) {
				t.Errorf("the other recipient is not among %v", addresses(t, got.Next))
			}
		})
	}
	if got := (&reseal.Keys{Ring: &sealer.Keyring{}}).Reseal(t.Context(), at.Binding, []*rewrite.Item{{Name: "x"}})[0]; got.Err == nil {
		t.Error("without a key, no error")
	}
}

// addresses returns whom a value is sealed for.
func addresses(t *testing.T, text string) []sealer.Address {
	t.Helper()
	s, err := sealer.ParseSealed(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	return s.Addresses()
}

func TestLocate(t *testing.T) {
	known := map[string]sealer.Binding{"AgB": {Namespace: "live", Name: "prefix-db"}}
	cases := map[string]struct {
		object    rewrite.Object
		namespace string
		want      sealer.Binding
		err       string
	}{
		"Manifest":   {object: rewrite.Object{Namespace: "ns", Name: "db"}, want: sealer.Binding{Namespace: "ns", Name: "db"}},
		"Cluster":    {object: rewrite.Object{Name: "db", Items: []*rewrite.Item{{Value: "AgB\n"}}}, want: sealer.Binding{Namespace: "live", Name: "prefix-db"}},
		"Default":    {object: rewrite.Object{Name: "db"}, namespace: "ns", want: sealer.Binding{Namespace: "ns", Name: "db"}},
		"NoName":     {object: rewrite.Object{Namespace: "ns"}, err: "metadata.name"},
		"NoSpace":    {object: rewrite.Object{Name: "db"}, err: "metadata.namespace"},
		"Everywhere": {object: rewrite.Object{Scope: sealer.ClusterWide}, want: sealer.Binding{Scope: sealer.ClusterWide}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := reseal.ByManifest{Namespace: tc.namespace, Known: known}.Locate(&tc.object)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// Scan takes manifests, names what it cannot read, and follows nothing.
func TestScan(t *testing.T) {
	manifest := "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: a, namespace: b}\nspec: {encryptedData: {x: AgB}}\n"
	tree := fstest.MapFS{
		"a.yaml": {Data: []byte(manifest)}, "b/c.yml": {Data: []byte(manifest)}, "b/d.json": {Data: []byte(`{"kind":"SealedSecret"}`)},
		"b/e.txt": {Data: []byte(manifest)}, ".git/f.yaml": {Data: []byte(manifest)}, "g.yaml": {Data: []byte("kind: SealedSecret\n\t- x")},
		"h.yaml": {Data: []byte(strings.Repeat("#", 16<<20+1))},
	}
	p, err := reseal.Scan(t.Context(), tree, ".", "b")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range p.Files {
		got = append(got, f.Path)
	}
	for _, s := range p.Skipped {
		got = append(got, "!"+s.Path)
	}
	if fmt.Sprint(got) != "[a.yaml b/c.yml !g.yaml !h.yaml]" || p.Count() != 2 {
		t.Errorf("got %v", got)
	}
	if _, err := reseal.Scan(t.Context(), tree, "nowhere"); err == nil {
		t.Error("a path that is not there is no error")
	}
	old, newest := newKeys(t)
	ring := &sealer.Keyring{}
	ring.Set(old, newest)
	done := 0
	steps, err := (&reseal.Plan{Files: p.Files[:1]}).Seal(t.Context(), &reseal.Keys{Ring: ring}, reseal.ByManifest{}, func() { done++ })
	if err != nil || done != 1 || len(steps) != 1 || !errors.Is(steps[0].Err, sealer.ErrFormat) {
		t.Errorf("steps: %+v, %v", steps, err)
	}
	if needed, unknown := reseal.Needed(steps); len(needed) != 0 || unknown != 1 {
		t.Errorf("needed: %v, %d unknown", needed, unknown)
	}
}
