//nolint:revive,staticcheck // fields are named as the API names them
package main

import "time"

var secretsManager = map[string]operation{
	"BatchGetSecretValue":      op(batchGetSecretValue),
	"CreateSecret":             op(createSecret),
	"DeleteSecret":             op(deleteSecret),
	"DescribeSecret":           op(describeSecret),
	"GetResourcePolicy":        op(getResourcePolicy),
	"GetSecretValue":           op(getSecretValue),
	"ListSecretVersionIds":     op(listSecretVersionIDs),
	"ListSecrets":              op(listSecrets),
	"PutResourcePolicy":        op(putResourcePolicy),
	"PutSecretValue":           op(putSecretValue),
	"ReplicateSecretToRegions": op(replicateSecret),
	"RestoreSecret":            op(restoreSecret),
	"TagResource":              op(tagSecret),
	"UntagResource":            op(untagSecret),
	"UpdateSecret":             op(updateSecret),
	"UpdateSecretVersionStage": op(updateSecretVersionStage),
}

type tag struct{ Key, Value string }

// written is what every operation that writes a value answers.
type written struct {
	ARN, Name     string
	VersionId     string   `json:",omitempty"`
	VersionStages []string `json:",omitempty"`
}

type createSecretIn struct {
	Name, Description, ClientRequestToken string
	KmsKeyId                              string
	SecretString                          *string
	SecretBinary                          []byte
	Tags                                  []tag
	AddReplicaRegions                     []replicaStatus
}

func createSecret(c *call, in createSecretIn) (any, error) {
	if err := c.authorize(in.Name); err != nil {
		return nil, err
	}
	if s := c.secrets[in.Name]; s != nil {
		if s.deleted != nil {
			return nil, fail("InvalidRequestException", "You can't create this secret because a secret with this name is already scheduled for deletion.")
		}
		return nil, fail("ResourceExistsException", "The operation failed because the secret %s already exists.", in.Name)
	}
	s := c.newSecret(in.Name, in.Description)
	s.keyID = in.KmsKeyId
	s.replicate(in.AddReplicaRegions)
	for _, t := range in.Tags {
		s.tags[t.Key] = t.Value
	}
	if in.SecretString == nil && in.SecretBinary == nil {
		return written{ARN: s.arn, Name: s.name}, nil
	}
	v, err := s.add(in.ClientRequestToken, in.SecretString, in.SecretBinary, nil)
	if err != nil {
		delete(c.secrets, in.Name)
		return nil, err
	}
	return written{ARN: s.arn, Name: s.name, VersionId: v.id}, nil
}

type putSecretValueIn struct {
	SecretId, ClientRequestToken string
	SecretString                 *string
	SecretBinary                 []byte
	VersionStages                []string
}

func putSecretValue(c *call, in putSecretValueIn) (any, error) {
	s, err := c.open(in.SecretId)
	if err != nil {
		return nil, err
	}
	v, err := s.add(in.ClientRequestToken, in.SecretString, in.SecretBinary, in.VersionStages)
	if err != nil {
		return nil, err
	}
	return written{ARN: s.arn, Name: s.name, VersionId: v.id, VersionStages: v.labels()}, nil
}

type updateSecretIn struct {
	SecretId, ClientRequestToken string
	Description                  *string
	KmsKeyId                     string
	SecretString                 *string
	SecretBinary                 []byte
}

func updateSecret(c *call, in updateSecretIn) (any, error) {
	s, err := c.open(in.SecretId)
	if err != nil {
		return nil, err
	}
	out := written{ARN: s.arn, Name: s.name}
	if in.SecretString != nil || in.SecretBinary != nil {
		v, err := s.add(in.ClientRequestToken, in.SecretString, in.SecretBinary, nil)
		if err != nil {
			return nil, err
		}
		out.VersionId = v.id
	}
	if in.KmsKeyId != "" {
		s.keyID = in.KmsKeyId
	}
	if in.Description != nil {
		s.description = *in.Description
	}
	return out, nil
}

type getSecretValueIn struct{ SecretId, VersionId, VersionStage string }

type secretValue struct {
	ARN, Name, VersionId string
	SecretString         *string `json:",omitempty"`
	SecretBinary         []byte  `json:",omitempty"`
	VersionStages        []string
	CreatedDate          float64
}

func (s *secret) value(v *version) secretValue {
	return secretValue{ARN: s.arn, Name: s.name, VersionId: v.id, SecretString: v.text, SecretBinary: v.binary,
		VersionStages: v.labels(), CreatedDate: seconds(v.created)}
}

