package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
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
	EncodeAsDecoded *bool `json:"encodeAsDecoded"` // of a whole Secret; empty: true
}

// Write implements providers.Writer.
func (p *parameters) Write(ctx context.Context, to providers.Target, v providers.Value, metadata json.RawMessage) error {
	settings, err := providers.DecodeMetadata[parameterSettings](metadata)
	if err != nil {
		return err
	}
	if as := settings.EncodeAsDecoded; as != nil && !*as {
		return fmt.Errorf("metadata.encodeAsDecoded: %w: the values of a whole Secret are always pushed as the text that they are, not in Base64: remove it", providers.ErrInvalid)
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
	if fresh {
		err = p.create(ctx, name, v, settings)
	} else {
		err = p.change(ctx, name, v, settings, v.Equal(old))
	}
	if err != nil {
		return fmt.Errorf("write parameter %q: %w", name, err)
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

func (p *parameters) create(ctx context.Context, name string, v providers.Value, settings parameterSettings) error {
	in := settings.put(name, v)
	if in.Type == "" {
		in.Type = types.ParameterTypeString
	}
	tags := maps.Clone(settings.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	tags[providers.ManagedBy] = providers.ManagedByValue
	in.Tags = parameterTags(tags) // AWS takes them only of a new one
	_, err := send(ctx, p.account, p.client.PutParameter, in)
	return err
}

// change overwrites a parameter, unless value and settings are the same. What
// the settings do not say stays as it is: AWS would take its own defaults.
func (p *parameters) change(ctx context.Context, name string, v providers.Value, settings parameterSettings, same bool) error {
	if same && settings.empty() {
		return nil
	}
	now, err := p.describeOne(ctx, name)
	if err != nil && !errors.Is(err, providers.ErrDenied) { // without the right to look, it is written with what is said
		return err
	}
	if same && now != nil && !settings.differ(now) {
		return nil
	}
	in := settings.put(name, v)
	in.Overwrite = aws.Bool(true)
	if now != nil && in.Type == "" {
		in.Type = now.Type
	}
	if now != nil && in.KeyId == nil && in.Type == types.ParameterTypeSecureString && now.Type == in.Type {
		in.KeyId = now.KeyId
	}
	if now != nil && in.Tier == "" {
		in.Tier = now.Tier
	}
	_, err = send(ctx, p.account, p.client.PutParameter, in)
	return err
}

func (settings parameterSettings) put(name string, v providers.Value) *ssm.PutParameterInput {
	in := &ssm.PutParameterInput{Name: &name, Value: aws.String(string(v.Bytes())), Type: settings.SecretType, Tier: settings.Tier.Type}
	if settings.KMSKeyID != "" {
		in.KeyId = &settings.KMSKeyID
	}
	if settings.Description != "" {
		in.Description = &settings.Description
	}
	if len(settings.Tier.Policies) > 0 {
		in.Policies = aws.String(string(settings.Tier.Policies))
	}
	return in
}

// empty reports whether nothing is said but, maybe, tags.
func (settings parameterSettings) empty() bool {
	return settings.SecretType == "" && settings.KMSKeyID == "" && settings.Description == "" && settings.Tier.Type == "" && len(settings.Tier.Policies) == 0
}

// differ reports whether a parameter has other settings than these.
func (settings parameterSettings) differ(now *types.ParameterMetadata) bool {
	other := func(wanted, have string) bool { return wanted != "" && wanted != have }
	return other(string(settings.SecretType), string(now.Type)) || other(settings.KMSKeyID, aws.ToString(now.KeyId)) ||
		other(settings.Description, aws.ToString(now.Description)) || other(string(settings.Tier.Type), string(now.Tier)) ||
		len(settings.Tier.Policies) > 0 && !samePolicies(settings.Tier.Policies, now.Policies)
}

// samePolicies compares what they say, and not how it is spelled.
func samePolicies(wanted json.RawMessage, have []types.ParameterInlinePolicy) bool {
	var left, right []any
	if json.Unmarshal(wanted, &left) != nil {
		return false // AWS says what is wrong with them
	}
	for _, p := range have {
		var one any
		if json.Unmarshal([]byte(aws.ToString(p.PolicyText)), &one) != nil {
			return false
		}
		right = append(right, one)
	}
	return reflect.DeepEqual(left, right)
}

// describeOne returns the settings of a parameter, without its value.
func (p *parameters) describeOne(ctx context.Context, name string) (*types.ParameterMetadata, error) {
	out, err := send(ctx, p.account, p.client.DescribeParameters, &ssm.DescribeParametersInput{
		ParameterFilters: []types.ParameterStringFilter{{Key: aws.String("Name"), Option: aws.String("Equals"), Values: []string{name}}}})
	if err != nil {
		return nil, err
	}
	if len(out.Parameters) != 1 {
		return nil, fmt.Errorf("%w: %s describes %d parameters of that name", providers.ErrUnavailable, p.service, len(out.Parameters))
	}
	return &out.Parameters[0], nil
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
