package decrypt

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"github.com/getsops/sops/v3/keyservice"
)

// keyName is what a key of Google's KMS is called.
var keyName = regexp.MustCompile(`^projects/[^/?#]+/locations/[^/?#]+/keyRings/[^/?#]+/cryptoKeys/[^/?#]+$`)

const (
	googleScope = "https://www.googleapis.com/auth/cloud-platform"
	googleKMS   = "https://cloudkms.googleapis.com"
	googleSTS   = "https://sts.googleapis.com"
	googleIAM   = "https://iamcredentials.googleapis.com"
)

// openGoogle has Google's KMS decrypt a data key, by its REST interface: that
// of gRPC would bring connections that stay.
func (s *service) openGoogle(k *keyservice.GcpKmsKey, ciphertext []byte) ([]byte, error) {
	if !keyName.MatchString(k.GetResourceId()) {
		return nil, errors.New("its resource id cannot be read")
	}
	return s.request("cloudkms", func(ctx context.Context) ([]byte, error) {
		token, err := s.googleToken(ctx)
		if err != nil {
			return nil, err
		}
		var out struct {
			Plaintext string `json:"plaintext"`
		}
		err = post(ctx, question{
			s.Settings.Client(), or(s.Settings.GoogleKMS, googleKMS) + "/v1/" + k.GetResourceId() + ":decrypt",
			http.Header{"Authorization": {"Bearer " + token}}, map[string]string{"ciphertext": string(ciphertext)},
		}, &out)
		if err != nil {
			return nil, err
		}
		return base64.StdEncoding.DecodeString(out.Plaintext)
	})
}

// googleToken is of the service account whose key is in the Secret, or else
// what Google gives for the ServiceAccount.
func (s *service) googleToken(ctx context.Context) (string, error) {
	if s.Keys.gcp == nil {
		return s.googleExchange(ctx)
	}
	// A token that is signed here needs no request, and so no address that the
	// key file names.
	c, err := credentials.NewCredentialsFromJSON(credentials.ServiceAccount, s.Keys.gcp,
		&credentials.DetectOptions{Scopes: []string{googleScope}, UseSelfSignedJWT: true})
	if err != nil {
		return "", errors.New("the service account key in the Secret cannot be used")
	}
	var token *auth.Token
	if token, err = c.Token(ctx); err != nil {
		return "", errors.New("the service account key in the Secret cannot sign")
	}
	return token.Value, nil
}

// Annotations of a ServiceAccount that Google trusts. The first is Flux's.
const (
	googleProvider = "gcp.auth.fluxcd.io/workload-identity-provider"
	googleAccount  = "iam.gke.io/gcp-service-account"
)

func (s *service) googleExchange(ctx context.Context) (string, error) {
	if s.Keys.Identity == nil {
		return "", errNone
	}
	return s.Settings.Google(ctx, s.Keys.Identity)
}

// Google trades a token of the ServiceAccount for one of Google's, and that
// for one of the Google service account that it stands for, if any. Either
// lives for an hour.
// Source: https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token
func (s *Settings) Google(ctx context.Context, id *Identity) (string, error) {
	provider := id.Annotations[googleProvider]
	if provider == "" {
		return "", fmt.Errorf("ServiceAccount %s has no annotation %s", id.Name, googleProvider)
	}
	audience := "//iam.googleapis.com/" + strings.TrimPrefix(provider, "//iam.googleapis.com/")
	own, err := id.Token(ctx, "https:"+audience)
	if err != nil {
		return "", err
	}
	var traded struct {
		Token string `json:"access_token"`
	}
	err = post(ctx, question{s.Client(), or(s.GoogleSTS, googleSTS) + "/v1/token", http.Header{}, map[string]string{ //nolint:gosec // G101: names, no credentials
		"audience": audience, "scope": googleScope, "subjectToken": own,
		"grantType":          "urn:ietf:params:oauth:grant-type:token-exchange",
		"requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
		"subjectTokenType":   "urn:ietf:params:oauth:token-type:jwt",
	}}, &traded)
	email := id.Annotations[googleAccount]
	if err != nil || email == "" {
		return traded.Token, err
	}
	if strings.ContainsAny(email, "/?#:") {
		return "", errors.New("annotation " + googleAccount + " is no address")
	}
	var out struct {
		Token string `json:"accessToken"`
	}
	err = post(ctx, question{
		s.Client(), or(s.GoogleIAM, googleIAM) + "/v1/projects/-/serviceAccounts/" + email + ":generateAccessToken",
		http.Header{"Authorization": {"Bearer " + traded.Token}}, map[string]any{"scope": []string{googleScope}},
	}, &out)
	return out.Token, err
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
