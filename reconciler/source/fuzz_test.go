package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// tarball is an archive of headers, with content where they say so.
func tarball(t testing.TB, compressed bool, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	var to io.Writer = &out
	z := gzip.NewWriter(&out)
	if compressed {
		to = z
	}
	w := tar.NewWriter(to)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(w, zeros{}, h.Size); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if compressed {
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func regular(name string, size int64) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size}
}

// TestHostileArchives extracts what must not become a tree.
func TestHostileArchives(t *testing.T) {
	many := make([]tar.Header, 0, 70)
	for i := range 70 { // 1.1 GB, 1 MB on the wire
		many = append(many, regular("f"+strings.Repeat("x", i), 16<<20))
	}
	for name, c := range map[string]struct {
		headers []tar.Header
		want    error // nil for any
	}{
		"a path out":               {[]tar.Header{regular("../x", 1)}, nil},
		"a path out, in the midst": {[]tar.Header{regular("a/../../x", 1)}, nil},
		"an absolute path":         {[]tar.Header{regular("/etc/passwd", 1)}, nil},
		"Git's folder":             {[]tar.Header{regular("a/.git/config", 1)}, nil},
		"the same path twice":      {[]tar.Header{regular("x", 1), regular("x", 1)}, nil},
		"a file and a folder":      {[]tar.Header{regular("x", 1), regular("x/y", 1)}, nil},
		"a hard link":              {[]tar.Header{{Name: "x", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}}, nil},
		"an absolute link":         {[]tar.Header{{Name: "x", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}}, nil},
		"a device":                 {[]tar.Header{{Name: "x", Typeflag: tar.TypeChar}}, nil},
		"a pipe":                   {[]tar.Header{{Name: "x", Typeflag: tar.TypeFifo}}, nil},
		"a large file":             {[]tar.Header{regular("x", 17<<20)}, errTooLarge},
		"a bomb":                   {many, errTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := Extract(bytes.NewReader(tarball(t, true, c.headers...)))
			if err == nil {
				_, err = b.Tree(nil)
			}
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestArchiveLinks keeps a link within the archive as what it is.
func TestArchiveLinks(t *testing.T) {
	b, err := Extract(bytes.NewReader(tarball(t, false, regular("a/x", 3), tar.Header{Name: "b", Typeflag: tar.TypeSymlink, Linkname: "a"})))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := b.Tree(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fs.ReadFile(tree, "b/x"); err == nil {
		t.Error("the link was followed")
	}
	if data, err := fs.ReadFile(tree, "a/x"); err != nil || len(data) != 3 {
		t.Errorf("a/x: %d bytes, %v", len(data), err)
	}
}

func FuzzExtract(f *testing.F) {
	f.Add(tarball(f, true, regular("a/x", 3), regular("../x", 1)))
	f.Add(tarball(f, false, regular("a/x", 3), tar.Header{Name: "b", Typeflag: tar.TypeSymlink, Linkname: "a"}))
	f.Add(tarball(f, false, tar.Header{Name: "x", Typeflag: tar.TypeLink, Linkname: "y"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := Extract(bytes.NewReader(data))
		if err != nil {
			return
		}
		tree, err := b.Tree(nil)
		if err != nil {
			return
		}
		for name, file := range tree.files {
			if checkPath(name) != nil || int64(len(file.data)) > maxFile {
				t.Errorf("%q has %d bytes", name, len(file.data))
			}
		}
	})
}

func FuzzTree(f *testing.F) {
	f.Add([]byte("100644 x\x0001234567890123456789"))
	f.Add([]byte("40000 ..\x0001234567890123456789100644 .git\x0001234567890123456789"))
	f.Add([]byte("120000 l\x0001234567890123456789160000 m\x0001234567890123456789"))
	f.Fuzz(func(t *testing.T, folder []byte) {
		b := newBare(t)
		c, err := read(b, b.commit(b.put(plumbing.TreeObject, string(folder))), selection{}, nil)
		if err != nil {
			return
		}
		for name := range c.tree.files {
			if checkPath(name) != nil {
				t.Errorf("%q", name)
			}
		}
	})
}

func FuzzKnownHosts(f *testing.F) {
	f.Add([]byte("example.test ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6qUjJ1gE1gq6CJqPzW2k1Cq8mV8F5rT0FfQ8a3bYdE\n"), "example.test:22")
	f.Add([]byte("|1|YWJj|ZGVm ssh-ed25519 AAAA\n@revoked * ssh-rsa AAAA\n"), "[x]:1")
	f.Fuzz(func(t *testing.T, text []byte, address string) {
		hosts, err := parseKnownHosts(text)
		if err == nil && len(hosts) == 0 {
			t.Error("accepted, with no host")
		}
		if len(hosts.algorithms(address)) > 2*len(hosts) {
			t.Error("more algorithms than keys")
		}
	})
}

func FuzzSubmoduleAddress(f *testing.F) {
	for _, seed := range []string{"../other.git", "./x", "https://example.test/x", "https://evil.test/x", "https://example.test@evil.test/", "file:///etc", "--upload-pack=x", "../../../../x", "//evil.test/x", `https://example.test\@evil.test/x`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		got, err := resolve("https://example.test/team/app.git", address)
		if err != nil {
			return
		}
		if !strings.HasPrefix(got, "https://example.test") || hostOf(got) != "example.test" {
			t.Errorf("%q leads to %q", address, got)
		}
	})
}

// TestHostileAddresses are what must not become a command, a file or another
// host (classes K14 and K18).
func TestHostileAddresses(t *testing.T) {
	for _, address := range []string{
		"", "/etc/passwd", "file:///etc/passwd", "ext::sh -c id", "--upload-pack=id", "-oProxyCommand=id", "git://example.test/x", "ftp://example.test/x",
		"ssh://", "https://", "https:///x", "git@example.test:x.git", "https://user:password@example.test/x", "javascript:1", "data:,x", "\x00", "https://example.test\n/x",
		"http+unix:///run/x", "fd::7", "transport::https://x", "//example.test/x", "https//example.test", "gopher://x/1", "ldap://x/", "jar:file:///x", "C:\\x", "\\\\host\\x",
		"https://[::1", "https://exa mple.test/", "ssh://user@/x",
	} {
		if r, err := newRemote(address, nil, access{timeout: time.Second}); err == nil {
			t.Errorf("%q is taken as %+v", address, r.endpoint)
		}
	}
	secret := credentials{keyIdentity: []byte("x"), keyHosts: []byte("x")}
	for _, address := range []string{"ssh://-oProxyCommand=id/x", "ssh://git@-oProxyCommand=id/x"} {
		if _, err := newRemote(address, secret, access{timeout: time.Second}); err == nil {
			t.Errorf("%q is taken", address)
		}
	}
}
