package pack

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
)

// family says which deltas stand on which objects.
type family struct {
	byPos  map[int64][]*entry
	byHash map[plumbing.Hash][]*entry
	left   int // not resolved yet
}

// resolveAll makes the objects that came as deltas, each once, after the one
// that it stands on.
func (p *reader) resolveAll() error {
	f := newFamily(p.deltas)
	if f.left == 0 {
		return nil
	}
	var ready []*entry
	for _, e := range p.byPos {
		if e.delta == nil {
			ready = append(ready, e)
		}
	}
	if err := p.grow(f, ready); err != nil {
		return err
	}
	for hash := range f.byHash {
		base, err := p.elsewhere(hash)
		if err == nil && base != nil {
			err = p.grow(f, []*entry{base})
		}
		if err != nil {
			return err
		}
	}
	if f.left > 0 {
		return fmt.Errorf("%w: of %d deltas", ErrNoBase, f.left)
	}
	return nil
}

func newFamily(deltas []*entry) *family {
	f := &family{byPos: map[int64][]*entry{}, byHash: map[plumbing.Hash][]*entry{}, left: len(deltas)}
	for _, e := range deltas {
		if e.at != 0 {
			f.byPos[e.at] = append(f.byPos[e.at], e)
		} else {
			f.byHash[e.base] = append(f.byHash[e.base], e)
		}
	}
	return f
}

// grow resolves all that stands on ready, at any depth.
func (p *reader) grow(f *family, ready []*entry) error {
	for len(ready) > 0 {
		base := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		children := f.byPos[base.pos]
		if base.data != nil { // or it has no name
			children = append(children, f.byHash[base.hash]...)
			delete(f.byHash, base.hash)
		}
		if base.pos != 0 {
			delete(f.byPos, base.pos)
		}
		if len(children) > 0 && base.depth == p.limits.Depth {
			return fmt.Errorf("deltas lie more than %d deep: %w", p.limits.Depth, ErrTooLarge)
		}
		for _, e := range children {
			e.depth = base.depth + 1
			if err := p.resolve(e, base); err != nil {
				return err
			}
			f.left--
		}
		ready = append(ready, children...)
	}
	return nil
}

// elsewhere returns an object that is not from this pack; nil if there is none.
func (p *reader) elsewhere(hash plumbing.Hash) (*entry, error) {
	o, err := p.into.EncodedObject(plumbing.AnyObject, hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read object %s: %w", hash, err)
	}
	r, err := o.Reader()
	if err != nil {
		return nil, fmt.Errorf("read object %s: %w", hash, err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	return &entry{kind: o.Type(), hash: hash, data: data}, err
}

// resolve makes an object of its base, which is whole, and its delta.
func (p *reader) resolve(e, base *entry) error {
	e.kind = base.kind
	if base.data == nil {
		return p.skipDelta(e)
	}
	_, after, err := sizes(e.delta, base.data)
	if err != nil {
		return err
	}
	if e.kind == plumbing.BlobObject && after > p.limits.Object {
		return p.skipped(e, after)
	}
	if err := p.take(after); err != nil {
		return err
	}
	content, err := patch(base.data, e.delta)
	if err != nil {
		return err
	}
	return p.keep(e, content)
}

// skipDelta skips what is made of a file that was skipped.
func (p *reader) skipDelta(e *entry) error {
	d := delta(e.delta)
	_, err := d.size()
	if err != nil {
		return err
	}
	after, err := d.size()
	if err != nil {
		return err
	}
	return p.skipped(e, after)
}

func (p *reader) skipped(e *entry, size int64) error {
	e.delta, e.data = nil, nil
	if p.result.Skipped += size; p.result.Skipped > p.limits.Skipped {
		return fmt.Errorf("files of more than %d bytes have more than %d in all: %w", p.limits.Object, p.limits.Skipped, ErrTooLarge)
	}
	return nil
}

// delta is what is left to read of one.
type delta []byte

var errDelta = fmt.Errorf("%w: a delta does not fit its base", ErrMalformed)

func (d *delta) next() (byte, error) {
	if len(*d) == 0 {
		return 0, errDelta
	}
	b := (*d)[0]
	*d = (*d)[1:]
	return b, nil
}

func (d *delta) size() (int64, error) {
	var size int64
	for shift := 0; ; shift += 7 {
		b, err := d.next()
		if err != nil {
			return 0, err
		}
		if shift > 50 {
			return 0, errDelta
		}
		if size |= int64(b&0x7f) << shift; b&0x80 == 0 {
			return size, nil
		}
	}
}

// sizes returns the sizes that a delta says it is from and to.
func sizes(from delta, base []byte) (rest delta, after int64, err error) {
	before, err := from.size()
	if err != nil {
		return nil, 0, err
	}
	if before != int64(len(base)) {
		return nil, 0, errDelta
	}
	after, err = from.size()
	return from, after, err
}

// patch carries out a delta whose size has been checked.
func patch(base, instructions []byte) ([]byte, error) {
	d, size, err := sizes(instructions, base)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, size)
	for len(d) > 0 {
		b, err := d.next()
		if err != nil {
			return nil, err
		}
		var piece []byte
		if b&0x80 != 0 {
			piece, err = d.copied(b, base)
		} else {
			piece, err = d.literal(int(b))
		}
		if err != nil {
			return nil, err
		}
		if int64(len(out)+len(piece)) > size {
			return nil, errDelta
		}
		out = append(out, piece...)
	}
	if int64(len(out)) != size {
		return nil, errDelta
	}
	return out, nil
}

// copied reads which part of the base to copy; the bits of b say which bytes
// of its offset and size are given.
func (d *delta) copied(b byte, base []byte) ([]byte, error) {
	var offset, size int
	for i := range 7 {
		if b&(1<<i) == 0 {
			continue
		}
		v, err := d.next()
		if err != nil {
			return nil, err
		}
		if i < 4 {
			offset |= int(v) << (8 * i)
		} else {
			size |= int(v) << (8 * (i - 4))
		}
	}
	if size == 0 {
		size = 0x10000
	}
	if offset+size > len(base) {
		return nil, errDelta
	}
	return base[offset : offset+size], nil
}

func (d *delta) literal(n int) ([]byte, error) {
	if n == 0 || n > len(*d) {
		return nil, errDelta
	}
	piece := (*d)[:n]
	*d = (*d)[n:]
	return piece, nil
}
