package testkit

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"
)

// cook makes value and sealed value from their recipes, and checks both
// against what kubeseal was given and gave.
func (v *Vector) cook(archive *txtar.Archive) error {
	sections := map[string]string{}
	for _, f := range archive.Files {
		sections[f.Name] = strings.TrimSpace(string(f.Data))
	}
	var seed, sum string
	var length int
	if _, err := fmt.Sscan(sections["plaintext-recipe"], &seed, &length, &sum); err != nil || length < 0 || length > 1<<20 {
		return errors.New("section \"plaintext-recipe\": want seed, length and SHA-256")
	}
	v.Plaintext = stream(seed, length)
	if err := same("plaintext", v.Plaintext, sum); err != nil {
		return err
	}
	head, err := decode([]byte(sections["sealed-head"]))
	if err != nil || len(head) < 2 {
		return errors.New("section \"sealed-head\": want base64")
	}
	body, err := v.body(head[2:])
	if err != nil {
		return fmt.Errorf("section \"sealed-head\": %w", err)
	}
	v.Sealed = slices.Concat(head, body)
	return same("sealed value", v.Sealed, sections["sealed-sha256"])
}

// body seals the value with the session key that kubeseal wrapped.
func (v *Vector) body(wrapped []byte) ([]byte, error) {
	key, err := x509.ParsePKCS1PrivateKey(v.Key)
	if err != nil {
		return nil, err
	}
	label := map[string]string{"strict": v.Namespace + "/" + v.SecretName, "namespace-wide": v.Namespace, "cluster-wide": ""}[v.Scope]
	session, err := rsa.DecryptOAEP(sha256.New(), nil, key, wrapped, []byte(label))
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(session)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, make([]byte, aead.NonceSize()), v.Plaintext, nil), nil //nolint:gosec // G407: the format has no other
}

func same(what string, data []byte, sum string) error {
	if got := sha256.Sum256(data); hex.EncodeToString(got[:]) != sum {
		return fmt.Errorf("%s: its SHA-256 is %x, not %s", what, got, sum)
	}
	return nil
}

// stream returns the beginning of a stream of bytes.
func stream(seed string, length int) []byte {
	var out []byte
	for i := uint64(0); len(out) < length; i++ {
		block := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(seed), i))
		out = append(out, block[:]...)
	}
	return out[:length]
}
