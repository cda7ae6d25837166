// Package pack reads Git packs from servers that are not trusted: within
// limits of bytes, objects and depth that are checked before memory is taken,
// and with every byte checked against the pack's own sum.
//
// Source: https://git-scm.com/docs/gitformat-pack
package pack

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1" //nolint:gosec // G505: the pack's own sum is SHA-1; objects are named by a SHA-1 that detects collisions
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
)

// Limits are what a pack may cost.
type Limits struct {
	Pack     int64  // bytes on the wire
	Inflated int64  // bytes of all objects together, which are held in memory
	Object   int64  // bytes of one object; larger files are skipped, larger folders and commits refused
	Skipped  int64  // bytes of files that are larger than Object, which are inflated and thrown away
	Objects  uint32 // how many
	Depth    int    // deltas on deltas
}

// ErrTooLarge says that a pack exceeds a limit.
var ErrTooLarge = errors.New("the repository is too large")

// ErrMalformed says that what came is no pack, or not the one that was sent.
var ErrMalformed = errors.New("the pack is damaged")

// ErrNoBase says that a delta stands on an object that is not there.
var ErrNoBase = errors.New("the pack builds on an object that is not here")

// Objects is where objects go to, and where those are that deltas build on.
type Objects interface {
	SetEncodedObject(plumbing.EncodedObject) (plumbing.Hash, error)
	EncodedObject(plumbing.ObjectType, plumbing.Hash) (plumbing.EncodedObject, error)
}

// Result is what was in a pack.
type Result struct {
	Objects int   // how many
	Skipped int64 // bytes of files that are too large to keep
}

// entry is an object of the pack.
type entry struct {
	kind  plumbing.ObjectType // of the content; of a delta once it is resolved
	data  []byte              // the content; nil if it was skipped
	delta []byte              // what makes it of its base; nil if it is whole
	at    int64               // where the base is in the pack; 0 if base names it
	base  plumbing.Hash
	pos   int64 // where it is in the pack; 0 if it is not of the pack
	hash  plumbing.Hash
	depth int
}

type reader struct {
	limits   Limits
	in       *stream
	into     Objects
	inflated int64
	result   Result
	inflater io.ReadCloser

	deltas []*entry
	byPos  map[int64]*entry
}

// Read reads a pack into objects.
func Read(r io.Reader, into Objects, limits Limits) (Result, error) {
	p := &reader{limits: limits, in: newStream(r, limits.Pack), into: into, byPos: map[int64]*entry{}}
	if err := p.read(); err != nil {
		if p.in.spent() {
			return p.result, fmt.Errorf("the server sends more than %d bytes: %w", limits.Pack, ErrTooLarge)
		}
		return p.result, err
	}
	return p.result, p.resolveAll()
}

func (p *reader) read() error {
	var header [12]byte
	if _, err := io.ReadFull(p.in, header[:]); err != nil {
		return malformed("its header", err)
	}
	if version := binary.BigEndian.Uint32(header[4:]); string(header[:4]) != "PACK" || version != 2 && version != 3 {
		return fmt.Errorf("%w: it does not begin as one", ErrMalformed)
	}
	count := binary.BigEndian.Uint32(header[8:])
	if count > p.limits.Objects {
		return fmt.Errorf("the pack has %d objects, more than %d: %w", count, p.limits.Objects, ErrTooLarge)
	}
	for i := range count {
		if err := p.entry(); err != nil {
			return fmt.Errorf("object %d: %w", i, err)
		}
	}
	p.result.Objects = int(count)
	sum := p.in.sum()
	var want [sha1.Size]byte
	if _, err := io.ReadFull(p.in, want[:]); err != nil {
		return malformed("its sum", err)
	}
	if !bytes.Equal(sum, want[:]) {
		return fmt.Errorf("%w: its sum is not that of its content", ErrMalformed)
	}
	return nil
}

// malformed keeps the reasons that are not about the pack: a time that is up,
// a connection that broke.
func malformed(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends within %s", ErrMalformed, what)
	}
	return fmt.Errorf("read %s: %w", what, err)
}

// Types of objects on the wire that are none elsewhere.
const (
	offsetDelta = 6
	refDelta    = 7
)

