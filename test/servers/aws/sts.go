//nolint:revive,staticcheck // fields are named as the API names them
package main

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// role is who may be assumed, by whom, and what that allows.
type role struct {
	ARN        string      `json:"arn"`
	Subject    string      `json:"subject,omitempty"`    // of a web identity token; * stands for anything
	Audience   string      `json:"audience,omitempty"`   // of a web identity token; default sts.amazonaws.com
	Principals []string    `json:"principals,omitempty"` // ARNs that may AssumeRole; * stands for anything
	ExternalID string      `json:"externalId,omitempty"` // that AssumeRole must bring
	Tags       []string    `json:"tags,omitempty"`       // key=value that AssumeRole must bring, and +key that it must pass on
	Allow      []statement `json:"allow,omitempty"`
	// SessionSeconds is how long a session lives, whatever was asked for; AWS
	// itself gives 900 seconds at least. 0: what was asked for, or an hour.
	SessionSeconds int `json:"sessionSeconds,omitempty"`
}

const stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"

func (s *server) serveSTS(w http.ResponseWriter, r *http.Request, body []byte) {
	w.Header().Set("Content-Type", "text/xml")
	text := string(body)
	if text == "" {
		text = r.URL.RawQuery // of a request that was signed for someone else to send
	}
	form, err := url.ParseQuery(text)
	if err != nil {
		writeSTSError(w, fail("MalformedQueryString", "the body is not a form"))
		return
	}
	action := form.Get("Action")
	if f := s.control.Begin(r, "sts:"+action); f != nil {
		writeSTSError(w, faultError(f))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	result, err := s.sts(r, body, action, form)
	if err != nil {
		writeSTSError(w, err)
		return
	}
	fmt.Fprintf(w, `<%sResponse xmlns="%s">`, action, stsNamespace)
	_ = xml.NewEncoder(w).EncodeElement(result, xml.StartElement{Name: xml.Name{Local: action + "Result"}}) // the client is gone
	fmt.Fprintf(w, `<ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%sResponse>`, random(16), action)
}

func writeSTSError(w http.ResponseWriter, err error) {
	e := asAPIError(err)
	w.WriteHeader(e.Status)
	type detail struct{ Type, Code, Message string }
	_ = xml.NewEncoder(w).Encode(struct { // the client is gone
		XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
		Error     detail
		RequestId string
	}{Error: detail{"Sender", e.Code, e.Message}, RequestId: random(16)})
}

func (s *server) sts(r *http.Request, body []byte, action string, form url.Values) (any, error) {
	if action == "AssumeRoleWithWebIdentity" {
		return s.assumeWithWebIdentity(form)
	}
	who, sc, err := s.authenticate(r, body)
	if err != nil {
		return nil, stsName(err)
	}
	if sc.service != "sts" {
		return nil, fail("SignatureDoesNotMatch", "Credential should be scoped to correct service: 'sts'.")
	}
	switch action {
	case "AssumeRole":
		return s.assume(who, form)
	case "GetSessionToken":
		return s.sessionToken(who, form)
	case "GetCallerIdentity":
		return struct{ Arn, UserId, Account string }{who.arn, who.userID, accountID}, nil
	}
	return nil, fail("InvalidAction", "Could not find operation %s for version 2011-06-15", action)
}

// stsName gives an error of authenticate the name that STS has for it; the
// JSON services have others.
func stsName(err error) error {
	e := asAPIError(err)
	e.Status = http.StatusForbidden
	switch e.Code {
	case "UnrecognizedClientException":
		e.Code = "InvalidClientTokenId"
	case "InvalidSignatureException":
		e.Code = "SignatureDoesNotMatch"
	case "ExpiredTokenException":
		e.Code = "ExpiredToken"
	case "MissingAuthenticationTokenException":
		e.Code = "MissingAuthenticationToken"
	}
	return &e
}

func denied(format string, args ...any) error {
	return &apiError{Code: "AccessDenied", Message: fmt.Sprintf(format, args...), Status: http.StatusForbidden}
}

type assumedRole struct {
	SubjectFromWebIdentityToken string `xml:",omitempty"`
	Audience                    string `xml:",omitempty"`
	Provider                    string `xml:",omitempty"`
	AssumedRoleUser             struct{ Arn, AssumedRoleId string }
	Credentials                 struct{ AccessKeyId, SecretAccessKey, SessionToken, Expiration string }
}

func (s *server) assumeWithWebIdentity(form url.Values) (any, error) {
	const refused = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
	ro := s.roles[form.Get("RoleArn")]
	if ro == nil || ro.Subject == "" {
		return nil, denied(refused)
	}
	audience := ro.Audience
	if audience == "" {
		audience = "sts.amazonaws.com"
	}
	subject, err := s.keys.verify(form.Get("WebIdentityToken"), audience)
	if err != nil {
		return nil, err
	}
	if !wildcard(ro.Subject, subject) {
		return nil, denied(refused)
	}
	out, err := s.newSession(ro, form)
	if err != nil {
		return nil, err
	}
	out.SubjectFromWebIdentityToken, out.Audience, out.Provider = subject, audience, s.keys.issuer
	return out, nil
}

func (s *server) assume(who *credential, form url.Values) (any, error) {
	arn := form.Get("RoleArn")
	ro := s.roles[arn]
	trusted := ro != nil && slices.ContainsFunc(ro.Principals, func(p string) bool { return wildcard(p, who.arn) })
	if !trusted || ro.ExternalID != form.Get("ExternalId") || !bringsTags(ro.Tags, form) {
		return nil, denied("User: %s is not authorized to perform: sts:AssumeRole on resource: %s", who.arn, arn)
	}
	return s.newSession(ro, form)
}

// bringsTags reports whether a request has the session tags that a role wants.
func bringsTags(wanted []string, form url.Values) bool {
	brought := map[string]bool{}
	for i := 1; form.Has(fmt.Sprintf("Tags.member.%d.Key", i)); i++ {
		brought[form.Get(fmt.Sprintf("Tags.member.%d.Key", i))+"="+form.Get(fmt.Sprintf("Tags.member.%d.Value", i))] = true
	}
	for i := 1; form.Has(fmt.Sprintf("TransitiveTagKeys.member.%d", i)); i++ {
		brought["+"+form.Get(fmt.Sprintf("TransitiveTagKeys.member.%d", i))] = true
	}
	return !slices.ContainsFunc(wanted, func(tag string) bool { return !brought[tag] })
}

func (s *server) newSession(ro *role, form url.Values) (*assumedRole, error) {
	name := form.Get("RoleSessionName")
	if len(name) < 2 {
		return nil, fail("ValidationError", "Value '%s' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2", name)
	}
	lifetime := time.Hour
	if asked, err := strconv.Atoi(form.Get("DurationSeconds")); err == nil {
		lifetime = time.Duration(asked) * time.Second
	}
	if lifetime < 15*time.Minute || lifetime > 12*time.Hour {
		return nil, fail("ValidationError", "The requested DurationSeconds must be between 900 and 43200")
	}
	if ro.SessionSeconds > 0 {
		lifetime = time.Duration(ro.SessionSeconds) * time.Second
	}
	_, roleName, _ := strings.Cut(ro.ARN, ":role/")
	id := "AROA" + strings.ToUpper(random(8)) + ":" + name
	c := &credential{
		id: "ASIA" + strings.ToUpper(random(8)), secret: random(20), token: random(40), userID: id,
		arn:     fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/%s", accountID, roleName, name),
		expires: time.Now().Add(lifetime), allow: ro.Allow,
	}
	s.access[c.id] = c
	out := &assumedRole{}
	out.AssumedRoleUser.Arn, out.AssumedRoleUser.AssumedRoleId = c.arn, id
	out.Credentials.AccessKeyId, out.Credentials.SecretAccessKey, out.Credentials.SessionToken = c.id, c.secret, c.token
	out.Credentials.Expiration = c.expires.UTC().Format(time.RFC3339)
	return out, nil
}
