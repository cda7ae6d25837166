package events

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sign(key, body string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func TestWebhook(t *testing.T) {
	const body = `{"keys": ["db", "api/token"]}`
	keys := map[Store]string{{"team", "vault"}: "key-of-the-team-0", {"", "shared"}: "key-of-the-cluster"}
	for name, tc := range map[string]struct {
		reason, path, body, header, signature string
		status                                int
		want                                  map[Store][]string
	}{
		"SecretStore":        {"A message of a namespaced store is for it.", "/events/team/vault", body, "X-Lockstep-Signature", sign("key-of-the-team-0", body), 202, map[Store][]string{{"team", "vault"}: {"db", "api/token"}}},
		"ClusterSecretStore": {"Without a namespace, it is a ClusterSecretStore's.", "/events/shared", body, "X-Lockstep-Signature", sign("key-of-the-cluster", body), 202, map[Store][]string{{"", "shared"}: {"db", "api/token"}}},
		"GitHubsHeader":      {"The header that others send is known, too.", "/events/team/vault", body, "X-Hub-Signature-256", sign("key-of-the-team-0", body), 202, map[Store][]string{{"team", "vault"}: {"db", "api/token"}}},
		"WrongKey":           {"The key of another store opens nothing.", "/events/team/vault", body, "X-Lockstep-Signature", sign("key-of-the-cluster", body), 401, nil},
		"WrongBody":          {"Nor does the signature of another body.", "/events/team/vault", `{"keys": ["x"]}`, "X-Lockstep-Signature", sign("key-of-the-team-0", body), 401, nil},
		"Unsigned":           {"Nor none.", "/events/team/vault", body, "X-Other", "", 401, nil},
		"NotHex":             {"Nor one that is not hex.", "/events/team/vault", body, "X-Lockstep-Signature", "sha256=xyz", 401, nil},
		"OtherHash":          {"Nor one of another kind.", "/events/team/vault", body, "X-Lockstep-Signature", "sha1=00", 401, nil},
		"NoStore":            {"A store that is not there says the same.", "/events/team/none", body, "X-Lockstep-Signature", sign("key-of-the-team-0", body), 401, nil},
		"EmptyKey":           {"No key is no key: an empty signature of nothing does not pass.", "/events/team/none", body, "X-Lockstep-Signature", sign("", body), 401, nil},
		"NoKeys":             {"A message without keys is refused.", "/events/team/vault", `{}`, "X-Lockstep-Signature", sign("key-of-the-team-0", `{}`), 400, nil},
		"NotJSON":            {"So is one that cannot be read.", "/events/team/vault", `db`, "X-Lockstep-Signature", sign("key-of-the-team-0", `db`), 400, nil},
		"TooLarge":           {"And one that is too large.", "/events/team/vault", strings.Repeat("x", maxBody+1), "X-Lockstep-Signature", "", 413, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[Store][]string{}
			server := httptest.NewServer(newWebhook(
				func(_ context.Context, s Store) ([]byte, bool) { return []byte(keys[s]), keys[s] != "" },
				func(_ context.Context, s Store, keys []string) { got[s] = keys },
			))
			defer server.Close()
			if status := post(t, server.URL+tc.path, tc.header, tc.signature, tc.body); status != tc.status {
				t.Errorf("%s\ngot status %d, want %d", tc.reason, status, tc.status)
			}
			if len(got)+len(tc.want) > 0 && !cmp.Equal(tc.want, got) {
				t.Errorf("%s\n%s", tc.reason, cmp.Diff(tc.want, got))
			}
		})
	}
}

func TestWebhookIsLimited(t *testing.T) {
	server := httptest.NewServer(newWebhook(func(context.Context, Store) ([]byte, bool) { return nil, false }, nil))
	defer server.Close()
	refused := 0
	for range 3 * atOnce {
		if post(t, server.URL+"/events/a/b", "X-Other", "", "{}") == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused == 0 {
		t.Errorf("%d messages in a row: none was refused", 3*atOnce)
	}
}

func post(t *testing.T, url, header, value, body string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(header, value)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

func TestSecretOf(t *testing.T) {
	for name, tc := range map[string]struct {
		store      Store
		annotation string
		want       []string // nil is an error
	}{
		"Name":             {Store{"team", "s"}, "hook", []string{"team", "hook", "key"}},
		"NameAndKey":       {Store{"team", "s"}, "hook/hmac", []string{"team", "hook", "hmac"}},
		"OtherNamespace":   {Store{"team", "s"}, "other/hook/hmac", nil},
		"Cluster":          {Store{"", "s"}, "ops/hook", []string{"ops", "hook", "key"}},
		"ClusterAndKey":    {Store{"", "s"}, "ops/hook/hmac", []string{"ops", "hook", "hmac"}},
		"ClusterNoneNamed": {Store{"", "s"}, "hook", nil},
		"Empty":            {Store{"team", "s"}, "", nil},
		"EmptyPart":        {Store{"team", "s"}, "hook/", nil},
	} {
		t.Run(name, func(t *testing.T) {
			namespace, secret, key, err := secretOf(tc.store, tc.annotation)
			if (err != nil) != (tc.want == nil) {
				t.Fatalf("got error %v", err)
			}
			if got := []string{namespace, secret, key}; err == nil && !cmp.Equal(tc.want, got) {
				t.Error(cmp.Diff(tc.want, got))
			}
		})
	}
}
