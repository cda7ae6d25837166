package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/lockstep-dev/lockstep/sealer"
)

var scopes = []string{"strict", "namespace-wide", "cluster-wide"}

func at(scope int) place {
	return place{byte(scope), "prod", "db", "password"}
}

// good is what opens.
func (s *set) good() {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	values := map[string][]byte{
		"empty": {}, "one": {'x'}, "zero": {0}, "text": []byte("correct horse battery staple"), "newline": []byte("value\n"), "utf8": []byte("пароль 🔑"),
		"59": bytes.Repeat([]byte("5"), 59), "60": bytes.Repeat([]byte("6"), 60), "61": bytes.Repeat([]byte("7"), 61), "zeros": make([]byte, 100),
		"bytes": all, "4k": bytes.Repeat([]byte("4k"), 2048), "key": []byte("-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("QUJD", 300) + "\n-----END PRIVATE KEY-----\n"),
	}
	for scope, name := range scopes {
		for what, value := range values {
			for _, key := range []string{"a", "b"} {
				r := recipe{place: at(scope), value: value, to: s.to(key)}
				s.write(vector{name: fmt.Sprintf("ok-%s-%s-%s", name, what, key), about: "It opens.", expect: "ok", place: at(scope), sealed: spell(r.blob()), value: value})
			}
		}
		recipients := map[string][]*sealer.HybridKey{
			"two": s.to("a", "b"), "foreign": s.to("a", "foreign"), "offline": s.to("b", "offline"), "sixteen": append(strangers(15), s.keys["a"]), "lost": s.to("lost", "b"),
		}
		for what, to := range recipients {
			r := recipe{place: at(scope), value: []byte("several"), to: to}
			s.write(vector{name: fmt.Sprintf("ok-%s-recipients-%s", name, what), about: "It opens: one of its recipients is here.", expect: "ok", place: at(scope), sealed: spell(r.blob()), value: r.value})
		}
	}
	long := strings.Repeat("n", 253)
	for what, p := range map[string]place{
		"long": {0, "prod", long, long}, "dots": {0, "prod", "a.b-c", ".dockerconfigjson"}, "clash-1": {0, "a", "bc", "d"}, "clash-2": {0, "ab", "c", "d"},
		"item-as-name": {0, "prod", "db", "db"}, "upper": {0, "prod", "db", "PASS_WORD"}, "wide-other-name": {1, "prod", "another", "password"}, "widest-other-namespace": {2, "another", "another", "password"},
	} {
		r := recipe{place: p, value: []byte("v"), to: s.to("a")}
		s.write(vector{name: "ok-names-" + what, about: "It opens under these names.", expect: "ok", place: p, sealed: spell(r.blob()), value: r.value})
	}
	moved := recipe{place: at(1), value: []byte("v"), to: s.to("a")}
	s.write(vector{name: "ok-moved-namespace-wide", about: "The name of the Secret is not bound in this scope.", expect: "ok", place: place{1, "prod", "web", "password"}, sealed: spell(moved.blob()), value: moved.value})
	moved.place = at(2)
	s.write(vector{name: "ok-moved-cluster-wide", about: "Neither namespace nor name are bound in this scope.", expect: "ok", place: place{2, "dev", "web", "password"}, sealed: spell(moved.blob()), value: moved.value})
}

// places is what is opened elsewhere.
func (s *set) places() {
	for scope, name := range scopes {
		sealed := spell(recipe{place: at(scope), value: []byte("v"), to: s.to("a")}.blob())
		refuse := func(what, expect string, p place) {
			s.write(vector{name: fmt.Sprintf("%s-%s-%s", strings.ReplaceAll(expect, " ", "-"), name, what), about: "It was sealed for another place.", expect: expect, place: p, sealed: sealed})
		}
		refuse("user", "item", place{byte(scope), "prod", "db", "user"})
		refuse("case", "item", place{byte(scope), "prod", "db", "Password"})
		refuse("prefix", "item", place{byte(scope), "prod", "db", "passwor"})
		for other, to := range scopes {
			if other != scope {
				refuse("as-"+to, "scope", at(other))
			}
		}
		if scope < 2 {
			refuse("dev", "namespace", place{byte(scope), "dev", "db", "password"})
			refuse("longer", "namespace", place{byte(scope), "prod2", "db", "password"})
		}
	}
	sealed := spell(recipe{place: at(0), value: []byte("v"), to: s.to("a")}.blob())
	for _, name := range []string{"web", "d", "DB"} {
		s.write(vector{name: "name-strict-" + name, about: "It was sealed for another Secret.", expect: "name", place: place{0, "prod", name, "password"}, sealed: sealed})
	}
}

// unknown is what no key here opens.
func (s *set) unknown() {
	for scope, name := range scopes {
		for what, c := range map[string]struct {
			to     []*sealer.HybridKey
			expect string
		}{
			"lost": {s.to("lost"), "unknown key"}, "foreign": {s.to("foreign"), "cluster"}, "offline": {s.to("offline"), "cluster"},
			"lost-and-foreign": {s.to("lost", "foreign"), "unknown key"}, "foreign-and-offline": {s.to("foreign", "offline"), "cluster"},
		} {
			r := recipe{place: at(scope), value: []byte("v"), to: c.to}
			s.write(vector{name: fmt.Sprintf("key-%s-%s", name, what), about: "No key that it names is here.", expect: c.expect, place: at(scope), sealed: spell(r.blob())})
		}
	}
}

// tampered is what was changed in a way that only opening shows.
func (s *set) tampered() {
	base := recipe{place: at(0), value: []byte("v"), to: s.to("a")}
	two := recipe{place: at(0), value: []byte("v"), to: append(s.to("a"), strangers(1)...)}
	add := func(what, about, expect string, blob []byte) {
		s.write(vector{name: what, about: about, expect: expect, place: at(0), sealed: spell(blob)})
	}
	flip := func(what string, at int, expect string) {
		blob := base.blob()
		blob[(at+len(blob))%len(blob)] ^= 1
		add(fmt.Sprintf("flip-%s", what), fmt.Sprintf("One bit of byte %d was changed.", at), expect, blob)
	}
	for what, c := range map[string]struct {
		at     int
		expect string
	}{
		"version": {0, "format"}, "suite": {1, "format"}, "scope": {2, "format"}, "namespace": {3, "namespace"}, "name": {11, "name"}, "item": {19, "item"},
		"commit-first": {27, "tamper"}, "commit-last": {58, "tamper"}, "key-id-first": {60, "unknown key"}, "key-id-last": {75, "unknown key"},
		"cluster-first": {76, "tamper"}, "cluster-last": {91, "tamper"}, "mlkem-first": {92, "tamper"}, "mlkem-middle": {600, "tamper"}, "mlkem-last": {92 + 1087, "tamper"},
		"x25519-first": {92 + 1088, "tamper"}, "x25519-last": {92 + 1119, "tamper"}, "wrapped-first": {1212, "tamper"}, "wrapped-tag": {1259, "tamper"},
		"body-first": {1260, "tamper"}, "body-length": {1263, "tamper"}, "body-padding": {1300, "tamper"}, "tag-first": {-16, "tamper"}, "tag-last": {-1, "tamper"},
	} {
		flip(what, c.at, c.expect)
	}
	for what, elsewhere := range map[string]place{"namespace": {0, "dev", "db", "password"}, "name": {0, "prod", "web", "password"}, "item": {0, "prod", "db", "user"}, "scope": at(1)} {
		r := base
		r.bound = &elsewhere
		add("tamper-tags-"+what, "It was sealed for another place, and its public tags were changed to this one.", "tamper", r.blob())
	}
	s.crafted(base, two, add)
}

// crafted are envelopes that a sealer made wrong in one thing.
func (s *set) crafted(base, two recipe, add func(what, about, expect string, blob []byte)) {
	r := base
	r.commit = func([]byte) []byte { return make([]byte, 32) }
	add("tamper-commit-zero", "Its commitment is not that of its session key.", "tamper", r.blob())
	for what, padding := range map[string]func([]byte) []byte{
		"not-zero":   func(v []byte) []byte { p := pad(v); p[len(p)-1] = 1; return p },
		"too-large":  func(v []byte) []byte { return append(pad(v), make([]byte, padded(65)-64)...) },
		"length":     func(v []byte) []byte { p := pad(v); p[3] = 61; return p },
		"length-max": func(v []byte) []byte { p := pad(v); p[0] = 0xff; return p },
	} {
		r := base
		r.padding = padding
		add("tamper-padding-"+what, "Its padding is not the one that belongs to its value.", "tamper", r.blob())
	}
	r = base
	r.wrap = func(int, []byte) []byte { return bytes.Repeat([]byte{1}, 32) }
	add("tamper-session-other", "The recipient gets another session key than the body has.", "tamper", r.blob())
	r = base
	r.wrapInfo = func(_ int, info []byte) []byte { return append(info, 0) }
	add("tamper-info-longer", "The session key is bound to a byte more.", "tamper", r.blob())
	r = base
	r.to = s.to("b")
	r.stanza = func(_ int, id, _ []byte) { copy(id, s.keys["a"].ID[:]) }
	add("tamper-renamed-key", "It was sealed for key b, and says a.", "tamper", r.blob())
	r = base
	r.wrapInfo = func(_ int, info []byte) []byte {
		return bytes.Replace(info, s.keys["a"].Cluster[:], s.keys["foreign"].Cluster[:], 1)
	}
	add("tamper-cluster-bound", "It is bound to another cluster than it names.", "tamper", r.blob())

	blob := two.blob()
	stranger := 60
	if bytes.Equal(blob[60:76], s.keys["a"].ID[:]) {
		stranger += 1200
	}
	for what, offset := range map[string]int{"id": 0, "cluster": 16, "enc": 32, "wrapped": 1199} {
		changed := slices.Clone(blob)
		changed[stranger+offset] ^= 1
		expect := "tamper"
		if what == "id" {
			changed[stranger+offset] ^= 1
			changed[stranger+15] ^= 1 // which keeps the order
		}
		add("tamper-other-recipient-"+what, "Something of the other recipient was changed.", expect, changed)
	}
	gone := slices.Concat(blob[:59], []byte{1}, blob[60:60+1200], blob[60+2400:])
	if stranger == 60 {
		gone = slices.Concat(blob[:59], []byte{1}, blob[60+1200:])
	}
	add("tamper-recipient-gone", "The other recipient was taken out.", "tamper", gone)
	one, other := base.blob(), base.blob()
	add("tamper-body-of-another", "Its body is that of another value for the same place.", "tamper", slices.Concat(one[:1260], other[1260:]))
	add("tamper-recipient-of-another", "Its recipient is that of another value for the same place.", "tamper", slices.Concat(one[:60], other[60:1260], one[1260:]))
	add("tamper-commit-of-another", "Its commitment is that of another value for the same place.", "tamper", slices.Concat(one[:27], other[27:59], one[59:]))
	zero := base.blob()
	clear(zero[92+1088 : 92+1120])
	add("tamper-x25519-zero", "The X25519 share is the point of order one.", "tamper", zero)
	clear(zero[92 : 92+1088])
	add("tamper-enc-zero", "The encapsulated key is all zero.", "tamper", zero)
}

// formats is what is no envelope 2.
func (s *set) formats() {
	blob := recipe{place: at(0), value: []byte("v"), to: s.to("a")}.blob()
	text := spell(blob)
	add := func(what, about, sealed string) {
		s.write(vector{name: "format-" + what, about: about, expect: "format", place: at(0), sealed: sealed})
	}
	for _, n := range []int{0, 1, 2, 3, 10, 11, 19, 27, 58, 59, 60, 61, 75, 76, 92, 1180, 1212, 1259, 1260, 1276, 1339} {
		add(fmt.Sprintf("cut-%04d", n), fmt.Sprintf("It ends after %d of %d bytes.", n, len(blob)), spell(blob[:n]))
	}
	change := func(what string, f func(b []byte) []byte) {
		add(what, "It is malformed: "+strings.ReplaceAll(what, "-", " ")+".", spell(f(slices.Clone(blob))))
	}
	set := func(at int, to byte) func([]byte) []byte {
		return func(b []byte) []byte { b[at] = to; return b }
	}
	for _, v := range []byte{0, 1, 3, 255} {
		change(fmt.Sprintf("version-%d", v), set(0, v))
	}
	for _, v := range []byte{0, 2, 255} {
		change(fmt.Sprintf("suite-%d", v), set(1, v))
	}
	for _, v := range []byte{3, 128, 255} {
		change(fmt.Sprintf("scope-%d", v), set(2, v))
	}
	for _, v := range []byte{0, 2, 17, 255} {
		change(fmt.Sprintf("recipients-%d", v), set(59, v))
	}
	change("byte-more", func(b []byte) []byte { return append(b, 0) })
	change("bucket-more", func(b []byte) []byte { return append(b, make([]byte, 4)...) })
	change("body-none", func(b []byte) []byte { return b[:1260] })
	change("body-tag-only", func(b []byte) []byte { return b[:1276] })
	change("same-recipient-twice", func(b []byte) []byte { return slices.Concat(b[:59], []byte{2}, b[60:1260], b[60:]) })
	pair := recipe{place: at(0), value: []byte("v"), to: s.to("a", "b")}.blob()
	add("recipients-not-in-order", "Its recipients are not in the order of their ids.", spell(slices.Concat(pair[:60], pair[1260:2460], pair[60:1260], pair[2460:])))
	many := recipe{place: at(0), value: []byte("v"), to: append(strangers(16), s.keys["a"])}
	add("recipients-seventeen", "It has more recipients than are allowed.", spell(many.blob()))
	change("cluster-wide-with-namespace", set(2, 2))
	change("namespace-wide-with-name", set(2, 1))
	for what, t := range map[string]string{
		"empty": "", "prefix-only": "ls2.", "prefix-none": text[4:], "prefix-1": "ls1." + text[4:], "prefix-3": "ls3." + text[4:], "prefix-upper": "LS2." + text[4:], "prefix-twice": "ls2." + text,
		"padded": text + "=", "space-before": " " + text, "space-after": text + " ", "newline-after": text + "\n", "newline-inside": text[:100] + "\n" + text[100:],
		"alphabet": "ls2.++//" + text[8:], "character": text[:50] + "!" + text[51:], "cut-character": text[:len(text)-1], "bits-left": text[:len(text)-1] + "B", "quoted": `"` + text + `"`,
	} {
		if what == "bits-left" && t == text {
			t = text[:len(text)-1] + "C"
		}
		add("text-"+what, "Its text has another spelling than the one there is.", t)
	}
}
