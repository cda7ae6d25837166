//nolint:revive,staticcheck // fields are named as the API names them
package main

import (
	"encoding/json"
	"slices"
)

type replicaStatus struct {
	Region string
	Status string `json:",omitempty"`
}

func (s *secret) replicate(regions []replicaStatus) {
	for _, r := range regions {
		if !slices.Contains(s.replicas, r.Region) {
			s.replicas = append(s.replicas, r.Region)
		}
	}
}

type replicateIn struct {
	SecretId          string
	AddReplicaRegions []replicaStatus
}

func replicateSecret(c *call, in replicateIn) (any, error) {
	s, err := c.open(in.SecretId)
	if err != nil {
		return nil, err
	}
	s.replicate(in.AddReplicaRegions)
	return struct {
		ARN               string
		ReplicationStatus []replicaStatus
	}{s.arn, s.entry().ReplicationStatus}, nil
}

type policyIn struct{ SecretId, ResourcePolicy string }

func putResourcePolicy(c *call, in policyIn) (any, error) {
	s, err := c.open(in.SecretId)
	if err != nil {
		return nil, err
	}
	if !json.Valid([]byte(in.ResourcePolicy)) {
		return nil, fail("MalformedPolicyDocumentException", "This resource policy contains a syntax error.")
	}
	s.policy = in.ResourcePolicy
	return written{ARN: s.arn, Name: s.name}, nil
}

func getResourcePolicy(c *call, in secretID) (any, error) {
	s, err := c.open(in.SecretId)
	if err != nil {
		return nil, err
	}
	return struct {
		ARN, Name      string
		ResourcePolicy string `json:",omitempty"`
	}{s.arn, s.name, s.policy}, nil
}
