package webhook_test

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/webhook"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// TestWholeSecret sends user and password of a Secret that is named without a
// key, as the examples of External Secrets Operator do, and for whom it reads.
func TestWholeSecret(t *testing.T) {
	canary := testenv.NewCanary(t)
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		got = user + " " + password + " " + r.URL.Path
		fmt.Fprint(w, "value")
	}))
	defer server.Close()
	with := map[string]any{
		"url":     server.URL + "/{{ .remoteRef.namespace }}/{{ .remoteRef.key }}",
		"headers": map[string]string{"Authorization": `Basic {{ print .auth.username ":" .auth.password | b64enc }}`},
		"secrets": []map[string]any{{"name": "auth", "secretRef": map[string]string{"name": "login"}}},
	}
	refs := references()
	refs.Set("login", "username", "ada")
	refs.Set("login", "password", canary.Value()+"\n")
	config := store(t, with, refs)
	config.Store.Namespace = "team-a"
	r, err := webhook.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context(), providers.Ref{Path: "app"}); err != nil || got != "ada "+canary.Value()+" /team-a/app" {
		t.Errorf("Read: the server got another user, password or path, or %v", err)
	}
	with["headers"] = map[string]string{"X": "{{ .auth.nosuch }}"}
	r, err = webhook.Open(t.Context(), store(t, with, refs))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context(), providers.Ref{Path: "app"}); !errors.Is(err, providers.ErrInvalid) || !strings.Contains(err.Error(), "headers.X") || strings.Contains(err.Error(), canary.Value()) {
		t.Errorf("Read with a key that there is not: got %v, want ErrInvalid that names the header and no value", err)
	}
}

// TestTimeout wants a service that does not answer to be given up on.
func TestTimeout(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer server.Close()
	defer close(hang)
	with := settings(server.URL)
	with["timeout"] = "100ms"
	r, err := webhook.Open(t.Context(), store(t, with, references()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context(), providers.Ref{Path: "app"}); !errors.Is(err, providers.ErrUnavailable) || !strings.Contains(err.Error(), "100ms") {
		t.Errorf("Read from a service that hangs: got %v, want ErrUnavailable with the timeout in it", err)
	}
}

// noted are references that note what was read.
type noted struct {
	*conformance.References

	notef func(format string, args ...any)
}

// CA implements providers.References.
func (n *noted) CA(ctx context.Context, ref esv1.CAProvider) ([]byte, error) {
	n.notef("reads %s %s", ref.Type, ref.Name)
	return n.References.CA(ctx, ref)
}

// asUser logs in as a user of Windows.
func asUser(user, password string) conformance.Change {
	return conformance.Change{"headers": map[string]string{},
		"auth.ntlm.usernameSecret": map[string]string{"name": "w", "key": user}, "auth.ntlm.passwordSecret": map[string]string{"name": "w", "key": password}}
}

// TestFields is the inventory of spec.provider.webhook.
func TestFields(t *testing.T) {
	var mu sync.Mutex // a server may still be at a request that its client has given up
	var sent []string
	notef := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, fmt.Sprintf(format, args...))
	}
	taken := func() (all []string) {
		mu.Lock()
		defer mu.Unlock()
		all, sent = sent, nil
		return all
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what is missing makes a difference, too
		notef("%s %s%s %s %s %s", r.Method, r.Host, r.URL, r.Header.Get("Authorization"), r.Header.Get("X"), body)
		if r.URL.Path == "/hang" {
			<-r.Context().Done()
		}
		fmt.Fprint(w, `{"a":"b"}`)
	})
	here, there := httptest.NewTLSServer(handler), httptest.NewTLSServer(handler)
	defer here.Close()
	defer there.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: here.Certificate().Raw})
	refs := references()
	refs.Authority = ca
	for _, key := range []string{"user", "password", "other"} {
		refs.Set("w", key, key)
	}
	base := settings(here.URL)
	base["caProvider"] = map[string]string{"type": "ConfigMap", "name": "ca", "key": "ca.crt"}
	conformance.Fields{
		Provider: "webhook", Settings: esv1.WebhookProvider{}, Base: base,
		Trace: func(t *testing.T, config providers.Config) (string, error) {
			t.Helper()
			taken()
			config.References = &noted{refs, notef}
			r, err := webhook.Open(t.Context(), config)
			if err != nil {
				return "", err
			}
			v, err := r.Read(t.Context(), providers.Ref{Path: "app"})
			if err != nil { // what went wrong is a part of what it does: a timeout, for one
				notef("%v", err)
			}
			return strings.Join(append(taken(), string(v.Bytes())), "\n"), nil
		},
		Served: map[string]conformance.Change{
			"method": {"method": "POST"}, "url": {"url": there.URL + "/other"}, "body": {"body": "key={{ .remoteRef.key }}"},
			"headers": {"headers": map[string]string{"X": "y"}}, "timeout": {"url": here.URL + "/hang", "timeout": "50ms"},
			"result.jsonPath": {"result.jsonPath": "$.a"}, "caBundle": {"caBundle": base64.StdEncoding.EncodeToString(ca)},
			"caProvider":               {"caProvider": map[string]string{"type": "Secret", "name": "ca", "key": "ca.crt"}},
			"auth.ntlm.usernameSecret": asUser("other", "password"), "auth.ntlm.passwordSecret": asUser("user", "other"),
			"secrets": {"secrets": []map[string]any{{"name": "more", "secretRef": map[string]string{"name": "s"}}}, "headers": map[string]string{"X": "{{ .more.token }}"}},
		},
	}.Test(t)
}
