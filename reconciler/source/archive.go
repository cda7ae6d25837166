package source

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// MaxArchive is how many bytes an archive may have, compressed.
const MaxArchive = maxTree

// ErrTooLarge says that a source has more than a tree may hold.
var ErrTooLarge = errTooLarge

// Extract reads a tar archive, compressed with gzip or not. It refuses paths
// that lead out of it, hard links and devices; symbolic links are kept as what
// they are, and never followed.
func Extract(r io.Reader) (*Builder, error) {
	in := bufio.NewReader(r)
	var plain io.Reader = in
	if magic, err := in.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("the archive cannot be decompressed: %w", err)
		}
		plain = z
	}
	// Headers are bounded by what is read in all: an archive of nothing but
	// empty files ends at their number.
	limited := &io.LimitedReader{R: plain, N: maxRead}
	b, archive := &Builder{}, tar.NewReader(limited)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = b.entry(h, archive)
		}
		switch {
		case limited.N <= 0:
			return nil, fmt.Errorf("%w: the archive holds more than %d bytes", errTooLarge, maxRead)
		case err != nil:
			return nil, fmt.Errorf("read the archive: %w", err)
		}
	}
	// To the end, or a sum of what was read would be that of a part.
	if _, err := io.Copy(io.Discard, limited); err != nil {
		return nil, fmt.Errorf("read the archive: %w", err)
	}
	_, err := io.Copy(io.Discard, io.LimitReader(in, MaxArchive))
	return b, err
}

func (b *Builder) entry(h *tar.Header, content io.Reader) error {
	name := strings.TrimPrefix(h.Name, "./")
	mode := fs.FileMode(0o444)
	if h.Mode&0o111 != 0 {
		mode = 0o555
	}
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return nil // a folder is there if a file is in it
	case tar.TypeReg:
		return b.Add(name, mode, h.Size, content)
	case tar.TypeSymlink:
		if path.IsAbs(h.Linkname) || len(h.Linkname) > maxPathName {
			return fmt.Errorf("%s: the link leads out of the archive", h.Name)
		}
		return b.Add(name, fs.ModeSymlink|0o444, int64(len(h.Linkname)), strings.NewReader(h.Linkname))
	default:
		return fmt.Errorf("%s: neither a file nor a folder: hard links, devices and the like are refused", h.Name)
	}
}