func getSecretValue(c *call, in getSecretValueIn) (any, error) {
	s, err := c.open(in.SecretId)
	if err != nil {
		return nil, err
	}
	v, err := s.pick(in.VersionId, in.VersionStage)
	if err != nil {
		return nil, err
	}
	return s.value(v), nil
}

type secretID struct{ SecretId string }

func describeSecret(c *call, in secretID) (any, error) {
	s, err := c.reach(in.SecretId)
	if err != nil {
		return nil, err
	}
	e := s.entry()
	e.VersionIdsToStages = s.stages()
	return e, nil
}

type listVersionsIn struct {
	SecretId          string
	IncludeDeprecated bool
	MaxResults        int
	NextToken         string
}

type versionEntry struct {
	VersionId     string
	VersionStages []string
	CreatedDate   float64
}

func listSecretVersionIDs(c *call, in listVersionsIn) (any, error) {
	s, err := c.reach(in.SecretId)
	if err != nil {
		return nil, err
	}
	all := []versionEntry{}
	for _, v := range s.versions {
		if len(v.stages) > 0 || in.IncludeDeprecated {
			all = append(all, versionEntry{v.id, v.labels(), seconds(v.created)})
		}
	}
	size := in.MaxResults
	if size <= 0 || size > 100 {
		size = 100
	}
	part, next, err := page(all, in.NextToken, size)
	if err != nil {
		return nil, err
	}
	return struct {
		ARN, Name string
		Versions  []versionEntry
		NextToken string `json:",omitempty"`
	}{s.arn, s.name, part, next}, nil
}

type moveStageIn struct{ SecretId, VersionStage, MoveToVersionId, RemoveFromVersionId string }

func updateSecretVersionStage(c *call, in moveStageIn) (any, error) {
	s, err := c.open(in.SecretId)
	if err != nil {
		return nil, err
	}
	var from, to *version
	for _, v := range s.versions {
		if v.stages[in.VersionStage] {
			from = v
		}
		if v.id == in.MoveToVersionId {
			to = v
		}
	}
	switch {
	case in.MoveToVersionId != "" && to == nil, in.MoveToVersionId == "" && in.RemoveFromVersionId == "":
		return nil, fail("InvalidParameterException", "You must name a version that this secret has.")
	case from != nil && from != to && from.id != in.RemoveFromVersionId:
		return nil, fail("InvalidParameterException", "The parameter RemoveFromVersionId can't be empty. Staging label %s is currently attached to version %s, so you must explicitly reference that version in RemoveFromVersionId.", in.VersionStage, from.id)
	case to == nil && in.VersionStage == stageCurrent:
		return nil, fail("InvalidParameterException", "You can only move staging label AWSCURRENT to a different secret version. It can't be completely removed.")
	case to == nil && from != nil:
		delete(from.stages, in.VersionStage)
	case to != nil:
		s.attach(in.VersionStage, to)
	}
	return written{ARN: s.arn, Name: s.name}, nil
}

type deleteSecretIn struct {
	SecretId                   string
	RecoveryWindowInDays       *int
	ForceDeleteWithoutRecovery bool
}

func deleteSecret(c *call, in deleteSecretIn) (any, error) {
	s, err := c.open(in.SecretId)
	if err != nil {
		return nil, err
	}
	days := 30
	if w := in.RecoveryWindowInDays; w != nil {
		if days = *w; days < 7 || days > 30 || in.ForceDeleteWithoutRecovery {
			return nil, fail("InvalidParameterException", "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive), and cannot be used with ForceDeleteWithoutRecovery.")
		}
	}
	at := time.Now().Add(time.Duration(days) * 24 * time.Hour)
	if in.ForceDeleteWithoutRecovery {
		at = time.Now()
		delete(c.secrets, s.name)
	}
	s.deleted = &at
	return struct {
		ARN, Name    string
		DeletionDate float64
	}{s.arn, s.name, seconds(at)}, nil
}

func restoreSecret(c *call, in secretID) (any, error) {
	s, err := c.reach(in.SecretId)
	if err != nil {
		return nil, err
	}
	s.deleted = nil
	return written{ARN: s.arn, Name: s.name}, nil
}

type tagIn struct {
	SecretId string
	Tags     []tag
	TagKeys  []string
}

func tagSecret(c *call, in tagIn) (any, error) {
	s, err := c.open(in.SecretId)
	if err != nil {
		return nil, err
	}
	for _, t := range in.Tags {
		s.tags[t.Key] = t.Value
	}
	return struct{}{}, nil
}

func untagSecret(c *call, in tagIn) (any, error) {
	s, err := c.open(in.SecretId)
	if err != nil {
		return nil, err
	}
	for _, k := range in.TagKeys {
		delete(s.tags, k)
	}
	return struct{}{}, nil
}
