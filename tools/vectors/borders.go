package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"
	"strings"
)

// prod is where values are sealed for.
func prod(scope string) place1 { return place1{scope, "prod", "db"} }

// largest is the largest value in bytes.
const largest = 1 << 20

// matrix is what kubeseal makes: each size of key, scope and kind of value.
func (s *set1) matrix() {
	values := map[string][]byte{"empty": {}, "text": []byte("correct horse battery staple\n"), "binary": stream("binary", 257), "1mib": stream("lockstep", largest)}
	for _, key := range []string{"a-2048", "c-3072", "d-4096"} {
		for _, scope := range scopes {
			for kind, value := range values {
				v := vector1{name: fmt.Sprintf("matrix-%d-%s-%s", sizes[key], scope, kind), expect: "ok", at: prod(scope), key: key, sealed: s.seal(key, prod(scope), value)}
				v.about = fmt.Sprintf("kubeseal --raw, a key of %d bits, scope %s, a value that is %s.", sizes[key], scope, kind)
				if kind == "1mib" {
					v.about, v.recipe = "kubeseal --raw of the largest value, 1 MiB, by recipe.", "lockstep"
				}
				s.add(v)
			}
		}
	}
}

// labels is what is opened elsewhere.
func (s *set1) labels() {
	elsewhere := map[string]func(p place1) place1{
		"as-strict": func(p place1) place1 { return place1{"strict", p.namespace, p.name} }, "as-namespace-wide": func(p place1) place1 { return place1{"namespace-wide", p.namespace, p.name} },
		"as-cluster-wide": func(p place1) place1 { return place1{"cluster-wide", p.namespace, p.name} }, "other-namespace": func(p place1) place1 { return place1{p.scope, "dev", p.name} },
		"longer-namespace": func(p place1) place1 { return place1{p.scope, "prod2", p.name} }, "other-case": func(p place1) place1 { return place1{p.scope, "Prod", p.name} },
		"other-name": func(p place1) place1 { return place1{p.scope, p.namespace, "web"} }, "shorter-name": func(p place1) place1 { return place1{p.scope, p.namespace, "d"} },
		"no-name": func(p place1) place1 { return place1{p.scope, p.namespace, ""} }, "moved-slash": func(p place1) place1 { return place1{p.scope, "prod/db", ""} },
	}
	for _, key := range []string{"a-2048", "c-3072", "d-4096"} {
		for _, scope := range scopes {
			sealed := s.seal(key, prod(scope), []byte("correct horse battery staple\n"))
			for what, to := range elsewhere {
				v := vector1{name: fmt.Sprintf("label-%d-%s-%s", sizes[key], scope, what), at: to(prod(scope)), key: key, sealed: sealed}
				v.expect, v.about = "no key", fmt.Sprintf("Sealed with scope %s and opened elsewhere: %s.", scope, what)
				if string(v.at.label()) == string(prod(scope).label()) {
					v.expect, v.about = "ok", fmt.Sprintf("Sealed for one place and opened in another that means the same: %s.", what)
				}
				s.add(v)
			}
		}
	}
}

// borders is what was cut off or changed at each border there is.
func (s *set1) borders() {
	for _, key := range []string{"a-2048", "c-3072", "d-4096"} {
		sealed, k := s.seal(key, prod("strict"), stream("border", 257)), sizes[key]/8
		add := func(kind, what, about, expect string, sealed []byte) {
			s.add(vector1{name: fmt.Sprintf("%s-%d-%s", kind, sizes[key], what), about: about, expect: expect, at: prod("strict"), key: key, sealed: sealed})
		}
		for what, n := range map[string]int{
			"nothing": 0, "half-length": 1, "length-only": 2, "one-of-wrapped": 3, "half-wrapped": 2 + k/2, "last-of-wrapped": 2 + k - 1, "no-body": 2 + k,
			"one-of-tag": 2 + k + 1, "most-of-tag": 2 + k + 15, "tag-size": 2 + k + 16, "tag-size-and-one": 2 + k + 17, "no-tag": len(sealed) - 16, "last-byte": len(sealed) - 1,
		} {
			expect := "format"
			if n >= 2+k+16 {
				expect = "tamper"
			}
			add("cut", what, fmt.Sprintf("Cut off after %d of %d bytes.", n, len(sealed)), expect, sealed[:n])
		}
		for what, c := range map[string]struct {
			at     int
			expect string
		}{
			"length-high": {0, ""}, "length-low": {1, "no key"}, "wrapped-first": {2, "no key"}, "wrapped-middle": {2 + k/2, "no key"}, "wrapped-last": {2 + k - 1, "no key"},
			"body-first": {2 + k, "tamper"}, "body-middle": {2 + k + 128, "tamper"}, "body-last": {len(sealed) - 17, "tamper"}, "tag-first": {len(sealed) - 16, "tamper"}, "tag-last": {len(sealed) - 1, "tamper"},
		} {
			changed := slices.Clone(sealed)
			changed[c.at] ^= 1
			add("flip", what, fmt.Sprintf("One bit of byte %d is another.", c.at), c.expect, changed)
		}
		for what, c := range map[string]struct {
			n             int
			about, expect string
		}{
			"zero": {0, "The announced key has no bytes.", "format"}, "swapped": {k>>8 | k&0xff<<8, "The length is written with its low byte first.", ""},
			"one-less": {k - 1, "The announced key has one byte less than the key.", "no key"}, "one-more": {k + 1, "The announced key has one byte more than the key.", "no key"},
			"all": {len(sealed) - 2, "The announced key takes all there is.", "format"}, "beyond": {len(sealed) - 1, "The announced key has more bytes than there are.", "format"},
		} {
			changed := slices.Clone(sealed)
			binary.BigEndian.PutUint16(changed, uint16(c.n))
			add("length", what, c.about, c.expect, changed)
		}
		s.crypto(key, sealed, add)
	}
}

