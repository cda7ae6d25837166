package main

import (
	"errors"
	"maps"
	"net/http"
	"strings"

	"github.com/lockstep-dev/lockstep/test/servers/serve"
)

// The admin API, besides that of serve.Control. Each takes JSON, and sets what
// is there already anew.
//
//	PUT /_admin/keys        accessKey: a user's static access key
//	PUT /_admin/roles       role
//	PUT /_admin/secrets     seed: a secret; a new version if it is there; without a value, only its tags
//	PUT /_admin/parameters  seed: a parameter of type SecureString
//	PUT /_admin/queues      queueIn: a queue of SQS, and messages for it
func (s *server) handleAdmin(mux *http.ServeMux) {
	mux.HandleFunc("PUT /_admin/keys", serve.JSON(s.putKey))
	mux.HandleFunc("PUT /_admin/roles", serve.JSON(s.putRole))
	mux.HandleFunc("PUT /_admin/secrets", serve.JSON(s.putSecret))
	mux.HandleFunc("PUT /_admin/parameters", serve.JSON(s.putParameter))
	mux.HandleFunc("PUT /_admin/queues", serve.JSON(s.putQueue))
}

type accessKey struct {
	AccessKeyID     string      `json:"accessKeyId"`
	SecretAccessKey string      `json:"secretAccessKey"`
	User            string      `json:"user"`
	Allow           []statement `json:"allow,omitempty"`
}

func (s *server) putKey(in accessKey) (any, error) {
	if in.AccessKeyID == "" || in.SecretAccessKey == "" || in.User == "" {
		return nil, errors.New("accessKeyId, secretAccessKey and user are required")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.access[in.AccessKeyID] = &credential{
		id: in.AccessKeyID, secret: in.SecretAccessKey, allow: in.Allow,
		arn: "arn:aws:iam::" + accountID + ":user/" + in.User, userID: "AIDA" + strings.ToUpper(random(8)),
	}
	return struct{}{}, nil
}

func (s *server) putRole(in role) (any, error) {
	if !strings.HasPrefix(in.ARN, "arn:aws:iam::"+accountID+":role/") {
		return nil, errors.New("arn must begin with arn:aws:iam::" + accountID + ":role/")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roles[in.ARN] = &in
	return struct{}{}, nil
}

// seed is a value to put into a region.
type seed struct {
	Region string            `json:"region"`
	Name   string            `json:"name"`
	Value  *string           `json:"value,omitempty"`
	Binary []byte            `json:"binary,omitempty"`
	Tags   map[string]string `json:"tags,omitempty"`
}

func (in seed) check() error {
	if in.Region == "" || in.Name == "" {
		return errors.New("region and name are required")
	}
	return nil
}

func (s *server) putSecret(in seed) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &call{region: s.region(in.Region)}
	existing := c.secrets[in.Name]
	if existing == nil {
		existing = c.newSecret(in.Name, "")
	}
	existing.deleted = nil
	maps.Copy(existing.tags, in.Tags)
	if in.Value == nil && in.Binary == nil {
		return map[string]string{"arn": existing.arn}, nil
	}
	v, err := existing.add("", in.Value, in.Binary, nil)
	if err != nil {
		return nil, err
	}
	c.tell("PutSecretValue", existing)
	return map[string]string{"arn": existing.arn, "versionId": v.id}, nil
}

func (s *server) putParameter(in seed) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.region(in.Region).parameters[in.Name]; in.Value == nil && p != nil {
		maps.Copy(p.tags, in.Tags)
		return struct{}{}, nil
	}
	if in.Value == nil {
		return nil, errors.New("value is required")
	}
	c := &call{region: s.region(in.Region), by: &credential{}}
	out, err := putParameter(c, putParameterIn{Name: in.Name, Value: *in.Value, Type: "SecureString", Overwrite: true})
	if err == nil {
		maps.Copy(c.parameters[in.Name].tags, in.Tags)
	}
	return out, err
}