func (p *reader) entry() error {
	start := p.in.position()
	kind, size, err := p.header()
	if err != nil {
		return err
	}
	e := &entry{pos: start}
	switch kind {
	case int(plumbing.CommitObject), int(plumbing.TreeObject), int(plumbing.BlobObject), int(plumbing.TagObject):
		e.kind = plumbing.ObjectType(kind)
	case offsetDelta:
		back, err := p.offset()
		if err != nil {
			return err
		}
		if e.at = start - back; back <= 0 || p.byPos[e.at] == nil {
			return fmt.Errorf("%w: a delta's base is not before it", ErrMalformed)
		}
	case refDelta:
		if _, err := io.ReadFull(p.in, e.base[:]); err != nil {
			return malformed("a delta's base", err)
		}
	default:
		return fmt.Errorf("%w: %d is no kind of object", ErrMalformed, kind)
	}
	p.byPos[start] = e
	if e.kind == plumbing.BlobObject && size > p.limits.Object {
		return p.skip(e, size)
	}
	content, err := p.inflate(size)
	if err != nil {
		return err
	}
	if e.kind == plumbing.InvalidObject {
		e.delta = content
		p.deltas = append(p.deltas, e)
		return nil
	}
	return p.keep(e, content)
}

// header reads kind and size of an object.
func (p *reader) header() (kind int, size int64, err error) {
	b, err := p.in.ReadByte()
	if err != nil {
		return 0, 0, malformed("an object's header", err)
	}
	kind, size = int(b>>4&7), int64(b&15)
	for shift := 4; b&0x80 != 0; shift += 7 {
		if b, err = p.in.ReadByte(); err != nil {
			return 0, 0, malformed("an object's header", err)
		}
		if shift > 50 {
			return 0, 0, fmt.Errorf("%w: a size has too many digits", ErrMalformed)
		}
		size |= int64(b&0x7f) << shift
	}
	return kind, size, nil
}

// offset reads how far back a delta's base is.
func (p *reader) offset() (int64, error) {
	var back int64
	for i := 0; ; i++ {
		b, err := p.in.ReadByte()
		if err != nil {
			return 0, malformed("a delta's base", err)
		}
		if i > 7 {
			return 0, fmt.Errorf("%w: an offset has too many digits", ErrMalformed)
		}
		if back = back<<7 | int64(b&0x7f); b&0x80 == 0 {
			return back, nil
		}
		back++
	}
}

// keep names an object and hands it on.
func (p *reader) keep(e *entry, content []byte) error {
	if content == nil {
		content = []byte{} // nil is one that was skipped
	}
	o := NewObject(e.kind, content)
	e.data, e.delta, e.hash = content, nil, o.hash
	_, err := p.into.SetEncodedObject(o)
	return err
}

// take counts bytes that will be held in memory.
func (p *reader) take(size int64) error {
	if size > p.limits.Object {
		return fmt.Errorf("an object has %d bytes, more than %d: %w", size, p.limits.Object, ErrTooLarge)
	}
	if p.inflated += size; p.inflated > p.limits.Inflated {
		return fmt.Errorf("the objects have more than %d bytes: %w", p.limits.Inflated, ErrTooLarge)
	}
	return nil
}

func (p *reader) inflate(size int64) ([]byte, error) {
	if err := p.take(size); err != nil {
		return nil, err
	}
	z, err := p.zlib()
	if err != nil {
		return nil, err
	}
	// All at once: growing a buffer would take twice the memory, and a size that
	// is a lie takes no more than one object may.
	content := make([]byte, size)
	if _, err := io.ReadFull(z, content); err != nil {
		return nil, corrupt(err)
	}
	if n, err := io.CopyN(io.Discard, z, 1); n != 0 || !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: an object has not the size that it says", ErrMalformed)
	}
	return content, nil
}

// skip reads a file that is too large to keep.
func (p *reader) skip(e *entry, size int64) error {
	if p.result.Skipped += size; p.result.Skipped > p.limits.Skipped {
		return fmt.Errorf("files of more than %d bytes have more than %d in all: %w", p.limits.Object, p.limits.Skipped, ErrTooLarge)
	}
	z, err := p.zlib()
	if err != nil {
		return err
	}
	e.data = nil
	n, err := io.Copy(io.Discard, io.LimitReader(z, size+1))
	if err != nil {
		return corrupt(err)
	}
	if n != size {
		return fmt.Errorf("%w: an object has not the size that it says", ErrMalformed)
	}
	return nil
}

func (p *reader) zlib() (io.Reader, error) {
	if p.inflater == nil {
		z, err := zlib.NewReader(p.in)
		if err != nil {
			return nil, corrupt(err)
		}
		p.inflater = z
		return z, nil
	}
	if err := p.inflater.(zlib.Resetter).Reset(p.in, nil); err != nil {
		return nil, corrupt(err)
	}
	return p.inflater, nil
}

func corrupt(err error) error {
	if _, ok := errors.AsType[*readError](err); ok {
		return malformed("an object", err)
	}
	return fmt.Errorf("%w: an object cannot be decompressed", ErrMalformed)
}
