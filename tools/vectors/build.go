package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"

	"github.com/lockstep-dev/lockstep/sealer"
)

// place is where a value is sealed for.
type place struct {
	scope                 byte
	namespace, name, item string
}

func (p place) String() string {
	words := []string{sealer.Scope(p.scope).String(), p.namespace, p.name, p.item}
	for i, w := range words {
		if w == "" {
			words[i] = "-"
		}
	}
	return strings.Join(words, " ")
}

// recipe is an envelope in the making, by docs/envelope-2.md and not by the
// package sealer: so that it can be wrong in one thing and right in the rest.
type recipe struct {
	place place
	value []byte
	to    []*sealer.HybridKey

	bound      *place                             // bind to another place than the tags say
	commit     func([]byte) []byte                // change the commitment
	padding    func([]byte) []byte                // instead of pad
	wrap       func(i int, session []byte) []byte // what recipient i gets instead of the session key
	stanza     func(i int, id, cluster []byte)    // change what recipient i is called
	afterwards func(stanzas [][]byte) [][]byte    // change the recipients before the body is sealed
	wrapInfo   func(i int, info []byte) []byte    // change what recipient i is bound to
}

const domain = "lockstep.dev/seal/2 "

func check(err error) {
	if err != nil {
		panic(err) // of a generator: nothing to be saved
	}
}

func (p place) context() []byte {
	namespace, name := p.namespace, p.name
	if p.scope == 2 {
		namespace = ""
	}
	if p.scope != 0 {
		name = ""
	}
	out := append([]byte(domain+"context\x00"), p.scope)
	for _, n := range []string{namespace, name, p.item} {
		out = binary.BigEndian.AppendUint32(out, uint32(len(n)))
		out = append(out, n...)
	}
	return out
}

func (p place) tags() []byte {
	out := make([]byte, 0, 24)
	tag := func(kind, name string, bound bool) {
		sum := sha256.Sum256([]byte(domain + kind + "\x00" + name))
		if !bound {
			clear(sum[:])
		}
		out = append(out, sum[:8]...)
	}
	tag("namespace", p.namespace, p.scope != 2)
	tag("name", p.name, p.scope == 0)
	tag("item", p.item, true)
	return out
}

func padded(n int) int {
	if n <= 64 {
		return 64
	}
	e := bits.Len(uint(n)) - 1
	mask := 1<<(e-bits.Len(uint(e))) - 1
	return (n + mask) &^ mask
}

func pad(value []byte) []byte {
	out := make([]byte, padded(4+len(value)))
	binary.BigEndian.PutUint32(out, uint32(len(value)))
	copy(out[4:], value)
	return out
}

func derive(session, context []byte, what string) []byte {
	out, err := hkdf.Key(sha256.New, session, context, domain+what, 32)
	check(err)
	return out
}

// blob makes the envelope.
func (r recipe) blob() []byte {
	session := make([]byte, 32)
	rand.Read(session)
	context := r.place.context()
	if r.bound != nil {
		context = r.bound.context()
	}
	commit := derive(session, context, "commit")
	if r.commit != nil {
		commit = r.commit(commit)
	}
	head := slices.Concat([]byte{2, 1, r.place.scope}, r.place.tags(), commit)
	to := slices.Clone(r.to)
	slices.SortFunc(to, func(a, b *sealer.HybridKey) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	var stanzas [][]byte
	for i, k := range to {
		stanzas = append(stanzas, r.one(i, k, head, context, session))
	}
	if r.afterwards != nil {
		stanzas = r.afterwards(stanzas)
	}
	header := slices.Concat(head, []byte{byte(len(stanzas))}, slices.Concat(stanzas...))
	plain := pad(r.value)
	if r.padding != nil {
		plain = r.padding(r.value)
	}
	block, err := aes.NewCipher(derive(session, context, "body"))
	check(err)
	aead, err := cipher.NewGCM(block)
	check(err)
	return aead.Seal(header, make([]byte, 12), plain, header)
}

func (r recipe) one(i int, k *sealer.HybridKey, head, context, session []byte) []byte {
	id, cluster := slices.Clone(k.ID[:]), slices.Clone(k.Cluster[:])
	if r.stanza != nil {
		r.stanza(i, id, cluster)
	}
	info := slices.Concat([]byte(domain+"recipient\x00"), []byte{1}, id, cluster, context)
	if r.wrapInfo != nil {
		info = r.wrapInfo(i, info)
	}
	public, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(k.String(), "ls2pub."))
	check(err)
	key, err := hpke.MLKEM768X25519().NewPublicKey(public)
	check(err)
	enc, sender, err := hpke.NewSender(key, hpke.HKDFSHA256(), hpke.AES256GCM(), info)
	check(err)
	if r.wrap != nil {
		session = r.wrap(i, session)
	}
	wrapped, err := sender.Seal(head, session)
	check(err)
	return slices.Concat(id, cluster, enc, wrapped)
}

func spell(blob []byte) string { return "ls2." + base64.RawURLEncoding.EncodeToString(blob) }
