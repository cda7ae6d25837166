package source

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/memory"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-dev/lockstep/reconciler/source/pack"
)

// bare is a repository that is written by hand, as no Git would let anyone.
type bare struct {
	*memory.Storage
	t testing.TB
}

func newBare(t testing.TB) *bare { return &bare{memory.NewStorage(), t} }

func (b *bare) put(kind plumbing.ObjectType, data string) plumbing.Hash {
	b.t.Helper()
	hash, err := b.SetEncodedObject(pack.NewObject(kind, []byte(data)))
	if err != nil {
		b.t.Fatal(err)
	}
	return hash
}

func (b *bare) blob(data string) plumbing.Hash { return b.put(plumbing.BlobObject, data) }

// entry is a line of a folder: its mode is written as Git does, in octal.
type entry struct {
	mode, name string
	hash       plumbing.Hash
}

func (b *bare) folder(entries ...entry) plumbing.Hash {
	var text strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&text, "%s %s\x00%s", e.mode, e.name, e.hash[:])
	}
	return b.put(plumbing.TreeObject, text.String())
}

func (b *bare) commit(tree plumbing.Hash) plumbing.Hash {
	return b.put(plumbing.CommitObject, fmt.Sprintf("tree %s\nauthor a <a@example.test> 0 +0000\ncommitter a <a@example.test> 0 +0000\n\nx\n", tree))
}

// at nests a file in folders.
func (b *bare) at(file entry, folders ...string) plumbing.Hash {
	tree := b.folder(file)
	for _, name := range slices.Backward(folders) {
		tree = b.folder(entry{"40000", name, tree})
	}
	return tree
}

