package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/lockstep-dev/lockstep/providers"
)

// parameterSettings are the metadata of a PushSecret for Parameter Store.
type parameterSettings struct {
	SecretType  types.ParameterType `json:"secretType"` // empty: String, as in External Secrets
	KMSKeyID    string              `json:"kmsKeyID"`
	Description string              `json:"description"`
	Tags        map[string]string   `json:"tags"`
	Tier        struct {
		Type     types.ParameterTier `json:"type"`
		Policies json.RawMessage     `json:"policies"`
	} `json:"tier"`
}

// Write implements providers.Writer.
func (p *parameters) Write(ctx context.Context, to providers.Target, v providers.Value, metadata json.RawMessage) error {
	settings, err := providers.DecodeMetadata[parameterSettings](metadata)
	if err != nil {
		return err
	}
	name, err := p.id(to.Path)
	if err != nil {
		return err
	}
	old, tags, err := p.ours(ctx, to)
	fresh := errors.Is(err, providers.ErrNotFound)
	if err != nil && !fresh {
		return fmt.Errorf("write parameter %q: %w", name, err)
	}
	if to.Property != "" {
		if v, err = providers.SetProperty(old, to.Property, v); err != nil {
			return fmt.Errorf("write parameter %q: %w", name, err)
		}
	}
	if fresh || !v.Equal(old) {
		if err := p.put(ctx, name, v, settings, fresh); err != nil {
			return fmt.Errorf("write parameter %q: %w", name, err)
		}
	}
	if fresh || contains(tags, settings.Tags) {
		return nil
	}
	if _, err := send(ctx, p.account, p.client.AddTagsToResource, &ssm.AddTagsToResourceInput{
		ResourceId: &name, ResourceType: types.ResourceTypeForTaggingParameter, Tags: parameterTags(settings.Tags)}); err != nil {
		return fmt.Errorf("tag parameter %q: %w", name, err)
	}
	return nil
}

// ours reads a parameter, and returns ErrForeign unless a Writer made it.
func (p *parameters) ours(ctx context.Context, to providers.Target) (providers.Value, map[string]string, error) {
	v, err := p.Read(ctx, providers.Ref{Path: to.Path})
	if err != nil {
		return providers.Value{}, nil, err
	}
	tags, err := p.tags(ctx, p.prefix+to.Path)
	if err != nil {
		return providers.Value{}, nil, err
	}
	if tags[providers.ManagedBy] != providers.ManagedByValue {
		return providers.Value{}, nil, fmt.Errorf("%w: it has no tag %s=%s: add it to hand it over", providers.ErrForeign, providers.ManagedBy, providers.ManagedByValue)
	}
	return v, tags, nil
}

func (p *parameters) put(ctx context.Context, name string, v providers.Value, settings parameterSettings, fresh bool) error {
	in := &ssm.PutParameterInput{Name: &name, Value: aws.String(string(v.Bytes())), Type: settings.SecretType, Tier: settings.Tier.Type}
	if in.Type == "" {
		in.Type = types.ParameterTypeString
	}
	if settings.KMSKeyID != "" {
		in.KeyId = &settings.KMSKeyID
	}
	if settings.Description != "" {
		in.Description = &settings.Description
	}
	if len(settings.Tier.Policies) > 0 {
		in.Policies = aws.String(string(settings.Tier.Policies))
	}
	if fresh {
		tags := maps.Clone(settings.Tags)
		if tags == nil {
			tags = map[string]string{}
		}
		tags[providers.ManagedBy] = providers.ManagedByValue
		in.Tags = parameterTags(tags) // AWS takes them only of a new one
	} else {
		in.Overwrite = aws.Bool(true)
	}
	_, err := send(ctx, p.account, p.client.PutParameter, in)
	return err
}

func parameterTags(tags map[string]string) []types.Tag {
	var out []types.Tag
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, types.Tag{Key: &key, Value: aws.String(tags[key])})
	}
	return out
}

// Delete implements providers.Writer.
func (p *parameters) Delete(ctx context.Context, to providers.Target) error {
	name, err := p.id(to.Path)
	if err != nil {
		return err
	}
	old, _, err := p.ours(ctx, to)
	if errors.Is(err, providers.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete parameter %q: %w", name, err)
	}
	if to.Property != "" {
		rest, empty, err := providers.RemoveProperty(old, to.Property)
		if err != nil || (!empty && rest.Equal(old)) {
			return err
		}
		if !empty {
			return p.Write(ctx, providers.Target{Path: to.Path}, rest, nil)
		}
	}
	if _, err := send(ctx, p.account, p.client.DeleteParameter, &ssm.DeleteParameterInput{Name: &name}); err != nil && !errors.Is(err, providers.ErrNotFound) {
		return fmt.Errorf("delete parameter %q: %w", name, err)
	}
	return nil
}