// crypto is what a program makes that does not follow the format.
func (s *set1) crypto(key string, sealed []byte, add func(kind, what, about, expect string, sealed []byte)) {
	public := &s.keys[key].PublicKey
	made := recipe1{public: public, label: prod("strict").label(), session: 32, hash: sha256.New}
	for what, c := range map[string]struct {
		about, expect string
		change        func(r *recipe1)
	}{
		"sha1":   {"OAEP with SHA-1.", "no key", func(r *recipe1) { r.hash = sha1.New }},
		"sha512": {"OAEP with SHA-512.", "no key", func(r *recipe1) { r.hash = sha512.New }},
		"aes128": {"A session key of 16 bytes.", "format", func(r *recipe1) { r.session = 16 }},
		"aes192": {"A session key of 24 bytes.", "format", func(r *recipe1) { r.session = 24 }},
		"nonce":  {"A nonce that is not zero.", "tamper", func(r *recipe1) { r.nonce = 1 }},
		"aad":    {"Additional data where there is none.", "tamper", func(r *recipe1) { r.aad = []byte("prod/db") }},
	} {
		r := made
		c.change(&r)
		add("crypto", what, c.about, c.expect, r.seal([]byte("v")))
	}
	head := 2 + public.Size()
	other := s.seal(key, prod("strict"), stream("other", 257))
	add("crypto", "appended", "One byte more at the end.", "tamper", append(slices.Clone(sealed), 0))
	add("crypto", "other-body", "The body of another value for the same place.", "tamper", slices.Concat(sealed[:head], other[head:]))
	add("crypto", "twice", "The same value twice, one behind the other.", "tamper", slices.Concat(sealed, sealed))
}

// recipe1 is an envelope 1 that can be wrong in one thing.
type recipe1 struct {
	public  *rsa.PublicKey
	label   []byte
	session int // bytes
	hash    func() hash.Hash
	nonce   byte
	aad     []byte
}

func (r recipe1) seal(value []byte) []byte {
	session := make([]byte, r.session)
	rand.Read(session)
	wrapped, err := rsa.EncryptOAEP(r.hash(), rand.Reader, r.public, session, r.label)
	check(err)
	block, err := aes.NewCipher(session)
	check(err)
	aead, err := cipher.NewGCM(block)
	check(err)
	nonce := make([]byte, aead.NonceSize())
	nonce[0] = r.nonce
	return aead.Seal(append(binary.BigEndian.AppendUint16(nil, uint16(len(wrapped))), wrapped...), nonce, value, r.aad)
}

// read opens an envelope 1 with the standard library only, and says what it is.
func read(key *rsa.PrivateKey, at place1, sealed []byte) (value []byte, class string) {
	if len(sealed) < 2 {
		return nil, "format"
	}
	n, rest := int(binary.BigEndian.Uint16(sealed)), sealed[2:]
	if n == 0 || n > 2048 || len(rest) < n+16 {
		return nil, "format"
	}
	session, err := rsa.DecryptOAEP(sha256.New(), nil, key, rest[:n], at.label())
	if err != nil {
		return nil, "no key"
	}
	block, err := aes.NewCipher(session)
	if err != nil || len(session) != 32 {
		return nil, "format"
	}
	aead, err := cipher.NewGCM(block)
	check(err)
	if value, err = aead.Open(nil, make([]byte, aead.NonceSize()), rest[n:], nil); err != nil {
		return nil, "tamper"
	}
	return value, "ok"
}

// stream is the beginning of a stream of bytes that a seed names; see
// sealer/testkit.
func stream(seed string, length int) []byte {
	var out []byte
	for i := uint64(0); len(out) < length; i++ {
		block := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(seed), i))
		out = append(out, block[:]...)
	}
	return out[:length]
}

// others is what one key is enough for.
func (s *set1) others() {
	staple := []byte("correct horse battery staple")
	for key, bits := range sizes {
		for _, scope := range scopes {
			s.add(vector1{name: fmt.Sprintf("ok-%c-%d-%s", key[0], bits, scope), about: "A text, " + scope + ".", expect: "ok", at: prod(scope), key: key, sealed: s.seal(key, prod(scope), staple)})
		}
	}
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	strict := prod("strict")
	sealed := s.seal("a-2048", strict, staple)
	ok := func(what, about string, sealed []byte) {
		s.add(vector1{name: "ok-" + what, about: about, expect: "ok", at: strict, key: "a-2048", sealed: sealed})
	}
	ok("empty", "An empty value is a value.", s.seal("a-2048", strict, nil))
	ok("binary", "Every byte there is, zero and line ends among them.", s.seal("a-2048", strict, all))
	ok("4096-bytes", "More than one block by far.", s.seal("a-2048", strict, []byte(strings.Repeat("0123456789abcdef", 256))))
	ok("unchanged", "What the vectors of the other keys open.", sealed)
	for what, key := range map[string]string{"key": "b-2048", "size": "c-3072"} {
		s.add(vector1{name: "no-key-other-" + what, about: "Another key, by " + what + ".", expect: "no key", at: strict, key: key, sealed: sealed})
	}
}
