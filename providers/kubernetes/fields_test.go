package kubernetes_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/kubernetes"
)

// TestBinary takes keys that are not text out of a Secret, as an
// ExternalSecret does, and wants the bytes that the Secret holds.
func TestBinary(t *testing.T) {
	r := newRemote(t, "binary", "written")
	data := map[string][]byte{
		"text": []byte(`"q" \ <&> é` + "\n\t\x7f\u2028"), "jks": {0xfe, 0xed, 0xfe, 0xed, 0x00, 0x02, '"', '\\', 0x1f, 0xc3, 0x28}, "empty": {}, "tls.crt": {0xff},
	}
	every := make([]byte, 1024)
	for i := range every {
		every[i] = byte(i ^ i>>8)
	}
	data["every"] = every
	must(t, r.put(t.Context(), "binary", data, nil))
	reader, err := kubernetes.Open(t.Context(), store(t, r.settings(), r.refs))
	must(t, err)
	spec := &esv1.ExternalSecretSpec{SecretStoreRef: esv1.SecretStoreRef{Name: "store"}}
	must(t, json.Unmarshal([]byte(`{"secretStoreRef":{"name":"store"},"dataFrom":[{"extract":{"key":"binary"}}],
		"data":[{"secretKey":"one","remoteRef":{"key":"binary","property":"jks"}},{"secretKey":"dotted","remoteRef":{"key":"binary","property":"tls.crt"}}]}`), spec))
	plan, err := fetch.New(spec)
	must(t, err)
	results := map[fetch.Read]fetch.Result{}
	for _, read := range plan.Reads {
		v, err := reader.Read(t.Context(), read.Ref)
		results[read] = fetch.Result{Value: v, Err: err}
	}
	got, err := plan.Values(results, false)
	must(t, err)
	data["one"], data["dotted"] = data["jks"], data["tls.crt"]
	if len(plan.Reads) != 1 || len(got) != len(data) {
		t.Errorf("got %d reads and %d keys, want 1 and %d", len(plan.Reads), len(got), len(data))
	}
	for key, want := range data {
		if !bytes.Equal(got[key], want) {
			t.Errorf("key %q: got %q, want %q", key, got[key], want)
		}
	}
	w := reader.(providers.Writer)
	if err := w.Write(t.Context(), providers.Target{Path: "written", Property: "jks"}, providers.NewValue(bytes.Clone(data["jks"])), nil); err != nil {
		t.Errorf("Write of a key that is not text: %v", err)
	}
}

// noted are references that note what was read.
type noted struct {
	conformance.References

	notef func(format string, args ...any)
}

// Secret implements providers.References.
func (n *noted) Secret(ctx context.Context, ref esv1.SecretKeySelector) (providers.Value, error) {
	n.notef("reads %s of Secret %s", ref.Key, ref.Name)
	return n.References.Secret(ctx, ref)
}

// CA implements providers.References.
func (n *noted) CA(ctx context.Context, ref esv1.CAProvider) ([]byte, error) {
	n.notef("reads %s %s", ref.Type, ref.Name)
	return n.References.CA(ctx, ref)
}

// TestFields is the inventory of spec.provider.kubernetes.
func TestFields(t *testing.T) {
	var sent []string
	notef := func(format string, args ...any) { sent = append(sent, fmt.Sprintf(format, args...)) }
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		notef("%s %s %s, %d certificates", r.Host, r.URL.Path, r.Header.Get("Authorization"), len(r.TLS.PeerCertificates))
		fmt.Fprint(w, `{"kind":"Secret","metadata":{"name":"app"},"data":{"a":"Yg=="}}`)
	})
	here, there := startTLS(t, handler), startTLS(t, handler)
	user, err := cluster.Get(t).User("fields", "system:masters")
	must(t, err)
	refs := &noted{notef: notef, References: conformance.References{Authority: append(pemOf(here), pemOf(there)...),
		TokenFn: func(_ context.Context, account string, _ []string) (string, error) { return "token-of-" + account, nil }}}
	for name, value := range map[string]string{
		"token": "token-of-the-test", "other": "other-token-of-the-test", "tls.crt": string(user.CertData), "tls.key": string(user.KeyData), "cert": string(user.CertData), "key": string(user.KeyData),
		"config": fmt.Sprintf("current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\nclusters: [{name: k, cluster: {server: %q, certificate-authority-data: %s}}]\nusers: [{name: u, user: {token: t}}]\n", there.URL, encoded(pemOf(there))),
	} {
		refs.Set("k", name, value)
	}
	both := encoded(refs.Authority)
	key := func(key string) map[string]string { return map[string]string{"name": "k", "key": key} }
	conformance.Fields{
		Provider: "kubernetes", Settings: esv1.KubernetesProvider{},
		Base: map[string]any{"server": map[string]any{"url": here.URL, "caProvider": map[string]string{"type": "Secret", "name": "ca", "key": "ca.crt"}}, "auth": map[string]any{"token": map[string]any{"bearerToken": key("token")}}},
		Trace: func(t *testing.T, config providers.Config) (string, error) {
			t.Helper()
			sent, config.References = nil, refs
			r, err := kubernetes.Open(t.Context(), config)
			if err == nil {
				_, err = r.Read(t.Context(), providers.Ref{Path: "app"})
			}
			return strings.Join(sent, "\n"), err
		},
		Served: map[string]conformance.Change{
			"server.url": {"server.url": there.URL}, "server.caBundle": {"server.caBundle": both}, "remoteNamespace": {"remoteNamespace": "team-a"},
			"server.caProvider":      {"server.caProvider": map[string]string{"type": "ConfigMap", "name": "ca", "key": "ca.crt"}},
			"auth.token.bearerToken": {"auth.token.bearerToken": key("other")},
			"auth.cert.clientCert":   {"auth.token": nil, "auth.cert.clientKey": key("key"), "auth.cert.clientCert": key("cert")},
			"auth.cert.clientKey":    {"auth.token": nil, "auth.cert.clientKey": key("key"), "auth.cert.clientCert": key("cert")},
			"auth.serviceAccount":    {"auth.token": nil, "auth.serviceAccount": map[string]any{"name": "app", "audiences": []string{"there"}}},
			"authRef":                {"auth": nil, "authRef": key("config")},
		},
	}.Test(t)
}
