package gcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/lockstep-dev/lockstep/providers"
)

// secretSettings are the metadata of a PushSecret for Secret Manager.
type secretSettings struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Topics      []string          `json:"topics"`
	CMEKKeyName string            `json:"cmekKeyName"`
	MergePolicy string            `json:"mergePolicy"` // Replace or Merge; empty: Replace, as in External Secrets
	// ReplicationLocations are for a secret that is made; none: Google chooses.
	// ReplicationLocation is the older spelling, which counts if the other is
	// not set.
	ReplicationLocations []string `json:"replicationLocations"`
	ReplicationLocation  string   `json:"replicationLocation"`
}

// Write implements providers.Writer.
func (r *reader) Write(ctx context.Context, to providers.Target, v providers.Value, metadata json.RawMessage) error {
	settings, err := providers.DecodeMetadata[secretSettings](metadata)
	if err != nil {
		return err
	}
	if m := settings.MergePolicy; m != "" && m != "Replace" && m != "Merge" {
		return fmt.Errorf("metadata.mergePolicy: %w: %q is neither Replace nor Merge", providers.ErrInvalid, m)
	}
	if err := r.write(ctx, to, v, settings); err != nil {
		return fmt.Errorf("write secret %q: %w", to.Path, err)
	}
	return nil
}

func (r *reader) write(ctx context.Context, to providers.Target, v providers.Value, settings secretSettings) error {
	found, err := r.ours(ctx, to.Path)
	if err == nil || errors.Is(err, providers.ErrNotFound) {
		r.warn(ctx, found, settings)
	}
	switch {
	case errors.Is(err, providers.ErrNotFound):
		if found, err = r.create(ctx, to.Path, settings); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		if err := r.update(ctx, found, settings); err != nil {
			return err
		}
	}
	old, err := r.Read(ctx, providers.Ref{Path: to.Path})
	if err != nil && !gone(err) {
		return err
	}
	fresh := err != nil
	if to.Property != "" {
		if v, err = providers.SetProperty(old, to.Property, v); err != nil {
			return err
		}
	}
	if !fresh && v.Equal(old) {
		return nil
	}
	return r.add(ctx, found.GetName(), v)
}

// add makes a version.
func (r *reader) add(ctx context.Context, name string, v providers.Value) error {
	sum := int64(crc32.Checksum(v.Bytes(), castagnoli))
	_, err := call(ctx, r, func(ctx context.Context) (*secretmanagerpb.SecretVersion, error) {
		return r.client.AddSecretVersion(ctx, &secretmanagerpb.AddSecretVersionRequest{Parent: name, Payload: &secretmanagerpb.SecretPayload{Data: v.Bytes(), DataCrc32C: &sum}})
	})
	return err
}

func (r *reader) create(ctx context.Context, path string, settings secretSettings) (*secretmanagerpb.Secret, error) {
	s := &secretmanagerpb.Secret{}
	settings.apply(s)
	var key *secretmanagerpb.CustomerManagedEncryption
	if settings.CMEKKeyName != "" {
		key = &secretmanagerpb.CustomerManagedEncryption{KmsKeyName: settings.CMEKKeyName}
	}
	if r.location != "" { // it says where it is
		s.CustomerManagedEncryption = key
	} else {
		s.Replication = replication(settings.locations(), key)
	}
	return call(ctx, r, func(ctx context.Context) (*secretmanagerpb.Secret, error) {
		return r.client.CreateSecret(ctx, &secretmanagerpb.CreateSecretRequest{Parent: r.parent, SecretId: path, Secret: s})
	})
}

// replication is where a secret is: at the locations, or where Google likes.
func replication(locations []string, key *secretmanagerpb.CustomerManagedEncryption) *secretmanagerpb.Replication {
	if len(locations) == 0 {
		return &secretmanagerpb.Replication{Replication: &secretmanagerpb.Replication_Automatic_{
			Automatic: &secretmanagerpb.Replication_Automatic{CustomerManagedEncryption: key}}}
	}
	var replicas []*secretmanagerpb.Replication_UserManaged_Replica
	for _, location := range locations {
		replicas = append(replicas, &secretmanagerpb.Replication_UserManaged_Replica{Location: location, CustomerManagedEncryption: key})
	}
	return &secretmanagerpb.Replication{Replication: &secretmanagerpb.Replication_UserManaged_{
		UserManaged: &secretmanagerpb.Replication_UserManaged{Replicas: replicas}}}
}

// apply puts the settings on s, and reports whether that changes anything.
func (settings secretSettings) apply(s *secretmanagerpb.Secret) bool {
	labels, annotations := maps.Clone(settings.Labels), maps.Clone(settings.Annotations)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[providers.ManagedBy] = providers.ManagedByValue
	if settings.MergePolicy == "Merge" {
		labels, annotations = merge(s.GetLabels(), labels), merge(s.GetAnnotations(), annotations)
	}
	var topics []string
	for _, t := range s.GetTopics() {
		topics = append(topics, t.GetName())
	}
	same := maps.Equal(labels, s.GetLabels()) && maps.Equal(annotations, s.GetAnnotations()) && (settings.Topics == nil || slices.Equal(topics, settings.Topics))
	s.Labels, s.Annotations = labels, annotations
	if settings.Topics != nil {
		s.Topics = nil
		for _, t := range settings.Topics {
			s.Topics = append(s.Topics, &secretmanagerpb.Topic{Name: t})
		}
	}
	return !same
}

func merge(old, wanted map[string]string) map[string]string {
	all := maps.Clone(old)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, wanted)
	return all
}

// update writes settings that are other than before. It names the etag, so
// that what someone else writes at the same time is not lost.
func (r *reader) update(ctx context.Context, found *secretmanagerpb.Secret, settings secretSettings) error {
	if settings.Labels == nil && settings.Annotations == nil && settings.Topics == nil {
		return nil
	}
	if !settings.apply(found) {
		return nil
	}
	_, err := call(ctx, r, func(ctx context.Context) (*secretmanagerpb.Secret, error) {
		return r.client.UpdateSecret(ctx, &secretmanagerpb.UpdateSecretRequest{Secret: found, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"labels", "annotations", "topics"}}})
	})
	return err
}

// Delete implements providers.Writer. All versions go with the secret.
func (r *reader) Delete(ctx context.Context, to providers.Target) error {
	found, err := r.ours(ctx, to.Path)
	if errors.Is(err, providers.ErrNotFound) {
		return nil
	}
	if err == nil && to.Property != "" {
		left, failed := r.deleteProperty(ctx, to, found.GetName())
		if failed == nil && left {
			return nil
		}
		err = failed
	}
	if err == nil {
		_, err = call(ctx, r, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, r.client.DeleteSecret(ctx, &secretmanagerpb.DeleteSecretRequest{Name: found.GetName(), Etag: found.GetEtag()})
		})
	}
	if err != nil && !errors.Is(err, providers.ErrNotFound) {
		return fmt.Errorf("delete secret %q: %w", to.Path, err)
	}
	return nil
}

// deleteProperty reports whether other properties are left.
func (r *reader) deleteProperty(ctx context.Context, to providers.Target, name string) (bool, error) {
	old, err := r.Read(ctx, providers.Ref{Path: to.Path})
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	rest, empty, err := providers.RemoveProperty(old, to.Property)
	if err != nil || empty || rest.Equal(old) {
		return !empty, err
	}
	return true, r.add(ctx, name, rest)
}
