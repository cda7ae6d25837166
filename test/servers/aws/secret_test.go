package main

import (
	"errors"
	"testing"
)

func TestWildcard(t *testing.T) {
	cases := map[string]struct {
		pattern, s string
		want       bool
	}{
		"Same":     {"a/b", "a/b", true},
		"Other":    {"a/b", "a/c", false},
		"Rest":     {"a/*", "a/b/c", true},
		"Nothing":  {"a/*", "a/", true},
		"Prefix":   {"a/*", "b/a/", false},
		"Middle":   {"a*c", "abbc", true},
		"Twice":    {"*:role/*", "arn:role/x", true},
		"Empty":    {"", "a", false},
		"Anything": {"*", "", true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := wildcard(tc.pattern, tc.s); got != tc.want {
				t.Errorf("wildcard(%q, %q): got %t, want %t", tc.pattern, tc.s, got, tc.want)
			}
		})
	}
}

// newCall is a call of someone who may do what allow says.
func newCall(allow ...statement) *call {
	return &call{region: newServer(nil).region("eu-central-1"), by: &credential{arn: "arn", allow: allow}, action: "secretsmanager:GetSecretValue"}
}

// add adds a version to s.
func add(t *testing.T, s *secret, text string, stages ...string) *version {
	t.Helper()
	v, err := s.add("", &text, nil, stages)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestStagesMove(t *testing.T) {
	s := newCall().newSecret("a", "")
	first, second := add(t, s, "1"), add(t, s, "2")
	pending := add(t, s, "3", "AWSPENDING")
	for stage, want := range map[string]*version{stageCurrent: second, "": second, stagePrevious: first, "AWSPENDING": pending} {
		if got, err := s.pick("", stage); err != nil || got != want {
			t.Errorf("pick(%q): got %v, %v, want %s", stage, got, err, *want.text)
		}
	}
	s.attach(stageCurrent, pending)
	if got, err := s.pick("", stagePrevious); err != nil || got != second {
		t.Errorf("AWSPREVIOUS after AWSCURRENT has moved: got %v, %v, want %s", got, err, *second.text)
	}
	if _, err := s.pick(first.id, ""); err != nil {
		t.Errorf("a version without stages, by its id: %v", err)
	}
}

func TestSameTokenIsTheSameRequest(t *testing.T) {
	s, text, other := newCall().newSecret("a", ""), "1", "2"
	const token = "01234567890123456789012345678901"
	first, err := s.add(token, &text, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.add(token, &text, nil, nil); err != nil || again != first || len(s.versions) != 1 {
		t.Errorf("the same value under the same token: got %v, %v and %d versions, want the first", again, err, len(s.versions))
	}
	if _, err := s.add(token, &other, nil, nil); asAPIError(err).Code != "ResourceExistsException" {
		t.Errorf("another value under the same token: got %v, want ResourceExistsException", err)
	}
}

func TestAnswers(t *testing.T) {
	c := newCall(statement{Actions: []string{"secretsmanager:GetSecretValue"}, Resources: []string{"mine/*"}},
		statement{Actions: []string{"secretsmanager:BatchGetSecretValue"}})
	for _, name := range []string{"mine/a", "mine/b", "theirs"} {
		add(t, c.newSecret(name, ""), name)
	}
	c.secrets["mine/b"].deleted = &c.secrets["mine/b"].created
	cases := map[string]string{
		"mine/a":    "",
		"mine/b":    "InvalidRequestException",
		"mine/none": "ResourceNotFoundException",
		"theirs":    "AccessDeniedException",
		"none":      "AccessDeniedException", // whoever may not read cannot find out what is there
	}
	for id, want := range cases {
		_, err := getSecretValue(c, getSecretValueIn{SecretId: id})
		if got := errorCode(err); got != want {
			t.Errorf("GetSecretValue(%s): got %q, want %q", id, got, want)
		}
	}
	c.action = "secretsmanager:BatchGetSecretValue"
	got, err := batchGetSecretValue(c, batchIn{SecretIdList: []string{"mine/a", "mine/none", "theirs"}})
	if err != nil {
		t.Fatal(err)
	}
	if out, ok := got.(batchOut); !ok || len(out.SecretValues) != 1 || len(out.Errors) != 2 {
		t.Errorf("BatchGetSecretValue: got %+v, want one value and two errors", got)
	}
}

func errorCode(err error) string {
	var e *apiError
	if !errors.As(err, &e) {
		return ""
	}
	return e.Code
}

func TestParameterVersions(t *testing.T) {
	c := newCall()
	for _, value := range []string{"one", "two"} {
		if _, err := putParameter(c, putParameterIn{Name: "/app/p", Value: value, Type: "SecureString", Overwrite: true}); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[string]string{"/app/p": "two", "/app/p:1": "one", "/app/p:2": "two"} {
		if p, err := c.parameter(id, true); err != nil || p.Value != want {
			t.Errorf("GetParameter(%s): got %q, %v, want %q", id, p.Value, err, want)
		}
	}
	if p, err := c.parameter("/app/p", false); err != nil || p.Value != ciphertext {
		t.Errorf("GetParameter without decryption: got %q, %v", p.Value, err)
	}
	if _, err := c.parameter("/app/p:3", true); errorCode(err) != "ParameterVersionNotFound" {
		t.Errorf("GetParameter of a version that is not there: got %v", err)
	}
}
