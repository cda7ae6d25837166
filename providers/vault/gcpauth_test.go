package vault_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/gcp"
	"github.com/lockstep-dev/lockstep/providers/vault"
)

const serviceAccount = "reader@team.iam.gserviceaccount.com"

// google is what signs, and what logs in, as Google and the GCP auth method of
// Vault do. OpenBao has no such auth method.
// Source: https://developer.hashicorp.com/vault/docs/auth/gcp#iam-login
type google struct {
	key      *rsa.PrivateKey
	audience string // of the JWTs that are let in
	asked    []string
}

func (g *google) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in map[string]any
	_ = json.NewDecoder(r.Body).Decode(&in) // an empty one fails below
	text := func(key string) string { s, _ := in[key].(string); return s }
	g.asked = append(g.asked, r.URL.Path)
	switch r.URL.Path {
	case "/v1/auth/gcp/login":
		if err := g.verify(text("jwt")); err != nil || text("role") != "app" {
			fixed(400, fmt.Sprintf(`{"errors":[%q]}`, fmt.Sprint(err)))(w, r)
			return
		}
		fixed(200, `{"auth":{"client_token":"t","lease_duration":3600}}`)(w, r)
	case "/v1/identitybindingtoken":
		if text("subject_token") != "token-of-app" {
			fixed(400, `{}`)(w, r)
			return
		}
		fixed(200, `{"access_token":"federated","expires_in":3600}`)(w, r)
	case "/v1/projects/-/serviceAccounts/" + serviceAccount + ":generateAccessToken":
		if r.Header.Get("Authorization") != "Bearer federated" {
			fixed(403, `{}`)(w, r)
			return
		}
		fixed(200, `{"accessToken":"of-the-account","expireTime":"2126-01-01T00:00:00Z"}`)(w, r)
	case "/v1/projects/-/serviceAccounts/" + serviceAccount + ":signJwt":
		claims := jwt.MapClaims{}
		if err := json.Unmarshal([]byte(text("payload")), &claims); err != nil || r.Header.Get("Authorization") != "Bearer of-the-account" {
			fixed(403, `{}`)(w, r)
			return
		}
		fixed(200, fmt.Sprintf(`{"keyId":"kid","signedJwt":%q}`, g.sign(claims)))(w, r)
	case "/computeMetadata/v1/instance/service-accounts/default/identity":
		_, _ = w.Write([]byte(g.sign(jwt.MapClaims{"sub": serviceAccount, "aud": r.URL.Query().Get("audience"), "exp": time.Now().Add(time.Minute).Unix()})))
	default:
		fixed(200, kv(`{"a":"b"}`))(w, r)
	}
}

func (g *google) sign(claims jwt.MapClaims) string {
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	t.Header["kid"] = "kid"
	signed, err := t.SignedString(g.key)
	if err != nil {
		panic(err)
	}
	return signed
}

// verify looks at what Vault looks at, which includes that a JWT ends within
// 15 minutes.
func (g *google) verify(text string) error {
	claims := &jwt.RegisteredClaims{}
	_, err := jwt.ParseWithClaims(text, claims, func(t *jwt.Token) (any, error) {
		if t.Header["kid"] != "kid" {
			return nil, errors.New("unknown key")
		}
		return &g.key.PublicKey, nil
	}, jwt.WithValidMethods([]string{"RS256"}), jwt.WithAudience(g.audience), jwt.WithExpirationRequired())
	switch {
	case err != nil:
		return err
	case claims.Subject != serviceAccount:
		return errors.New("another account")
	case time.Until(claims.ExpiresAt.Time) > 15*time.Minute:
		return errors.New("it lives too long")
	}
	return nil
}

func TestGCP(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	account, err := json.Marshal(map[string]string{"type": "service_account", "client_email": serviceAccount, "private_key_id": "kid",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))})
	must(t, err)
	identity := func(account string) map[string]any {
		return map[string]any{"workloadIdentity": map[string]any{"serviceAccountRef": map[string]any{"name": account}, "clusterLocation": "europe-west3", "clusterName": "c", "clusterProjectID": "team"}}
	}
	cases := map[string]struct {
		reason  string
		gcp     map[string]any
		ambient bool
		role    string // that the server knows; app unless it says another
		want    error
	}{
		"Key":       {reason: "The key of a service account signs.", gcp: map[string]any{"secretRef": map[string]any{"secretAccessKeySecretRef": map[string]string{"name": "k", "key": "json"}}}},
		"Workload":  {reason: "IAM signs for a workload identity.", gcp: identity("app")},
		"NoAccount": {reason: "Which has to name a service account.", gcp: identity("plain"), want: providers.ErrInvalid},
		"Machine":   {reason: "A store that may have it gets the identity of the machine.", gcp: map[string]any{}, ambient: true},
		"NotIts":    {reason: "No other one does.", gcp: map[string]any{}, want: providers.ErrInvalid},
		"Role":      {reason: "A JWT is for one role only.", gcp: identity("app"), role: "other", want: providers.ErrDenied},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			g := &google{key: key, audience: "vault/app"}
			if tc.role != "" {
				g.audience = "vault/" + tc.role
			}
			server := serve(t, g.ServeHTTP)
			t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(server.URL, "http://"))
			refs := &conformance.References{
				Accounts: map[string]map[string]string{"app": {"iam.gke.io/gcp-service-account": serviceAccount}, "plain": {}},
				TokenFn:  func(_ context.Context, account string, _ []string) (string, error) { return "token-of-" + account, nil },
			}
			refs.Set("k", "json", string(account))
			tc.gcp["role"] = "app"
			with := byToken(server.URL)
			with["auth"] = map[string]any{"gcp": tc.gcp}
			config := store(t, with, refs)
			config.Ambient = tc.ambient
			r, err := vault.New(vault.Clouds{GCP: gcp.Endpoints{IAM: server.URL, IdentityBinding: server.URL}.Login})(t.Context(), config)
			if !errors.Is(err, tc.want) || err != nil && (strings.Contains(err.Error(), "eyJ") || strings.Contains(err.Error(), "gcpsm")) {
				t.Fatalf("%s\nOpen: got %v, want %v without a token", tc.reason, err, tc.want)
			}
			if err == nil {
				if _, err := r.Read(t.Context(), providers.Ref{Path: "app"}); err != nil {
					t.Errorf("%s\nRead: %v, after %v", tc.reason, err, g.asked)
				}
			}
		})
	}
}
