//nolint:revive,staticcheck // fields are named as the API names them
package main

import (
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// tokenLifetime is how long a token for a registry is good.
// Source: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
const tokenLifetime = 12 * time.Hour

// Operations of ECR and of ECR Public. Their tokens log in nowhere.
var (
	registry       = map[string]operation{"GetAuthorizationToken": op(registryToken)}
	publicRegistry = map[string]operation{"GetAuthorizationToken": op(publicToken)}
)

type authorizationData struct {
	AuthorizationToken string  `json:"authorizationToken"`
	ExpiresAt          float64 `json:"expiresAt"`
	ProxyEndpoint      string  `json:"proxyEndpoint,omitempty"`
}

func newToken() authorizationData {
	return authorizationData{
		AuthorizationToken: base64.StdEncoding.EncodeToString([]byte("AWS:" + random(40))),
		ExpiresAt:          seconds(time.Now().Add(tokenLifetime)),
	}
}

func registryToken(c *call, _ struct{}) (any, error) {
	if err := c.authorize("*"); err != nil {
		return nil, err
	}
	data := newToken()
	data.ProxyEndpoint = "https://" + accountID + ".dkr.ecr." + c.name + ".amazonaws.com"
	return map[string]any{"authorizationData": []authorizationData{data}}, nil
}

func publicToken(c *call, _ struct{}) (any, error) {
	if c.name != "us-east-1" {
		return nil, fail("UnsupportedCommandException", "GetAuthorizationToken command is only supported in us-east-1.")
	}
	if err := c.authorize("*"); err != nil {
		return nil, err
	}
	return map[string]any{"authorizationData": newToken()}, nil
}

// sessionToken makes a session of a user; a session makes no other.
// Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
func (s *server) sessionToken(who *credential, form url.Values) (any, error) {
	if who.token != "" {
		return nil, denied("Cannot call GetSessionToken with session credentials")
	}
	lifetime := 12 * time.Hour
	if asked, err := strconv.Atoi(form.Get("DurationSeconds")); err == nil {
		lifetime = time.Duration(asked) * time.Second
	}
	if lifetime < 15*time.Minute || lifetime > 36*time.Hour {
		return nil, fail("ValidationError", "The requested DurationSeconds must be between 900 and 129600")
	}
	if (form.Get("SerialNumber") == "") != (form.Get("TokenCode") == "") {
		return nil, denied("MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code.")
	}
	c := &credential{
		id: "ASIA" + strings.ToUpper(random(8)), secret: random(20), token: random(40),
		arn: who.arn, userID: who.userID, expires: time.Now().Add(lifetime), allow: who.allow,
	}
	s.access[c.id] = c
	var out struct {
		Credentials struct{ AccessKeyId, SecretAccessKey, SessionToken, Expiration string }
	}
	out.Credentials.AccessKeyId, out.Credentials.SecretAccessKey, out.Credentials.SessionToken = c.id, c.secret, c.token
	out.Credentials.Expiration = c.expires.UTC().Format(time.RFC3339)
	return out, nil
}
