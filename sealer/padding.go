package sealer

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// padded returns the size to which n bytes are padded, so that the size of what
// is sealed tells little: Padmé, at most 12 % more, and minPad at least.
//
// Source: Nikitin et al., Reducing Metadata Leakage from Encrypted Files and
// Communication with PURBs, 2019, section 4.
func padded(n int) int {
	if n <= minPad {
		return minPad
	}
	exponent := bits.Len(uint(n)) - 1
	keep := bits.Len(uint(exponent))
	mask := 1<<(exponent-keep) - 1
	return (n + mask) &^ mask
}

// pad puts a value behind its length, and zeros behind both.
func pad(value []byte) []byte {
	out := make([]byte, padded(lenSize+len(value)))
	binary.BigEndian.PutUint32(out, uint32(len(value))) //nolint:gosec // G115: at most MaxValue
	copy(out[lenSize:], value)
	return out
}

// unpad is the inverse of pad, and takes nothing that pad does not return.
func unpad(plain []byte) ([]byte, error) {
	n := int(binary.BigEndian.Uint32(plain))
	if n > MaxValue || padded(lenSize+n) != len(plain) {
		return nil, errors.New("its padding has not the size that belongs to its value")
	}
	var rest byte
	for _, b := range plain[lenSize+n:] {
		rest |= b
	}
	if rest != 0 {
		return nil, errors.New("its padding is not zero")
	}
	return plain[lenSize : lenSize+n : lenSize+n], nil
}
