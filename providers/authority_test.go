package providers_test

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/providers"
)

func TestAuthorities(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	server.Close()
	one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	cases := map[string]struct {
		reason string
		bundle []byte
		want   bool // a pool
		err    error
	}{
		"None":    {"Nothing is no authority, and not those of the system either.", nil, false, providers.ErrInvalid},
		"PEM":     {"Certificates are PEM.", one, true, nil},
		"Twice":   {"Which may be encoded.", []byte(base64.StdEncoding.EncodeToString(one) + "\n"), true, nil},
		"Text":    {"Text is none.", []byte("none"), false, providers.ErrInvalid},
		"Nothing": {"Nor is text that is encoded.", []byte(base64.StdEncoding.EncodeToString([]byte("none"))), false, providers.ErrInvalid},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := providers.Authorities("spec.ca", tc.bundle)
			if (got != nil) != tc.want || !errors.Is(err, tc.err) || err != nil && !strings.HasPrefix(err.Error(), "spec.ca: ") {
				t.Errorf("%s\ngot a pool: %v, %v, want %v, %v that names the field", tc.reason, got != nil, err, tc.want, tc.err)
			}
		})
	}
}
