package template

import (
	"bytes"
	"context"
	"crypto/sha3"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"

	"software.sslmate.com/src/go-pkcs12"
)

// maxIterations of the derivation of a key, for each of the few in a file.
// OpenSSL and Java make 2,048 to 10,000; this many take half a second.
const maxIterations = 1_000_000

// maxKeyLength of a derived key, in bytes: what any cipher or MAC takes.
const maxKeyLength = 64

var errPKCS12 = errors.New("no PKCS #12 with a key, a certificate and this password")

// decoding lets one file be opened at a time: what a file hides under its own
// encryption cannot be measured before, and cannot be stopped.
var decoding = make(chan struct{}, 1)

// files opens and makes files of PKCS #12.
type files struct{ ctx context.Context } //nolint:containedctx // the functions of a template have no context but this

// functions are those of External Secrets Operator.
func (f files) functions() map[string]any {
	return map[string]any{
		"pkcs12key":      func(in string) (string, error) { return f.key("", in) },
		"pkcs12keyPass":  f.key,
		"pkcs12cert":     func(in string) (string, error) { return f.certificates("", in) },
		"pkcs12certPass": f.certificates,

		"pemToPkcs12":               func(cert, key string) (string, error) { return pemToPkcs12(cert, key, "") },
		"pemToPkcs12Pass":           pemToPkcs12,
		"fullPemToPkcs12":           func(certs, key string) (string, error) { return fullPemToPkcs12(certs, key, "") },
		"fullPemToPkcs12Pass":       fullPemToPkcs12,
		"pemTruststoreToPKCS12":     func(certs string) (string, error) { return trustStore(certs, "") },
		"pemTruststoreToPKCS12Pass": trustStore,
	}
}

// opened is what a file holds.
type opened struct {
	key   any
	chain []*x509.Certificate
}

// open opens a file, or gives up when the time of the template is over.
func (f files) open(password, in string) (opened, error) {
	if !affordableDER([]byte(in), 0) {
		return opened{}, ErrLimit
	}
	select {
	case decoding <- struct{}{}:
	case <-f.ctx.Done():
		return opened{}, ErrLimit
	}
	done := make(chan opened, 1)
	go func() {
		defer func() { <-decoding }()
		key, cert, others, err := pkcs12.DecodeChain([]byte(in), password)
		if err != nil {
			done <- opened{}
			return
		}
		done <- opened{key, append([]*x509.Certificate{cert}, others...)}
	}()
	select {
	case o := <-done:
		if o.key == nil {
			return opened{}, errPKCS12 // the library's message may tell of the content
		}
		return o, nil
	case <-f.ctx.Done():
		return opened{}, ErrLimit
	}
}

// key is the private key in a file, as PEM of PKCS #8.
func (f files) key(password, in string) (string, error) {
	o, err := f.open(password, in)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(o.key)
	if err != nil {
		return "", errPKCS12
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// certificates are those in a file, as PEM: from the leaf to the root if they
// are a chain, otherwise as they come.
func (f files) certificates(password, in string) (string, error) {
	o, err := f.open(password, in)
	if err != nil {
		return "", err
	}
	text := encodePEM(o.chain)
	if ordered, err := chain(text); err == nil && len(ordered) == len(o.chain) {
		return encodePEM(ordered), nil
	}
	return text, nil
}

func encodePEM(certs []*x509.Certificate) string {
	var out bytes.Buffer
	for _, c := range certs {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c.Raw}))
	}
	return out.String()
}

// affordableDER reports whether the keys that a file says to derive can be
// derived in time.
func affordableDER(der []byte, depth int) bool {
	const maxDepth = 32
	if depth > maxDepth {
		return false
	}
	after := 0
	for len(der) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			return true // nor can the library read it
		}
		der = rest
		var ok bool
		if after, ok = affordableCount(v, after); !ok {
			return false
		}
		if (v.IsCompound || v.Tag == asn1.TagOctetString) && !affordableDER(v.Bytes, depth+1) {
			return false
		}
	}
	return true
}

// affordableCount looks at one value. Everywhere in a file a salt is followed
// by the number of iterations, and perhaps by a length; after is how many values
// ago the salt came, or 0 if none did.
func affordableCount(v asn1.RawValue, after int) (next int, ok bool) {
	switch {
	case v.Class != asn1.ClassUniversal:
		return 0, true
	case v.Tag == asn1.TagOctetString:
		return 1, true
	case v.Tag != asn1.TagInteger || after == 0:
		return 0, true
	}
	limit := int64(maxIterations)
	if after == 2 {
		limit = maxKeyLength
	}
	var n int64
	_, err := asn1.Unmarshal(v.FullBytes, &n)
	return (after + 1) % 3, err == nil && n <= limit
}

// pemToPkcs12 makes a file of one certificate and its key, in base64.
func pemToPkcs12(cert, key, password string) (string, error) {
	certs, err := parseCertificates(cert)
	if err != nil {
		return "", err
	}
	return encodeFile(certs[:1], key, password)
}

// fullPemToPkcs12 makes a file of a certificate, its authorities and its key,
// in base64.
func fullPemToPkcs12(certs, key, password string) (string, error) {
	all, err := parseCertificates(certs)
	if err != nil {
		return "", err
	}
	return encodeFile(all, key, password)
}

func encodeFile(certs []*x509.Certificate, keyText, password string) (string, error) {
	all := blocks(keyText)
	if len(all) == 0 {
		return "", errors.New("no PEM")
	}
	key, err := parseKey(all[0].Bytes)
	if err != nil {
		return "", err
	}
	file, err := pkcs12.Modern.WithRand(salt(all[0].Bytes, certs)).Encode(key, certs[0], certs[1:], password)
	if err != nil {
		return "", errors.New("it cannot be written as PKCS #12")
	}
	return base64.StdEncoding.EncodeToString(file), nil
}

// trustStore makes a file of certificates only, in base64, as Java reads it.
func trustStore(text, password string) (string, error) {
	certs, err := parseCertificates(text)
	if err != nil {
		return "", err
	}
	file, err := pkcs12.Modern.WithRand(salt(nil, certs)).EncodeTrustStore(certs, password)
	if err != nil {
		return "", errors.New("it cannot be written as PKCS #12")
	}
	return base64.StdEncoding.EncodeToString(file), nil
}

// salt is what a file takes for chance: the same for the same content, so that
// a Secret changes when a value does, and at no other time. The password is not
// in it: a salt stands in the file for all to read, and would let it be guessed
// faster.
func salt(key []byte, certs []*x509.Certificate) io.Reader {
	h := sha3.NewSHAKE256()
	_, _ = h.Write([]byte("lockstep pkcs12 salt v1")) // a hash never fails
	sum := sha3.Sum512(key)
	_, _ = h.Write(sum[:])
	for _, c := range certs {
		sum = sha3.Sum512(c.Raw)
		_, _ = h.Write(sum[:])
	}
	return h
}

func parseCertificates(text string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for _, block := range blocks(text) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("no certificate")
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("no PEM")
	}
	return all, nil
}
