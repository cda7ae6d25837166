package pack

import (
	"bufio"
	"bytes"
	"crypto/sha1" //nolint:gosec // G505: as in pack.go
	"errors"
	"hash"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
)

// Object is an object that never changes. It implements
// plumbing.EncodedObject.
type Object struct {
	kind plumbing.ObjectType
	hash plumbing.Hash
	data []byte
}

// NewObject returns an object of a content, which must not be changed after.
func NewObject(kind plumbing.ObjectType, data []byte) *Object {
	return &Object{kind: kind, hash: plumbing.ComputeHash(kind, data), data: data}
}

// Hash is Git's name of the object.
func (o *Object) Hash() plumbing.Hash { return o.hash }

// Type is what the object is.
func (o *Object) Type() plumbing.ObjectType { return o.kind }

// Size is the length of the content, in bytes.
func (o *Object) Size() int64 { return int64(len(o.data)) }

// Bytes is the content. It is not to be changed.
func (o *Object) Bytes() []byte { return o.data }

// Reader reads the content.
func (o *Object) Reader() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(o.data)), nil }

// SetType does nothing: the object is as it is.
func (o *Object) SetType(plumbing.ObjectType) {}

// SetSize does nothing, too.
func (o *Object) SetSize(int64) {}

// Writer refuses.
func (o *Object) Writer() (io.WriteCloser, error) { return nil, errReadOnly }

var errReadOnly = errors.New("the object cannot be written")

// stream reads a pack and sums what was read of it, up to a limit.
type stream struct {
	in   *bufio.Reader
	left int64
	read int64
	hash hash.Hash
	buf  []byte // read, and not summed yet
}

func newStream(r io.Reader, limit int64) *stream {
	return &stream{in: bufio.NewReaderSize(r, 64<<10), left: limit, hash: sha1.New(), buf: make([]byte, 0, 32<<10)} //nolint:gosec // G401: as above
}

// readError tells a failure to read from a failure to understand.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

func (s *stream) position() int64 { return s.read }
func (s *stream) spent() bool     { return s.left <= 0 }

// ReadByte implements io.ByteReader, so that the decompressor reads no byte
// more than it needs.
func (s *stream) ReadByte() (byte, error) {
	if s.left <= 0 {
		return 0, &readError{io.ErrUnexpectedEOF}
	}
	b, err := s.in.ReadByte()
	if err != nil {
		return 0, &readError{err}
	}
	s.left--
	s.read++
	if s.buf = append(s.buf, b); len(s.buf) == cap(s.buf) {
		s.flush()
	}
	return b, nil
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	if s.left <= 0 {
		return 0, &readError{io.ErrUnexpectedEOF}
	}
	if int64(len(p)) > s.left {
		p = p[:s.left]
	}
	n, err := s.in.Read(p)
	s.flush()
	s.hash.Write(p[:n])
	s.left -= int64(n)
	s.read += int64(n)
	if err != nil {
		return n, &readError{err}
	}
	return n, nil
}

func (s *stream) flush() {
	s.hash.Write(s.buf)
	s.buf = s.buf[:0]
}

func (s *stream) sum() []byte {
	s.flush()
	return s.hash.Sum(nil)
}