// TestHostileRepositories reads repositories that must not become a tree
// (classes K14 to K16 of the advisories of such systems), or not as they are
// written.
func TestHostileRepositories(t *testing.T) {
	b := newBare(t)
	x := b.blob("x")
	file := func(name string) entry { return entry{"100644", name, x} }
	link := func(to string) entry { return entry{"120000", "link", b.blob(to)} }
	for name, c := range map[string]struct {
		tree plumbing.Hash
		bad  bool // refused as a whole
	}{
		"dots":                        {b.at(file(".."), "a"), true},
		"dots as a folder":            {b.at(file("x"), "..", "etc"), true},
		"a dot":                       {b.at(file(".")), true},
		"a slash in a name":           {b.at(file("a/../../x")), true},
		"an absolute name":            {b.at(file("/etc/passwd")), true},
		"no name":                     {b.at(file("")), true},
		"a backslash":                 {b.at(file(`..\x`)), true},
		"Git's folder":                {b.at(file("config"), ".git"), true},
		"Git's folder, upper":         {b.at(file("config"), ".GIT"), true},
		"Git's folder, short":         {b.at(file("config"), "git~1"), true},
		"Git's folder, dotted":        {b.at(file("config"), ".git. ."), true},
		"Git's folder, stream":        {b.at(file("config"), ".git::$INDEX_ALLOCATION"), true},
		"Git's folder, no width":      {b.at(file("config"), ".g\u200cit"), true},
		"Git's folder, deep":          {b.at(file("config"), "a", ".git", "hooks"), true},
		"a long name":                 {b.at(file(strings.Repeat("x", 5000))), true},
		"a file and a folder at once": {b.folder(file("a"), entry{"40000", "a", b.at(file("b"))}), true},
		"a folder that is a file":     {b.folder(entry{"40000", "a", x}), true},
		"a file that is a folder":     {b.folder(entry{"100644", "a", b.at(file("b"))}), true},
		"a missing file":              {b.folder(entry{"100644", "a", plumbing.NewHash(strings.Repeat("1", 40))}), true},
		"a mode of no kind":           {b.folder(entry{"10644", "a", x}), true},
		"folders 101 deep":            {b.at(file("x"), strings.Split(strings.Repeat("d ", 101)+"d", " ")...), true},
		"a bomb of folders":           {b.bomb(8, 10), true},
		"a bomb of .sourceignore":     {b.bombOf(entry{"100644", ".sourceignore", b.blob("x\n")}, 8, 10), true},
		"a link out":                  {b.folder(link("../../etc/passwd")), false},
		"an absolute link":            {b.folder(link("/proc/self/environ")), false},
		"a link to itself":            {b.folder(link("link")), false},
		"a link to a folder":          {b.folder(entry{"40000", "dir", b.at(file("x"))}, link("dir")), false},
		"a link as .sourceignore":     {b.folder(entry{"120000", ".sourceignore", b.blob("/etc/passwd")}, link("x")), false},
		"hooks and attributes":        {b.folder(entry{"100644", ".gitattributes", b.blob("* filter=evil")}, entry{"100755", "hooks", x}, link("x")), false},
	} {
		t.Run(name, func(t *testing.T) {
			c2, err := read(b, b.commit(c.tree), selection{}, nil)
			if c.bad {
				if err == nil && len(c2.tree.files) > 0 { // what is left out by default does no harm
					t.Errorf("accepted: %v", c2.tree.files)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fs.ReadFile(c2.tree, "link"); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("a link was followed: %v", err)
			}
			if _, err := fs.ReadFile(c2.tree, "link/x"); err == nil {
				t.Error("a link to a folder was followed")
			}
		})
	}
}

// bomb is a folder that holds itself width times, depth times over.
func (b *bare) bomb(depth, width int) plumbing.Hash {
	return b.bombOf(entry{"100644", "x", b.blob("x")}, depth, width)
}

func (b *bare) bombOf(file entry, depth, width int) plumbing.Hash {
	tree := b.folder(file)
	for range depth {
		var all []entry
		for i := range width {
			all = append(all, entry{"40000", fmt.Sprintf("d%d", i), tree})
		}
		tree = b.folder(all...)
	}
	return tree
}

// TestAMillionFiles reads a folder of as many, which costs one object on the
// wire, and bounds the memory that it takes.
func TestAMillionFiles(t *testing.T) {
	b := newBare(t)
	x := b.blob("x")
	var text bytes.Buffer
	for i := range 1_000_000 {
		fmt.Fprintf(&text, "100644 %07d\x00%s", i, x[:])
	}
	tree := b.put(plumbing.TreeObject, text.String())
	_, err := read(b, b.commit(tree), selection{}, nil)
	if !errors.Is(err, errTooLarge) {
		t.Errorf("got %v, want that it is too large", err)
	}
	// Over the wire it does not get that far: no folder may be that large.
	if int64(text.Len()) <= maxFile {
		t.Errorf("a folder of %d bytes would be read", text.Len())
	}
}

// stream is a Git server over HTTP whose pack has no end: 5 GB of files that
// cannot be compressed.
func stream(t *testing.T, refs string, send func(w io.Writer)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line := func(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }
		if strings.HasSuffix(r.URL.Path, "/info/refs") {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			_, _ = io.WriteString(w, line("# service=git-upload-pack\n")+"0000"+refs+"0000")
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		_, _ = io.WriteString(w, line("shallow "+hash1+"\n")+"0000"+line("NAK\n"))
		send(w)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/x.git"
}

const hash1 = "1111111111111111111111111111111111111111"

func refLines() string {
	first := hash1 + " refs/heads/main\x00shallow ofs-delta\n"
	return fmt.Sprintf("%04x%s", len(first)+4, first)
}

// spec is a GitRepository of an address.
func spec(url string, limit time.Duration) *sourcev1.GitRepository {
	return &sourcev1.GitRepository{Spec: sourcev1.GitRepositorySpec{
		URL: url, Interval: metav1.Duration{Duration: time.Minute}, Timeout: &metav1.Duration{Duration: limit}, Reference: &sourcev1.GitRepositoryRef{Branch: "main"},
	}}
}

// TestFiveGigabytes refuses a repository that large by what has come of it, and
// keeps within 256 MiB meanwhile.
func TestFiveGigabytes(t *testing.T) {
	var sent atomic.Int64
	url := stream(t, refLines(), func(w io.Writer) {
		_, _ = w.Write([]byte("PACK\x00\x00\x00\x02\x00\x01\x00\x00"))
		// A file of 1 MiB, stored without compression, over and over.
		var one bytes.Buffer
		size := 1 << 20
		first := byte(3<<4 | size&15)
		for size >>= 4; size > 0; size >>= 7 {
			one.WriteByte(first | 0x80)
			first = byte(size & 0x7f)
		}
		one.WriteByte(first)
		one.Write(uncompressed(1 << 20))
		for sent.Load() < 5<<30 {
			n, err := w.Write(one.Bytes())
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	})
	var before, peak runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	done := make(chan error, 1)
	go func() {
		_, err := (&state{}).refresh(t.Context(), alone(spec(url, time.Minute), nil))
		done <- err
	}()
	highest := uint64(0)
	for {
		select {
		case err := <-done:
			if !errors.Is(err, errTooLarge) {
				t.Errorf("got %v, want that it is too large", err)
			}
			t.Logf("%d MiB sent, %d MiB of heap", sent.Load()>>20, highest>>20)
			if highest > 256<<20 {
				t.Errorf("the heap grew by %d MiB", highest>>20)
			}
			return
		case <-time.After(20 * time.Millisecond):
			runtime.ReadMemStats(&peak)
			if peak.HeapInuse > before.HeapInuse {
				highest = max(highest, peak.HeapInuse-before.HeapInuse)
			}
		}
	}
}

// uncompressed is a zlib stream of n zeros in blocks without compression.
func uncompressed(n int) []byte {
	out := []byte{0x78, 0x01}
	sum := [2]uint32{1, 0}
	for left := n; left > 0; {
		size := min(left, 0xffff)
		left -= size
		final := byte(0)
		if left == 0 {
			final = 1
		}
		out = append(out, final, byte(size), byte(size>>8), ^byte(size), ^byte(size>>8))
		out = append(out, make([]byte, size)...)
		sum[1] = (sum[1] + uint32(size)*sum[0]) % 65521
	}
	return append(out, byte(sum[1]>>8), byte(sum[1]), byte(sum[0]>>8), byte(sum[0]))
}

// TestSlowForever ends at the timeout with a server that sends a byte now and
// then, of the listing or of the pack, without end.
func TestSlowForever(t *testing.T) {
	drip := func(w io.Writer) {
		for range 600 {
			if _, err := w.Write([]byte{'P'}); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(100 * time.Millisecond)
		}
	}
	listing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { drip(w) }))
	t.Cleanup(listing.CloseClientConnections)
	for name, url := range map[string]string{"listing": listing.URL + "/x.git", "pack": stream(t, refLines(), drip)} {
		t.Run(name, func(t *testing.T) {
			r := spec(url, time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), timeout(r))
			defer cancel()
			began := time.Now()
			_, err := (&state{}).refresh(ctx, alone(r, nil))
			if err == nil || time.Since(began) > 30*time.Second {
				t.Errorf("%v after %s", err, time.Since(began))
			}
		})
	}
}

// TestEmptyAndBroken are answers that are no repository.
func TestEmptyAndBroken(t *testing.T) {
	for name, c := range map[string]struct{ refs, pack string }{
		"an empty repository":     {"", ""},
		"a pack that is none":     {refLines(), "PUCK"},
		"a pack that is cut off":  {refLines(), "PACK\x00\x00\x00\x02\x00\x00\x00\x09"},
		"a pack without its sum":  {refLines(), "PACK\x00\x00\x00\x02\x00\x00\x00\x00"},
		"a pack of another thing": {refLines(), emptyPack()},
	} {
		t.Run(name, func(t *testing.T) {
			url := stream(t, c.refs, func(w io.Writer) { _, _ = io.WriteString(w, c.pack) })
			if snapshot, err := (&state{}).refresh(t.Context(), alone(spec(url, time.Minute), nil)); err == nil {
				t.Errorf("got %+v", snapshot)
			}
		})
	}
}

// emptyPack is whole, and does not hold what was asked for.
func emptyPack() string {
	head := "PACK\x00\x00\x00\x02\x00\x00\x00\x00"
	sum := sha1.Sum([]byte(head))
	return head + string(sum[:])
}
