package kubernetes_test

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/kubernetes"
)

// TestAuthority has both fields for who signs for a server. An empty one is
// not the authorities of the system.
func TestAuthority(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	provider := map[string]string{"type": "Secret", "name": "ca", "key": "ca.crt"}
	const told = "spec.provider.kubernetes.server.caProvider: it makes no difference: caBundle counts; remove one of them"
	for name, tc := range map[string]struct {
		server    map[string]any
		authority []byte
		told      []string
		err       error
	}{
		"Both":  {server: map[string]any{"caBundle": bundle, "caProvider": provider}, told: []string{told}},
		"Twice": {server: map[string]any{"caBundle": []byte(base64.StdEncoding.EncodeToString(bundle))}},
		"One":   {server: map[string]any{"caProvider": provider}, authority: bundle},
		"Empty": {server: map[string]any{"caProvider": provider}, authority: []byte{}, err: providers.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			refs := &conformance.References{Authority: tc.authority}
			refs.Set("t", "t", "token")
			tc.server["url"] = server.URL
			settings := map[string]any{"server": tc.server, "auth": map[string]any{"token": map[string]any{"bearerToken": map[string]string{"name": "t", "key": "t"}}}}
			ctx, heard := providers.Listen(t.Context())
			_, err := kubernetes.Open(ctx, store(t, settings, refs))
			if !errors.Is(err, tc.err) || !slices.Equal(heard.All(), tc.told) {
				t.Errorf("Open: got %v and was told %q, want %v and %q", err, heard.All(), tc.err, tc.told)
			}
		})
	}
}
