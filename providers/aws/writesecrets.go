package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// secretSettings are the metadata of a PushSecret for Secrets Manager.
type secretSettings struct {
	KMSKeyID             string            `json:"kmsKeyID"`
	SecretPushFormat     string            `json:"secretPushFormat"` // string or binary; empty: binary, as in External Secrets
	Description          string            `json:"description"`
	Tags                 map[string]string `json:"tags"`
	ReplicationLocations []string          `json:"replicationLocations"`
	ResourcePolicy       *struct {
		BlockPublicPolicy *bool           `json:"blockPublicPolicy"`
		PolicySourceRef   policySourceRef `json:"policySourceRef"`
	} `json:"resourcePolicy"`
}

// policySourceRef names what holds a resource policy.
type policySourceRef struct {
	Kind esv1.CAProviderType `json:"kind"`
	Name string              `json:"name"`
	Key  string              `json:"key"`
}

// write is a secret on its way to AWS.
type write struct {
	id       string
	value    providers.Value
	settings secretSettings
}

// Write implements providers.Writer.
func (s *secrets) Write(ctx context.Context, to providers.Target, v providers.Value, metadata json.RawMessage) error {
	settings, err := providers.DecodeMetadata[secretSettings](metadata)
	if err != nil {
		return err
	}
	if f := settings.SecretPushFormat; f != "" && f != "string" && f != "binary" {
		return fmt.Errorf("metadata.secretPushFormat: %w: %q is neither string nor binary", providers.ErrInvalid, f)
	}
	id, err := s.id(to.Path)
	if err != nil {
		return err
	}
	w := write{id: id, value: v, settings: settings}
	found, err := s.ours(ctx, id)
	switch {
	case errors.Is(err, providers.ErrNotFound):
		if to.Property != "" {
			w.value, err = providers.SetProperty(providers.Value{}, to.Property, v)
		} else {
			err = nil
		}
		if err == nil {
			err = s.create(ctx, w)
		}
	case err == nil:
		err = s.change(ctx, w, to, found)
	}
	if err != nil {
		return fmt.Errorf("write secret %q: %w", id, err)
	}
	return s.policy(ctx, w)
}

// ours describes a secret, and returns ErrForeign unless a Writer made it.
func (s *secrets) ours(ctx context.Context, id string) (*secretsmanager.DescribeSecretOutput, error) {
	found, err := send(ctx, s.account, s.client.DescribeSecret, &secretsmanager.DescribeSecretInput{SecretId: &id})
	if err != nil {
		return nil, err
	}
	if tagsOf(found.Tags)[providers.ManagedBy] != providers.ManagedByValue {
		return nil, fmt.Errorf("%w: it has no tag %s=%s: add it to hand it over", providers.ErrForeign, providers.ManagedBy, providers.ManagedByValue)
	}
	return found, nil
}

// split returns v as text or as binary.
func (w write) split() (*string, []byte, error) {
	if w.settings.SecretPushFormat != "string" {
		return nil, w.value.Bytes(), nil
	}
	if !utf8.Valid(w.value.Bytes()) {
		return nil, nil, fmt.Errorf("metadata.secretPushFormat: %w: the value is not text: use binary", providers.ErrInvalid)
	}
	return aws.String(string(w.value.Bytes())), nil, nil
}

