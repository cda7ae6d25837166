//nolint:revive,staticcheck // fields are named as the API names them
package main

import "errors"

// maxBatch is how many secrets one BatchGetSecretValue returns.
// Source: https://docs.aws.amazon.com/secretsmanager/latest/APIReference/API_BatchGetSecretValue.html
const maxBatch = 20

type batchIn struct {
	SecretIdList []string
	Filters      []filter
	MaxResults   int
	NextToken    string
}

type batchError struct{ SecretId, ErrorCode, Message string }

type batchOut struct {
	SecretValues []secretValue
	Errors       []batchError
	NextToken    string `json:",omitempty"`
}

func batchGetSecretValue(c *call, in batchIn) (any, error) {
	if err := c.authorize("*"); err != nil {
		return nil, err
	}
	if (len(in.SecretIdList) == 0) == (len(in.Filters) == 0) {
		return nil, fail("InvalidParameterException", "Either 'SecretIdList' or 'Filters' must be provided, but not both.")
	}
	if len(in.SecretIdList) > maxBatch {
		return nil, fail("ValidationException", "Value at 'secretIdList' failed to satisfy constraint: Member must have length less than or equal to %d", maxBatch)
	}
	out := batchOut{SecretValues: []secretValue{}, Errors: []batchError{}}
	ids := in.SecretIdList
	if len(in.Filters) > 0 {
		if err := c.authorizeAction("secretsmanager:ListSecrets", "*"); err != nil {
			return nil, err
		}
		size := in.MaxResults
		if size <= 0 || size > maxBatch {
			size = maxBatch
		}
		part, next, err := page(c.list(in.Filters, false), in.NextToken, size)
		if err != nil {
			return nil, err
		}
		out.NextToken = next
		for _, s := range part {
			ids = append(ids, s.name)
		}
	}
	c.action = "secretsmanager:GetSecretValue" // each read needs this right, too
	for _, id := range ids {
		c.addToBatch(&out, id)
	}
	return out, nil
}

func (c *call) addToBatch(out *batchOut, id string) {
	v, err := getSecretValue(c, getSecretValueIn{SecretId: id})
	if refused, ok := errors.AsType[*apiError](err); ok {
		out.Errors = append(out.Errors, batchError{SecretId: id, ErrorCode: refused.Code, Message: refused.Message})
		return
	}
	out.SecretValues = append(out.SecretValues, v.(secretValue))
}

type secretEntry struct {
	ARN, Name, Description string
	KmsKeyId               string          `json:",omitempty"`
	ReplicationStatus      []replicaStatus `json:",omitempty"`
	Tags                   []tag
	CreatedDate            float64
	LastChangedDate        float64
	DeletedDate            *float64            `json:",omitempty"`
	SecretVersionsToStages map[string][]string `json:",omitempty"`
	VersionIdsToStages     map[string][]string `json:",omitempty"`
}

func (s *secret) entry() secretEntry {
	e := secretEntry{ARN: s.arn, Name: s.name, Description: s.description, CreatedDate: seconds(s.created), LastChangedDate: seconds(s.changed), Tags: []tag{}}
	e.KmsKeyId = s.keyID
	for _, region := range s.replicas {
		e.ReplicationStatus = append(e.ReplicationStatus, replicaStatus{Region: region, Status: "InSync"})
	}
	for k, v := range s.tags {
		e.Tags = append(e.Tags, tag{k, v})
	}
	if s.deleted != nil {
		at := seconds(*s.deleted)
		e.DeletedDate = &at
	}
	return e
}

// stages maps version ids to labels, for those that have any.
func (s *secret) stages() map[string][]string {
	out := map[string][]string{}
	for _, v := range s.versions {
		if len(v.stages) > 0 {
			out[v.id] = v.labels()
		}
	}
	return out
}

type listSecretsIn struct {
	Filters                []filter
	MaxResults             int
	NextToken              string
	IncludePlannedDeletion bool
}

func listSecrets(c *call, in listSecretsIn) (any, error) {
	if err := c.authorize("*"); err != nil {
		return nil, err
	}
	size := in.MaxResults
	if size <= 0 || size > 100 {
		size = 100
	}
	part, next, err := page(c.list(in.Filters, in.IncludePlannedDeletion), in.NextToken, size)
	if err != nil {
		return nil, err
	}
	entries := []secretEntry{}
	for _, s := range part {
		e := s.entry()
		e.SecretVersionsToStages = s.stages()
		entries = append(entries, e)
	}
	return struct {
		SecretList []secretEntry
		NextToken  string `json:",omitempty"`
	}{entries, next}, nil
}
