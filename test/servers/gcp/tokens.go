package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/lockstep-dev/lockstep/test/servers/serve"
)

// handleTokens adds the exchanges to mux.
func (s *server) handleTokens(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/token", s.exchange("sts", form, s.subjectOfPool))
	mux.HandleFunc("POST /v1/identitybindingtoken", s.exchange("identitybinding", body, s.subjectOfCluster))
	mux.HandleFunc("POST /token", s.exchange("oauth", form, s.subjectOfKey))
	mux.HandleFunc("POST /v1/projects/-/serviceAccounts/{account}", s.generate)
}

// fields is what a request says.
type fields map[string]string

func form(r *http.Request) (fields, error) {
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	out := fields{}
	for key := range r.Form {
		out[key] = r.Form.Get(key)
	}
	return out, nil
}

func body(r *http.Request) (fields, error) {
	var out fields
	return out, json.NewDecoder(r.Body).Decode(&out)
}

// exchange answers with a token of who subject says a request is from.
func (s *server) exchange(operation string, read func(*http.Request) (fields, error), subject func(fields) (string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if f := s.control.Begin(r, operation); f != nil {
			refuse(w, max(f.Status, http.StatusBadRequest), f.Code)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		in, err := read(r)
		if err != nil {
			refuse(w, http.StatusBadRequest, "invalid_request")
			return
		}
		by, err := subject(in)
		if err != nil {
			refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		token, seconds := s.issue(by)
		serve.WriteJSON(w, http.StatusOK, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": seconds,
			"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"})
	}
}

func refuse(w http.ResponseWriter, status int, why string) {
	serve.WriteJSON(w, status, map[string]string{"error": "invalid_grant", "error_description": why})
}

const grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"

// subjectOfPool is that of a workload identity pool: a ServiceAccount, or who
// signed a request to AWS.
func (s *server) subjectOfPool(in fields) (string, error) {
	audience := in["audience"]
	if in["grant_type"] != grantExchange || !strings.HasPrefix(audience, "//iam.googleapis.com/") {
		return "", errors.New("the audience is no provider of a pool")
	}
	if in["subject_token_type"] == "urn:ietf:params:aws:token-type:aws4_request" {
		return s.signer(in["subject_token"], audience)
	}
	return s.keys.verify(in["subject_token"], audience, "https:"+audience)
}

// subjectOfCluster is that of the pool of a GKE cluster.
func (s *server) subjectOfCluster(in fields) (string, error) {
	pool, _, ok := strings.Cut(strings.TrimPrefix(in["audience"], "identitynamespace:"), ":https://container.googleapis.com/v1/projects/")
	if in["grant_type"] != grantExchange || !ok || !strings.HasSuffix(pool, ".svc.id.goog") {
		return "", errors.New("the audience is no pool of a cluster")
	}
	return s.keys.verify(in["subject_token"], pool)
}

// subjectOfKey is the service account whose key signed an assertion.
func (s *server) subjectOfKey(in fields) (string, error) {
	claims := &jwt.RegisteredClaims{}
	_, err := jwt.ParseWithClaims(in["assertion"], claims, func(*jwt.Token) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		p := s.principals[claims.Issuer]
		if p == nil || p.PublicKey == "" {
			return nil, errors.New("no such service account")
		}
		return jwt.ParseRSAPublicKeyFromPEM([]byte(p.PublicKey))
	}, jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithAudience("https://oauth2.googleapis.com/token"))
	if err != nil || in["grant_type"] != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		return "", errors.New("Invalid JWT Signature.") //nolint:revive,staticcheck // as Google says it
	}
	return claims.Issuer, nil
}

// signer asks AWS who signed a request, as Google does: by sending it.
func (s *server) signer(token, audience string) (string, error) {
	text, err := url.QueryUnescape(token)
	if err != nil || s.aws.url == "" {
		return "", errors.New("the subject token is no request to AWS")
	}
	var signed struct {
		URL, Method string
		Headers     []struct{ Key, Value string }
	}
	if err := json.Unmarshal([]byte(text), &signed); err != nil {
		return "", errors.New("the subject token is no request to AWS")
	}
	at, err := url.Parse(signed.URL)
	if err != nil || !strings.HasPrefix(at.Host, "sts.") || !strings.HasSuffix(at.Host, ".amazonaws.com") || at.Query().Get("Action") != "GetCallerIdentity" {
		return "", errors.New("the subject token asks AWS for something else")
	}
	request, err := http.NewRequest(signed.Method, s.aws.url+"/?"+at.RawQuery, http.NoBody)
	if err != nil {
		return "", err
	}
	request.Host = at.Host
	for _, h := range signed.Headers {
		if !strings.EqualFold(h.Key, "host") {
			request.Header.Set(h.Key, h.Value)
		}
	}
	if request.Header.Get("X-Goog-Cloud-Target-Resource") != audience {
		return "", errors.New("the subject token is for another audience")
	}
	return s.caller(request)
}

func (s *server) caller(request *http.Request) (string, error) {
	answer, err := s.aws.client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil || answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("AWS answers with status %d", answer.StatusCode)
	}
	var out struct {
		Arn string `xml:"GetCallerIdentityResult>Arn"`
	}
	if err := xml.NewDecoder(bytes.NewReader(text)).Decode(&out); err != nil || out.Arn == "" {
		return "", errors.New("AWS does not say who signed")
	}
	return out.Arn, nil
}

// generate gives a principal a token of a service account that it may act as.
func (s *server) generate(w http.ResponseWriter, r *http.Request) {
	if f := s.control.Begin(r, "generateAccessToken"); f != nil {
		refuse(w, max(f.Status, http.StatusBadRequest), f.Code)
		return
	}
	email, ok := strings.CutSuffix(r.PathValue("account"), ":generateAccessToken")
	s.mu.Lock()
	defer s.mu.Unlock()
	caller, known := s.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	account := s.principals[email]
	if !ok || !known || time.Now().After(caller.expires) || account == nil || !slices.Contains(account.ActAs, caller.by) {
		serve.WriteJSON(w, http.StatusForbidden, map[string]any{"error": map[string]any{"code": 403, "status": "PERMISSION_DENIED",
			"message": "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."}})
		return
	}
	token, seconds := s.issue(email)
	serve.WriteJSON(w, http.StatusOK, map[string]string{"accessToken": token, "expireTime": time.Now().Add(time.Duration(seconds) * time.Second).UTC().Format(time.RFC3339Nano)})
}
