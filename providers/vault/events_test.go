package vault_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/websocket"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/vault"
)

// kvEvent is an event as Vault Enterprise sends it.
func kvEvent(mount, path string) string {
	return fmt.Sprintf(`{"id":"a3be9fb1","source":"vault://host","specversion":"1.0","type":"*","data":{"event":{"id":"a3be9fb1",
		"metadata":{"current_version":"2","data_path":%q,"modified":"true","operation":"data-write","path":%[1]q}},
		"event_type":"kv-v2/data-write","plugin_info":{"mount_class":"secret","mount_path":%q,"plugin":"kv"}},"datacontentype":"application/cloudevents"}`, path, mount)
}

// events is a Vault Enterprise that sends texts to who has the token.
func events(t *testing.T, texts ...string) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/v1/sys/events/subscribe/", websocket.Server{
		Handshake: func(_ *websocket.Config, r *http.Request) error {
			if r.Header.Get("X-Vault-Token") != "the-token" || r.Header.Get("X-Vault-Namespace") != "team" || r.URL.Path != "/v1/sys/events/subscribe/kv-v2/*" || r.URL.RawQuery != "json=true" {
				return errors.New("permission denied")
			}
			return nil
		},
		Handler: func(ws *websocket.Conn) {
			for _, text := range texts {
				_ = websocket.Message.Send(ws, text) // the client is gone
			}
			time.Sleep(time.Second) // then it ends, as with a token
		},
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// with adds the server to the settings of a store.
func with(settings map[string]any, url string) map[string]any {
	all := map[string]any{"server": url}
	maps.Copy(all, settings)
	return all
}

// watch opens a store and listens, as long as there is anything.
func watch(ctx context.Context, t *testing.T, settings map[string]any, token, source string) (got [][]string, err error) {
	t.Helper()
	all := map[string]any{"namespace": "team", "auth": map[string]any{"tokenSecretRef": map[string]string{"name": "t", "key": "token"}}}
	maps.Copy(all, settings)
	refs := &conformance.References{}
	refs.Set("t", "token", token)
	r, err := vault.Open(ctx, store(t, all, refs))
	if err != nil {
		t.Fatal(err)
	}
	err = r.(providers.Watcher).Watch(ctx, source, func(keys ...string) { got = append(got, keys) })
	return got, err
}

func TestWatch(t *testing.T) {
	url := events(t, kvEvent("secret/", "secret/data/app/db"), "no JSON", `[]`, kvEvent("other/", "other/data/db"), kvEvent("secret/", "secret/metadata/app/api"), kvEvent("kv/", "kv/plain"))
	db := []string{"app/db", "data/app/db", "secret/app/db", "secret/data/app/db"}
	api := []string{"app/api", "data/app/api", "secret/app/api", "secret/data/app/api"}
	for name, tc := range map[string]struct {
		settings map[string]any
		want     [][]string
	}{
		"OneMount": {map[string]any{"path": "secret"}, [][]string{db, api}},
		"AnyMount": {nil, [][]string{db, {"db", "data/db", "other/db", "other/data/db"}, api}},
		"Version1": {map[string]any{"path": "kv", "version": "v1"}, [][]string{{"plain", "kv/plain"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := watch(t.Context(), t, with(tc.settings, url), "the-token", "kv-v2/*")
			if !errors.Is(err, providers.ErrUnavailable) {
				t.Errorf("when Vault ends it: got %v, want ErrUnavailable", err)
			}
			if !cmp.Equal(tc.want, got) {
				t.Error(cmp.Diff(tc.want, got))
			}
		})
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	begin := time.Now()
	if _, err := watch(ctx, t, with(nil, events(t)), "the-token", "kv-v2/*"); err == nil || time.Since(begin) > 30*time.Second {
		t.Errorf("ended with %v after %s", err, time.Since(begin))
	}
}

func TestWatchFails(t *testing.T) {
	url := events(t)
	for name, tc := range map[string]struct {
		token, source string
		want          error
	}{
		"Denied":    {"another-token", "kv-v2/*", providers.ErrUnavailable},
		"NoSource":  {"the-token", "", providers.ErrInvalid},
		"Elsewhere": {"the-token", "../../secret/data/db", providers.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := watch(t.Context(), t, with(nil, url), tc.token, tc.source)
			if !errors.Is(err, tc.want) || strings.Contains(err.Error(), "token-") || strings.Contains(err.Error(), "another") {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}
