package main

import (
	"errors"
	"maps"
	"net/http"

	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"

	"github.com/lockstep-dev/lockstep/test/servers/serve"
)

// The admin API, besides that of serve.Control. Each takes JSON, and sets what
// is there already anew.
//
//	PUT    /_admin/principals  principal
//	PUT    /_admin/secrets     seed: a secret; a new version if it has a value
//	DELETE /_admin/tokens      revokes all tokens
func (s *server) handleAdmin(mux *http.ServeMux) {
	mux.HandleFunc("PUT /_admin/principals", serve.JSON(func(in principal) (any, error) {
		if in.Name == "" {
			return nil, errors.New("name is required")
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.principals[in.Name] = &in
		return struct{}{}, nil
	}))
	mux.HandleFunc("PUT /_admin/secrets", serve.JSON(s.seed))
	mux.HandleFunc("DELETE /_admin/tokens", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		clear(s.tokens)
		serve.WriteJSON(w, http.StatusOK, struct{}{})
	})
}

// seed is a secret to make, or what to change of it.
type seed struct {
	Name        string            `json:"name"` // projects/P/secrets/S
	Value       *string           `json:"value,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Aliases     map[string]int64  `json:"aliases,omitempty"`
	Disable     int               `json:"disable,omitempty"` // number of a version
}

func (s *server) seed(in seed) (any, error) {
	if in.Name == "" {
		return nil, errors.New("name is required")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.secrets[in.Name]
	if found == nil {
		found = s.create(in.Name, &secretmanagerpb.Secret{})
	}
	found.about.Labels = with(found.about.Labels, in.Labels)
	found.about.Annotations = with(found.about.Annotations, in.Annotations)
	found.about.VersionAliases = with(found.about.VersionAliases, in.Aliases)
	if in.Value != nil {
		found.add([]byte(*in.Value))
	}
	if in.Disable > 0 && in.Disable <= len(found.versions) {
		found.versions[in.Disable-1].state = secretmanagerpb.SecretVersion_DISABLED
	}
	return map[string]int{"version": len(found.versions)}, nil
}

func with[V any](old, add map[string]V) map[string]V {
	all := maps.Clone(old)
	if all == nil {
		all = map[string]V{}
	}
	maps.Copy(all, add)
	return all
}
