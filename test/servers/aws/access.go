package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// credential is an access key, of a user or of a session.
type credential struct {
	id, secret, token string
	arn               string    // of the user or the assumed role
	userID            string    // as GetCallerIdentity names it
	expires           time.Time // zero: never
	allow             []statement
}

// statement allows actions on resources. An empty list of either means all.
// A * stands for any characters; a resource may be a name or an ARN.
type statement struct {
	Actions   []string `json:"actions,omitempty"`
	Resources []string `json:"resources,omitempty"`
}

func (st statement) covers(action string, names ...string) bool {
	return matchesAny(st.Actions, action) && matchesAny(st.Resources, names...)
}

// matchesAny reports whether one of values matches one of patterns; no
// patterns match everything.
func matchesAny(patterns []string, values ...string) bool {
	for _, p := range patterns {
		for _, v := range values {
			if wildcard(p, v) {
				return true
			}
		}
	}
	return len(patterns) == 0
}

// wildcard reports whether s matches pattern, in which * stands for anything.
func wildcard(pattern, s string) bool {
	first, rest, more := strings.Cut(pattern, "*")
	if !more {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, first)
	if !ok {
		return false
	}
	for i := range len(s) + 1 {
		if wildcard(rest, s[i:]) {
			return true
		}
	}
	return false
}

// authorize returns an AccessDeniedException if c's caller may not do its
// action on a resource known by names. No statements at all allow everything.
func (c *call) authorize(names ...string) error { return c.authorizeAction(c.action, names...) }

func (c *call) authorizeAction(action string, names ...string) error {
	for _, st := range c.by.allow {
		if st.covers(action, names...) {
			return nil
		}
	}
	if len(c.by.allow) == 0 {
		return nil
	}
	return fail("AccessDeniedException", "User: %s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action",
		c.by.arn, action, names[0], action)
}

// scope is what a signature is for.
type scope struct{ region, service string }

// maxSkew is how old a signature may be.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/signing-elements.html
const maxSkew = 5 * time.Minute

// authenticate checks the signature of r; mu is held.
func (s *server) authenticate(r *http.Request, body []byte) (*credential, scope, error) {
	header, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return nil, scope{}, fail("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(header, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[k] = v
	}
	parts := strings.Split(fields["Credential"], "/")
	if len(parts) != 5 {
		return nil, scope{}, fail("IncompleteSignatureException", "Credential must have 5 parts")
	}
	c, ok := s.access[parts[0]]
	if !ok || subtle.ConstantTimeCompare([]byte(r.Header.Get("X-Amz-Security-Token")), []byte(c.token)) == 0 {
		return nil, scope{}, fail("UnrecognizedClientException", "The security token included in the request is invalid.")
	}
	if !c.expires.IsZero() && time.Now().After(c.expires) {
		return nil, scope{}, fail("ExpiredTokenException", "The security token included in the request is expired")
	}
	sc := scope{region: parts[2], service: parts[3]}
	if !validSignature(r, body, c, fields["SignedHeaders"], sc) {
		return nil, scope{}, fail("InvalidSignatureException", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.")
	}
	return c, sc, nil
}

// validSignature signs what r says was signed, and compares.
func validSignature(r *http.Request, body []byte, c *credential, signed string, sc scope) bool {
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > maxSkew {
		return false
	}
	again, err := http.NewRequest(r.Method, "http://"+r.Host+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return false
	}
	for h := range strings.SplitSeq(signed, ";") {
		if h != "host" && h != "content-length" { // the signer takes these two from the request itself
			again.Header[http.CanonicalHeaderKey(h)] = r.Header.Values(h)
		}
	}
	sum := sha256.Sum256(body)
	keys := aws.Credentials{AccessKeyID: c.id, SecretAccessKey: c.secret, SessionToken: c.token}
	if err := v4.NewSigner().SignHTTP(context.Background(), keys, again, hex.EncodeToString(sum[:]), sc.service, sc.region, at); err != nil {
		return false
	}
	return subtle.ConstantTimeCompare([]byte(again.Header.Get("Authorization")), []byte(r.Header.Get("Authorization"))) == 1
}
