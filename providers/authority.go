package providers

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
)

// Authorities reads certificates in PEM, or in base64 of PEM: External Secrets
// takes a caBundle that was encoded twice. Without any, the error, an ErrInvalid,
// names field.
func Authorities(field string, bundle []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if pool.AppendCertsFromPEM(bundle) {
		return pool, nil
	}
	if inner, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(bundle))); err != nil || !pool.AppendCertsFromPEM(inner) {
		return nil, fmt.Errorf("%s: %w: it has no PEM certificate", field, ErrInvalid)
	}
	return pool, nil
}
