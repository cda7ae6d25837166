package aws

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/lockstep-dev/lockstep/providers"
)

// parameters is a store in Parameter Store.
type parameters struct {
	*account

	client *ssm.Client
}

// selected returns what AWS calls the parameter that ref names. The version is
// its number or a label.
func (p *parameters) selected(ref providers.Ref) (string, error) {
	name, err := p.id(ref.Path)
	if err != nil || ref.Version == "" {
		return name, err
	}
	return name + ":" + ref.Version, nil
}

// Read implements providers.Reader. The value is decrypted.
func (p *parameters) Read(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	name, err := p.selected(ref)
	if err != nil {
		return providers.Value{}, err
	}
	out, err := send(ctx, p.account, p.client.GetParameter, &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(true)})
	if err != nil {
		return providers.Value{}, fmt.Errorf("read parameter %q: %w", name, err)
	}
	if out.Parameter == nil || out.Parameter.Value == nil {
		return providers.Value{}, fmt.Errorf("read parameter %q: %w: %s gave no value", name, providers.ErrUnavailable, p.service)
	}
	return providers.NewValue([]byte(*out.Parameter.Value)), nil
}

// parameterBatch is how many parameters one GetParameters reads.
// Source: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
const parameterBatch = 10

// ReadAll implements providers.BatchReader. A request reads 10 parameters; AWS
// refuses all of them if one is denied, and then each is read by itself.
func (p *parameters) ReadAll(ctx context.Context, refs []providers.Ref) []providers.Result {
	results := make([]providers.Result, len(refs))
	batches, at, rest := p.group(refs, parameterBatch, func(ref providers.Ref) (string, bool) {
		name, err := p.selected(ref)
		return name, err == nil
	})
	for _, names := range batches {
		err := p.readBatch(ctx, names, at, results)
		for _, name := range names {
			switch {
			case err == nil:
			case alone(err):
				rest = append(rest, at[name]...)
			default:
				for _, i := range at[name] {
					results[i].Err = fmt.Errorf("read parameter %q: %w", name, err)
				}
			}
		}
	}
	readEach(ctx, p, refs, rest, results)
	if denied := func(r providers.Result) bool { return errors.Is(r.Err, providers.ErrDenied) }; len(rest) > 0 && !slices.ContainsFunc(results, denied) {
		p.withoutBatches() // it was ssm:GetParameters itself that is not allowed
	}
	return results
}

// readBatch reads names, all or none.
func (p *parameters) readBatch(ctx context.Context, names []string, at map[string][]int, results []providers.Result) error {
	out, err := send(ctx, p.account, p.client.GetParameters, &ssm.GetParametersInput{Names: names, WithDecryption: aws.Bool(true)})
	if err != nil {
		return err
	}
	for _, name := range names {
		i := slices.IndexFunc(out.Parameters, func(got types.Parameter) bool {
			selector := aws.ToString(got.Selector)
			return name == aws.ToString(got.Name)+selector || name == aws.ToString(got.ARN)+selector
		})
		if i >= 0 && out.Parameters[i].Value != nil {
			fill(results, at[name], []byte(*out.Parameters[i].Value), "")
			continue
		}
		class := providers.ErrUnavailable // it is in neither list: nobody says that it is gone
		if slices.Contains(out.InvalidParameters, name) {
			class = providers.ErrNotFound
		}
		for _, i := range at[name] {
			results[i].Err = fmt.Errorf("read parameter %q: %w: not in %s", name, class, p.service)
		}
	}
	return nil
}

// Find implements providers.Finder. It takes a request for each 50 parameters
// and reads no value, or, if ssm:DescribeParameters is not allowed and no tags
// are asked for, one for each 10.
func (p *parameters) Find(ctx context.Context, q providers.Query) ([]string, error) {
	root := p.prefix + q.Path
	path := root == "" || strings.HasPrefix(root, "/") // or else a prefix, which is no folder
	if q.Path != "" && !path {
		return nil, fmt.Errorf("find.path %q: %w: a path of Parameter Store begins with a slash", root, providers.ErrInvalid)
	}
	names, err := p.describe(ctx, root, q.Tags)
	if errors.Is(err, providers.ErrDenied) && len(q.Tags) == 0 && path {
		names, err = p.below(ctx, root)
	}
	if err != nil {
		return nil, fmt.Errorf("find parameters: %w", err)
	}
	var found []string
	for _, name := range names {
		if path, ok := strings.CutPrefix(name, p.prefix); ok && (q.Name == nil || q.Name.MatchString(path)) {
			found = append(found, path)
		}
	}
	slices.Sort(found)
	return found, nil
}

func (p *parameters) describe(ctx context.Context, root string, tags map[string]string) ([]string, error) {
	in := &ssm.DescribeParametersInput{MaxResults: aws.Int32(50)}
	filter := func(key, option, value string) {
		in.ParameterFilters = append(in.ParameterFilters, types.ParameterStringFilter{Key: &key, Option: &option, Values: []string{value}})
	}
	switch {
	case strings.Trim(root, "/") == "":
	case strings.HasPrefix(root, "/"):
		filter("Path", "Recursive", strings.TrimSuffix(root, "/"))
	default:
		filter("Name", "BeginsWith", root)
	}
	for key, value := range tags {
		filter("tag:"+key, "Equals", value)
	}
	var names []string
	for {
		out, err := send(ctx, p.account, p.client.DescribeParameters, in)
		if err == nil && out.Parameters == nil {
			err = p.noList()
		}
		if err != nil {
			return nil, err
		}
		for i := range out.Parameters {
			names = append(names, aws.ToString(out.Parameters[i].Name))
		}
		if aws.ToString(out.NextToken) == "" {
			return names, nil
		}
		in.NextToken = out.NextToken
	}
}

func (p *parameters) below(ctx context.Context, root string) ([]string, error) {
	if root == "" {
		root = "/"
	}
	in := &ssm.GetParametersByPathInput{Path: &root, Recursive: aws.Bool(true), MaxResults: aws.Int32(10)}
	var names []string
	for {
		out, err := send(ctx, p.account, p.client.GetParametersByPath, in)
		if err == nil && out.Parameters == nil {
			err = p.noList()
		}
		if err != nil {
			return nil, err
		}
		for i := range out.Parameters {
			names = append(names, aws.ToString(out.Parameters[i].Name))
		}
		if aws.ToString(out.NextToken) == "" {
			return names, nil
		}
		in.NextToken = out.NextToken
	}
}

// Metadata implements providers.MetadataReader: the tags of the parameter.
func (p *parameters) Metadata(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	name, err := p.id(ref.Path)
	if err != nil {
		return providers.Value{}, err
	}
	tags, err := p.tags(ctx, name)
	if err != nil {
		return providers.Value{}, fmt.Errorf("read the tags of parameter %q: %w", name, err)
	}
	return tagObject(tags), nil
}

func (p *parameters) tags(ctx context.Context, name string) (map[string]string, error) {
	out, err := send(ctx, p.account, p.client.ListTagsForResource, &ssm.ListTagsForResourceInput{ResourceId: &name, ResourceType: types.ResourceTypeForTaggingParameter})
	if err != nil {
		return nil, err
	}
	tags := make(map[string]string, len(out.TagList))
	for _, t := range out.TagList {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return tags, nil
}
