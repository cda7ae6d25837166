package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The staging labels that Secrets Manager moves by itself.
const (
	stageCurrent  = "AWSCURRENT"
	stagePrevious = "AWSPREVIOUS"
)

type secret struct {
	name, arn, description string
	tags                   map[string]string
	versions               []*version // in the order of their creation
	created, changed       time.Time
	deleted                *time.Time // when it goes for good
	keyID, policy          string
	replicas               []string // regions
}

// version is one value of a secret. Secret strings and binaries are kept apart
// as AWS does.
type version struct {
	id      string
	text    *string
	binary  []byte
	stages  map[string]bool
	created time.Time
}

func (c *call) newSecret(name, description string) *secret {
	now := time.Now()
	s := &secret{name: name, description: description, tags: map[string]string{}, created: now, changed: now,
		arn: fmt.Sprintf("arn:aws:secretsmanager:%s:%s:secret:%s-%s", c.name, accountID, name, random(3))}
	c.secrets[name] = s
	return s
}

// find returns the secret that id names: its name, its ARN, or its ARN without
// the six random characters at the end. Secrets marked for deletion are found.
func (r *region) find(id string) (*secret, error) {
	if s := r.secrets[id]; s != nil {
		return s, nil
	}
	for _, s := range r.secrets {
		if s.arn == id || s.arn[:len(s.arn)-len("-123456")] == id {
			return s, nil
		}
	}
	return nil, fail("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

// open finds a secret that c's caller may use and that is not marked for deletion.
func (c *call) open(id string) (*secret, error) {
	s, err := c.reach(id)
	if err != nil {
		return nil, err
	}
	return s, s.alive()
}

// reach finds a secret that c's caller may use. What it may not, it cannot
// probe for either: the answer comes before it is known whether id is there.
func (c *call) reach(id string) (*secret, error) {
	s, err := c.find(id)
	if err != nil {
		if denied := c.authorize(id); denied != nil {
			return nil, denied
		}
		return nil, err
	}
	return s, c.authorize(s.name, s.arn)
}

func (s *secret) alive() error {
	if s.deleted == nil {
		return nil
	}
	return fail("InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.")
}

// attach moves a staging label to v. AWSPREVIOUS follows where AWSCURRENT was.
func (s *secret) attach(stage string, to *version) {
	for _, v := range s.versions {
		if v == to || !v.stages[stage] {
			continue
		}
		delete(v.stages, stage)
		if stage == stageCurrent {
			s.attach(stagePrevious, v)
		}
	}
	to.stages[stage] = true
	if stage == stageCurrent {
		delete(to.stages, stagePrevious)
	}
}

func (v *version) labels() []string { return slices.Sorted(maps.Keys(v.stages)) }

// pick returns the version with the given id and stage; either may be empty,
// and both are the current one.
func (s *secret) pick(id, stage string) (*version, error) {
	if id == "" && stage == "" {
		stage = stageCurrent
	}
	for _, v := range s.versions {
		if (id == "" || v.id == id) && (stage == "" || v.stages[stage]) {
			return v, nil
		}
	}
	if id != "" && stage == "" {
		return nil, fail("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for VersionId: %s", id)
	}
	return nil, fail("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: %s", stage)
}

// add stores a value as a new version. The same token with the same value is
// the same request again; with another value it is refused.
func (s *secret) add(token string, text *string, binary []byte, stages []string) (*version, error) {
	if (text == nil) == (binary == nil) {
		return nil, fail("InvalidParameterException", "You must provide either SecretString or SecretBinary.")
	}
	if token == "" {
		token = random(16)
	}
	if len(token) < 32 || len(token) > 64 {
		return nil, fail("InvalidParameterException", "ClientRequestToken must be 32-64 characters long.")
	}
	for _, v := range s.versions {
		if v.id != token {
			continue
		}
		if v.same(text, binary) {
			return v, nil
		}
		return nil, fail("ResourceExistsException", "You can't modify an existing version, you can only create a new version.")
	}
	v := &version{id: token, text: text, binary: binary, stages: map[string]bool{}, created: time.Now()}
	s.versions = append(s.versions, v)
	if len(stages) == 0 {
		stages = []string{stageCurrent}
	}
	for _, stage := range stages {
		s.attach(stage, v)
	}
	s.changed = v.created
	return v, nil
}

func (v *version) same(text *string, binary []byte) bool {
	if text == nil || v.text == nil {
		return text == nil && v.text == nil && string(binary) == string(v.binary)
	}
	return *text == *v.text
}

// filter narrows a list of secrets.
type filter struct {
	Key    string
	Values []string
}

// matches reports whether s passes every filter: for each, at least one of its
// values, where a ! in front negates one.
func (s *secret) matches(filters []filter) bool {
	for _, f := range filters {
		if !slices.ContainsFunc(f.Values, func(v string) bool {
			value, negated := strings.CutPrefix(v, "!")
			return s.hasPrefix(f.Key, value) != negated
		}) {
			return false
		}
	}
	return true
}

// hasPrefix compares as AWS does: a name and tags with case, a description
// without.
// Source: https://docs.aws.amazon.com/secretsmanager/latest/APIReference/API_Filter.html
func (s *secret) hasPrefix(key, prefix string) bool {
	fold := func(v string) bool { return strings.HasPrefix(strings.ToLower(v), strings.ToLower(prefix)) }
	exact := func(v string) bool { return strings.HasPrefix(v, prefix) }
	switch key {
	case "name":
		return exact(s.name)
	case "description":
		return fold(s.description)
	case "tag-key":
		return slices.ContainsFunc(slices.Collect(maps.Keys(s.tags)), exact)
	case "tag-value":
		return slices.ContainsFunc(slices.Collect(maps.Values(s.tags)), exact)
	case "all":
		return fold(s.name) || fold(s.description) ||
			slices.ContainsFunc(slices.Collect(maps.Keys(s.tags)), fold) || slices.ContainsFunc(slices.Collect(maps.Values(s.tags)), fold)
	}
	return false
}

// list returns the secrets that pass the filters, by name.
func (r *region) list(filters []filter, deleted bool) []*secret {
	var out []*secret
	for _, name := range slices.Sorted(maps.Keys(r.secrets)) {
		if s := r.secrets[name]; (s.deleted == nil || deleted) && s.matches(filters) {
			out = append(out, s)
		}
	}
	return out
}

// page cuts one page out of all; token is the index that it starts at.
func page[T any](all []T, token string, size int) (part []T, next string, err error) {
	start := 0
	if token != "" {
		if _, err := fmt.Sscanf(token, "%d", &start); err != nil || start < 0 || start > len(all) {
			return nil, "", fail("InvalidNextTokenException", "The NextToken value is invalid.")
		}
	}
	end := min(start+size, len(all))
	if end < len(all) {
		next = fmt.Sprint(end)
	}
	return append([]T{}, all[start:end]...), next, nil // never null
}