func (s *secrets) create(ctx context.Context, w write) error {
	text, binary, err := w.split()
	if err != nil {
		return err
	}
	in := &secretsmanager.CreateSecretInput{Name: &w.id, SecretString: text, SecretBinary: binary}
	tags := maps.Clone(w.settings.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	tags[providers.ManagedBy] = providers.ManagedByValue
	in.Tags = secretTags(tags)
	if w.settings.KMSKeyID != "" {
		in.KmsKeyId = &w.settings.KMSKeyID
	}
	if w.settings.Description != "" {
		in.Description = &w.settings.Description
	}
	in.AddReplicaRegions = replicas(w.settings.ReplicationLocations, nil)
	_, err = send(ctx, s.account, s.client.CreateSecret, in)
	return err
}

// change writes what is other than before, and nothing else.
func (s *secrets) change(ctx context.Context, w write, to providers.Target, found *secretsmanager.DescribeSecretOutput) error {
	if found.DeletedDate != nil {
		if _, err := send(ctx, s.account, s.client.RestoreSecret, &secretsmanager.RestoreSecretInput{SecretId: &w.id}); err != nil {
			return err
		}
	}
	if err := s.changeValue(ctx, w, to); err != nil {
		return err
	}
	if err := s.changeSettings(ctx, w, found); err != nil {
		return err
	}
	if !contains(tagsOf(found.Tags), w.settings.Tags) {
		if _, err := send(ctx, s.account, s.client.TagResource, &secretsmanager.TagResourceInput{SecretId: &w.id, Tags: secretTags(w.settings.Tags)}); err != nil {
			return err
		}
	}
	missing := replicas(w.settings.ReplicationLocations, found.ReplicationStatus)
	if len(missing) == 0 {
		return nil
	}
	_, err := send(ctx, s.account, s.client.ReplicateSecretToRegions, &secretsmanager.ReplicateSecretToRegionsInput{SecretId: &w.id, AddReplicaRegions: missing})
	return err
}

// changeSettings writes the key and the description.
func (s *secrets) changeSettings(ctx context.Context, w write, found *secretsmanager.DescribeSecretOutput) error {
	in := &secretsmanager.UpdateSecretInput{SecretId: &w.id}
	if key := w.settings.KMSKeyID; key != "" && key != aws.ToString(found.KmsKeyId) {
		in.KmsKeyId = &key
	}
	if text := w.settings.Description; text != "" && text != aws.ToString(found.Description) {
		in.Description = &text
	}
	if in.KmsKeyId == nil && in.Description == nil {
		return nil
	}
	_, err := send(ctx, s.account, s.client.UpdateSecret, in)
	return err
}

func (s *secrets) changeValue(ctx context.Context, w write, to providers.Target) error {
	old, err := s.Read(ctx, providers.Ref{Path: to.Path})
	if err != nil && !errors.Is(err, providers.ErrNotFound) {
		return err
	}
	if to.Property != "" {
		if w.value, err = providers.SetProperty(old, to.Property, w.value); err != nil {
			return err
		}
	}
	if w.value.Equal(old) {
		return nil
	}
	text, binary, err := w.split()
	if err != nil {
		return err
	}
	_, err = send(ctx, s.account, s.client.PutSecretValue, &secretsmanager.PutSecretValueInput{SecretId: &w.id, SecretString: text, SecretBinary: binary})
	return err
}

// policy attaches the resource policy, unless it is the same.
func (s *secrets) policy(ctx context.Context, w write) error {
	p := w.settings.ResourcePolicy
	if p == nil {
		return nil
	}
	ref := p.PolicySourceRef
	if ref.Kind == "" {
		ref.Kind = esv1.CAConfigMap
	}
	text, err := s.refs.CA(ctx, esv1.CAProvider{Type: ref.Kind, Name: ref.Name, Key: ref.Key})
	if err != nil {
		return fmt.Errorf("metadata.resourcePolicy.policySourceRef: %w", err)
	}
	now, err := send(ctx, s.account, s.client.GetResourcePolicy, &secretsmanager.GetResourcePolicyInput{SecretId: &w.id})
	if err != nil {
		return fmt.Errorf("read the resource policy of secret %q: %w", w.id, err)
	}
	if aws.ToString(now.ResourcePolicy) == string(text) {
		return nil
	}
	if _, err := send(ctx, s.account, s.client.PutResourcePolicy, &secretsmanager.PutResourcePolicyInput{
		SecretId: &w.id, ResourcePolicy: aws.String(string(text)), BlockPublicPolicy: p.BlockPublicPolicy}); err != nil {
		return fmt.Errorf("write the resource policy of secret %q: %w", w.id, err)
	}
	return nil
}

func secretTags(tags map[string]string) []types.Tag {
	var out []types.Tag
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, types.Tag{Key: &key, Value: aws.String(tags[key])})
	}
	return out
}

// replicas returns the regions that are not among those that are there.
func replicas(wanted []string, there []types.ReplicationStatusType) []types.ReplicaRegionType {
	var out []types.ReplicaRegionType
	for _, region := range wanted {
		if !slices.ContainsFunc(there, func(r types.ReplicationStatusType) bool { return aws.ToString(r.Region) == region }) {
			out = append(out, types.ReplicaRegionType{Region: &region})
		}
	}
	return out
}

// Delete implements providers.Writer. How long the secret can be restored is
// what the store's secretsManager says.
func (s *secrets) Delete(ctx context.Context, to providers.Target) error {
	id, err := s.id(to.Path)
	if err != nil {
		return err
	}
	found, err := s.ours(ctx, id)
	switch {
	case errors.Is(err, providers.ErrNotFound), err == nil && found.DeletedDate != nil:
		return nil
	case err != nil:
		return fmt.Errorf("delete secret %q: %w", id, err)
	}
	if to.Property != "" {
		gone, err := s.deleteProperty(ctx, to)
		if err != nil || gone {
			return err
		}
	}
	in := &secretsmanager.DeleteSecretInput{SecretId: &id}
	if s.deletion != nil {
		if s.deletion.ForceDeleteWithoutRecovery {
			in.ForceDeleteWithoutRecovery = aws.Bool(true)
		}
		if s.deletion.RecoveryWindowInDays > 0 {
			in.RecoveryWindowInDays = &s.deletion.RecoveryWindowInDays
		}
	}
	if _, err := send(ctx, s.account, s.client.DeleteSecret, in); err != nil && !errors.Is(err, providers.ErrNotFound) {
		return fmt.Errorf("delete secret %q: %w", id, err)
	}
	return nil
}

// deleteProperty reports whether it was enough to remove the property: others
// are left.
func (s *secrets) deleteProperty(ctx context.Context, to providers.Target) (bool, error) {
	in := &secretsmanager.GetSecretValueInput{SecretId: aws.String(s.prefix + to.Path)}
	out, err := send(ctx, s.account, s.client.GetSecretValue, in)
	if err != nil {
		return false, fmt.Errorf("delete a property of secret %q: %w", *in.SecretId, err)
	}
	old := providers.NewValue(content(out.SecretString, out.SecretBinary))
	rest, empty, err := providers.RemoveProperty(old, to.Property)
	if err != nil || empty || rest.Equal(old) {
		return !empty, err
	}
	w := write{id: *in.SecretId, value: rest}
	if out.SecretString != nil {
		w.settings.SecretPushFormat = "string" // as it was
	}
	return true, s.changeValue(ctx, w, providers.Target{Path: to.Path})
}
