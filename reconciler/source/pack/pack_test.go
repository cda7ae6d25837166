package pack_test

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/lockstep-dev/lockstep/reconciler/source/pack"
)

var limits = pack.Limits{Pack: 1 << 20, Inflated: 4 << 20, Object: 1 << 20, Skipped: 8 << 20, Objects: 1000, Depth: 50}

// builder writes a pack by hand, as no well-behaved Git would.
type builder struct {
	body  bytes.Buffer
	count uint32
}

func (b *builder) at() int64 { return int64(12 + b.body.Len()) }

func (b *builder) raw(kind byte, size int, prefix, content []byte) int64 {
	at := b.at()
	first := kind<<4 | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		b.body.WriteByte(first | 0x80)
		first = byte(size & 0x7f)
	}
	b.body.WriteByte(first)
	b.body.Write(prefix)
	z := zlib.NewWriter(&b.body)
	_, _ = z.Write(content)
	_ = z.Close()
	b.count++
	return at
}

func (b *builder) blob(content []byte) int64 { return b.raw(3, len(content), nil, content) }

func (b *builder) delta(base int64, instructions []byte) int64 {
	back := b.at() - base
	prefix := []byte{byte(back & 0x7f)}
	for back >>= 7; back > 0; back >>= 7 {
		back--
		prefix = append([]byte{0x80 | byte(back&0x7f)}, prefix...)
	}
	return b.raw(6, len(instructions), prefix, instructions)
}

func (b *builder) pack() []byte {
	out := []byte("PACK\x00\x00\x00\x02")
	out = binary.BigEndian.AppendUint32(out, b.count)
	out = append(out, b.body.Bytes()...)
	sum := sha1.Sum(out)
	return append(out, sum[:]...)
}

func varint(n int) []byte {
	var out []byte
	for ; n >= 0x80; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(out, byte(n))
}

// repeat is a delta that copies a base of n bytes times over.
func repeat(n, times int) []byte {
	d := append(varint(n), varint(n*times)...)
	for range times {
		d = append(d, 0x80|0x10|0x20|0x40, byte(n), byte(n>>8), byte(n>>16))
	}
	return d
}

