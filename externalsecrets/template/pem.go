package template

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // G505: people have values that were encrypted with it
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
)

const certificateBlock = "CERTIFICATE"

// blocks decodes the PEM blocks of text, whatever stands between them.
func blocks(text string) (all []*pem.Block) {
	if i := strings.Index(text, "-----BEGIN"); i > 0 {
		text = text[i:]
	}
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return all
		}
		all = append(all, block)
	}
}

// filterPEM keeps the blocks of a type.
func filterPEM(kind, text string) (string, error) {
	var out bytes.Buffer
	all := blocks(text)
	for _, block := range all {
		if strings.EqualFold(block.Type, kind) {
			out.Write(pem.EncodeToMemory(block))
		}
	}
	if len(all) == 0 && strings.TrimSpace(text) != "" {
		return "", errors.New("no PEM")
	}
	return out.String(), nil
}

// chain orders certificates from the leaf to the root, by the ids of their
// keys. It verifies nothing.
func chain(text string) ([]*x509.Certificate, error) {
	all, err := parseCertificates(text)
	if err != nil {
		return nil, err
	}
	var leaves []*x509.Certificate
	for _, c := range all {
		if !slices.ContainsFunc(all, func(other *x509.Certificate) bool { return signs(c, other) }) {
			leaves = append(leaves, c)
		}
	}
	if len(leaves) != 1 {
		return nil, errors.New("not one leaf")
	}
	ordered := leaves
	for range all {
		i := slices.IndexFunc(all, func(c *x509.Certificate) bool { return signs(c, ordered[len(ordered)-1]) })
		if i < 0 {
			return ordered, nil
		}
		ordered = append(ordered, all[i])
	}
	return nil, errors.New("a chain without an end")
}

// signs reports whether child names the key of parent, and is another.
func signs(parent, child *x509.Certificate) bool {
	return parent != child && bytes.Equal(parent.SubjectKeyId, child.AuthorityKeyId)
}

func isRoot(c *x509.Certificate) bool {
	return c.AuthorityKeyId == nil || bytes.Equal(c.AuthorityKeyId, c.SubjectKeyId)
}

// filterCertChain keeps the leaf, the intermediates or the root.
func filterCertChain(kind, text string) (string, error) {
	ordered, err := chain(text)
	if err != nil {
		return "", err
	}
	var kept []*x509.Certificate
	switch kind {
	case "leaf":
		if c := ordered[0]; !isRoot(c) {
			kept = ordered[:1]
		}
	case "intermediate":
		for _, c := range ordered[1:] {
			if !isRoot(c) {
				kept = append(kept, c)
			}
		}
	case "root":
		if c := ordered[len(ordered)-1]; isRoot(c) {
			kept = []*x509.Certificate{c}
		}
	}
	return encodePEM(kept), nil
}

// certSANs lists the names, addresses and URIs of a certificate.
func certSANs(text string) ([]string, error) {
	all := blocks(text)
	if len(all) == 0 {
		return nil, errors.New("no PEM")
	}
	c, err := x509.ParseCertificate(all[0].Bytes)
	if err != nil {
		return nil, errors.New("no certificate")
	}
	names := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	names = append(names, c.EmailAddresses...)
	for _, uri := range c.URIs {
		names = append(names, uri.String())
	}
	return names, nil
}

// rsaDecrypt decrypts with RSA-OAEP; scheme None gives in as it is.
func rsaDecrypt(scheme, hashName, in, privateKey string) (string, error) {
	switch scheme {
	case "None":
		return in, nil
	case "RSA-OAEP":
	default:
		return "", errors.New("scheme is neither None nor RSA-OAEP")
	}
	all := blocks(privateKey)
	if len(all) == 0 {
		return "", errors.New("no PEM")
	}
	key, err := parseKey(all[0].Bytes)
	if err != nil {
		return "", err
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return "", errors.New("no RSA key")
	}
	var h hash.Hash
	switch hashName {
	case "SHA1":
		h = sha1.New() //nolint:gosec // G401: as above
	case "SHA512":
		h = sha512.New()
	default:
		h = sha256.New()
	}
	out, err := rsa.DecryptOAEP(h, nil, private, []byte(in), nil)
	if err != nil {
		return "", errors.New("it cannot be decrypted")
	}
	return string(out), nil
}

func parseKey(der []byte) (crypto.PrivateKey, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, fmt.Errorf("no private key")
}