// gitPack returns a real pack of some commits, with deltas, and its objects.
func gitPack(t testing.TB) ([]byte, []string) {
	t.Helper()
	dir := t.TempDir()
	run := func(stdin string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.test", "-c", "commit.gpgsign=false"}, args...)...)
		cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), os.Stderr
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("git %v: %v", args, err)
		}
		return string(out)
	}
	run("", "init", "-q")
	for i := range 4 {
		text := strings.Repeat("a line that stays\nanother one\n", 40) + strings.Repeat("x", i*10)
		if err := os.WriteFile(filepath.Join(dir, "f"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		run("", "add", ".")
		run("", "commit", "-q", "-m", "c")
	}
	names := run("", "rev-list", "--objects", "--all", "--no-object-names")
	return []byte(run(names, "pack-objects", "--stdout", "-q", "--delta-base-offset")), strings.Fields(names)
}

func TestReadsWhatGitWrites(t *testing.T) {
	data, names := gitPack(t)
	into := memory.NewStorage()
	result, err := pack.Read(bytes.NewReader(data), into, limits)
	if err != nil || result.Objects != len(names) {
		t.Fatalf("%d objects, %v; want %d", result.Objects, err, len(names))
	}
	for _, name := range names {
		o, err := into.EncodedObject(plumbing.AnyObject, plumbing.NewHash(name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r, _ := o.Reader()
		content, _ := io.ReadAll(r)
		if got := plumbing.ComputeHash(o.Type(), content); got.String() != name {
			t.Errorf("%s has the content of %s", name, got)
		}
	}
}

// TestFlippedBytes flips each byte of a pack: all are refused.
func TestFlippedBytes(t *testing.T) {
	data, _ := gitPack(t)
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 0x40
		if _, err := pack.Read(bytes.NewReader(bad), memory.NewStorage(), limits); err == nil {
			t.Errorf("byte %d of %d flipped: accepted", i, len(data))
		}
	}
}

func TestCutOff(t *testing.T) {
	data, _ := gitPack(t)
	for n := range data {
		if _, err := pack.Read(bytes.NewReader(data[:n]), memory.NewStorage(), limits); !errors.Is(err, pack.ErrMalformed) {
			t.Fatalf("cut off after %d of %d: %v", n, len(data), err)
		}
	}
}

func TestBombs(t *testing.T) {
	mebi := make([]byte, 1<<20)
	for name, c := range map[string]struct {
		make func(b *builder)
		want error
	}{
		"one file of 1000:1 is skipped":   {func(b *builder) { b.blob(make([]byte, 2<<20)) }, nil},
		"files that are too large in all": {func(b *builder) { b.blob(make([]byte, 9<<20)) }, pack.ErrTooLarge},
		"many files": {func(b *builder) {
			for range 5 {
				b.blob(mebi)
			}
		}, pack.ErrTooLarge},
		"a large folder":              {func(b *builder) { b.raw(2, 2<<20, nil, make([]byte, 2<<20)) }, pack.ErrTooLarge},
		"a large commit":              {func(b *builder) { b.raw(1, 2<<20, nil, make([]byte, 2<<20)) }, pack.ErrTooLarge},
		"a size of petabytes":         {func(b *builder) { b.raw(2, 1<<50, nil, []byte("x")) }, pack.ErrTooLarge},
		"a size that is a lie":        {func(b *builder) { b.raw(3, 900_000, nil, []byte("x")) }, pack.ErrMalformed},
		"more content than the size":  {func(b *builder) { b.raw(3, 3, nil, []byte("four")) }, pack.ErrMalformed},
		"more objects than there are": {func(b *builder) { b.blob([]byte("x")); b.count = 7 }, pack.ErrMalformed},
		"a million objects":           {func(b *builder) { b.count = 1_000_000 }, pack.ErrTooLarge},
		"deltas that grow":            {growing, pack.ErrTooLarge},
		"a delta of a skipped file":   {func(b *builder) { b.delta(b.blob(make([]byte, 2<<20)), repeat(2<<20, 1)) }, nil},
		"deltas of a skipped file, in all": {func(b *builder) {
			at := b.blob(make([]byte, 2<<20))
			for range 4 {
				b.delta(at, repeat(2<<20, 1))
			}
		}, pack.ErrTooLarge},
		"a delta of 10,000 on each other":   {deep, pack.ErrTooLarge},
		"a delta that says petabytes":       {func(b *builder) { b.delta(b.raw(2, 1, nil, []byte("x")), append(varint(1), varint(1<<50)...)) }, pack.ErrTooLarge},
		"a delta beyond its base":           {func(b *builder) { b.delta(b.blob([]byte("abc")), append(append(varint(3), varint(9)...), 0x90, 9)) }, pack.ErrMalformed},
		"a delta of another base's size":    {func(b *builder) { b.delta(b.blob([]byte("abc")), append(append(varint(4), varint(3)...), 0x90, 3)) }, pack.ErrMalformed},
		"a delta that makes less":           {func(b *builder) { b.delta(b.blob([]byte("abc")), append(append(varint(3), varint(9)...), 0x90, 3)) }, pack.ErrMalformed},
		"a delta with the reserved command": {func(b *builder) { b.delta(b.blob([]byte("abc")), append(append(varint(3), varint(3)...), 0)) }, pack.ErrMalformed},
		"a delta without an end":            {func(b *builder) { b.delta(b.blob([]byte("abc")), []byte{0x83}) }, pack.ErrMalformed},
		"a delta on itself":                 {func(b *builder) { b.delta(b.at(), repeat(1, 1)) }, pack.ErrMalformed},
		"a delta on nothing":                {func(b *builder) { b.raw(7, 2, bytes.Repeat([]byte{7}, 20), []byte{0, 0}) }, pack.ErrNoBase},
		"an object of no kind":              {func(b *builder) { b.raw(5, 1, nil, []byte("x")) }, pack.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			b := &builder{}
			c.make(b)
			into := memory.NewStorage()
			_, err := pack.Read(bytes.NewReader(b.pack()), into, limits)
			if !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// growing is a file of 1,000 bytes, of which deltas make a hundred times as
// much, again and again: 100 bytes on the wire for each.
func growing(b *builder) {
	at, n := b.raw(2, 1000, nil, make([]byte, 1000)), 1000
	for range 4 {
		at = b.delta(at, repeat(n, 100))
		n *= 100
	}
}

func deep(b *builder) {
	at := b.blob([]byte("x"))
	for range 51 {
		at = b.delta(at, repeat(1, 1))
	}
}

func TestTooMuchOnTheWire(t *testing.T) {
	b := &builder{}
	b.blob([]byte("some content"))
	small := limits
	small.Pack = 20
	if _, err := pack.Read(bytes.NewReader(b.pack()), memory.NewStorage(), small); !errors.Is(err, pack.ErrTooLarge) {
		t.Error(err)
	}
}

// TestReferences resolves deltas that name their base by its hash, in any
// order, and on objects that were there before.
func TestReferences(t *testing.T) {
	into := memory.NewStorage()
	old := pack.NewObject(plumbing.BlobObject, []byte("old"))
	if _, err := into.SetEncodedObject(old); err != nil {
		t.Fatal(err)
	}
	double, quadruple := plumbing.ComputeHash(plumbing.BlobObject, []byte("oldold")), plumbing.ComputeHash(plumbing.BlobObject, []byte("oldoldoldold"))
	b, hash := &builder{}, old.Hash()
	four, two := repeat(6, 2), repeat(3, 2)
	b.raw(7, len(four), double[:], four)
	b.raw(7, len(two), hash[:], two)
	if _, err := pack.Read(bytes.NewReader(b.pack()), into, limits); err != nil {
		t.Fatal(err)
	}
	if _, err := into.EncodedObject(plumbing.BlobObject, quadruple); err != nil {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	data, _ := gitPack(f)
	f.Add(data)
	for _, seed := range []func(*builder){growing, deep, func(b *builder) { b.blob([]byte("x")) }, func(b *builder) { b.delta(b.blob([]byte("abc")), append(append(varint(3), varint(9)...), 0x90, 3)) }} {
		b := &builder{}
		seed(b)
		f.Add(b.pack())
	}
	small := pack.Limits{Pack: 1 << 16, Inflated: 1 << 18, Object: 1 << 16, Skipped: 1 << 18, Objects: 1000, Depth: 50}
	f.Fuzz(func(t *testing.T, data []byte) {
		// A sum that is right, or nothing behind it would be reached.
		if len(data) > 20 {
			sum := sha1.Sum(data[:len(data)-20])
			data = append(data[:len(data)-20:len(data)-20], sum[:]...)
		}
		into := memory.NewStorage()
		if _, err := pack.Read(bytes.NewReader(data), into, small); err != nil {
			return
		}
		total := int64(0)
		for hash, o := range into.Objects {
			r, _ := o.Reader()
			content, _ := io.ReadAll(r)
			if total += int64(len(content)); plumbing.ComputeHash(o.Type(), content) != hash {
				t.Errorf("%s has another content", hash)
			}
		}
		if total > small.Inflated {
			t.Errorf("%d bytes", total)
		}
	})
}
