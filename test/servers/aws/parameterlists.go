//nolint:revive,staticcheck // fields are named as the API names them
package main

import (
	"maps"
	"slices"
	"strings"
)

type parameterFilter struct {
	Key, Option string
	Values      []string
}

// passes reports whether p passes a filter: of a path, or of a tag.
func (f parameterFilter) passes(p *parameter) (bool, error) {
	key, isTag := strings.CutPrefix(f.Key, "tag:")
	switch {
	case isTag:
		got, ok := p.tags[key]
		return ok && slices.Contains(f.Values, got), nil
	case f.Key == "Name" && f.Option == "Equals":
		return slices.Contains(f.Values, p.name), nil
	case f.Key == "Name" && f.Option == "BeginsWith":
		return slices.ContainsFunc(f.Values, func(prefix string) bool { return strings.HasPrefix(p.name, prefix) }), nil
	case f.Key == "Path":
		return slices.ContainsFunc(f.Values, func(path string) bool {
			rest, ok := strings.CutPrefix(p.name, strings.TrimSuffix(path, "/")+"/")
			return ok && (f.Option == "Recursive" || !strings.Contains(rest, "/"))
		}), nil
	}
	return false, fail("InvalidFilterKey", "The specified key isn't valid: %s.", f.Key)
}

type describeParametersIn struct {
	ParameterFilters []parameterFilter
	MaxResults       int
	NextToken        string
}

type parameterEntry struct {
	Name, Type, ARN, Tier, KeyId string
	Description                  string            `json:",omitempty"`
	Policies                     []parameterPolicy `json:",omitempty"`
	Version                      int
}

func describeParameters(c *call, in describeParametersIn) (any, error) {
	if err := c.authorize("*"); err != nil {
		return nil, err
	}
	all := []parameterEntry{}
next:
	for _, name := range slices.Sorted(maps.Keys(c.parameters)) {
		p := c.parameters[name]
		for _, f := range in.ParameterFilters {
			ok, err := f.passes(p)
			if err != nil {
				return nil, err
			}
			if !ok {
				continue next
			}
		}
		all = append(all, parameterEntry{Name: name, Type: p.kind, ARN: c.parameterARN(name), Tier: p.tier, KeyId: p.keyID, Version: len(p.values),
			Description: p.about, Policies: p.policies})
	}
	size := in.MaxResults
	if size <= 0 || size > 50 {
		size = 50
	}
	part, next, err := page(all, in.NextToken, size)
	if err != nil {
		return nil, fail("InvalidNextToken", "The specified token isn't valid.")
	}
	return struct {
		Parameters []parameterEntry
		NextToken  string `json:",omitempty"`
	}{part, next}, nil
}

type labelIn struct {
	Name             string
	ParameterVersion int
	Labels           []string
}

func labelParameterVersion(c *call, in labelIn) (any, error) {
	if err := c.authorize(in.Name, c.parameterARN(in.Name)); err != nil {
		return nil, err
	}
	p := c.parameters[in.Name]
	if p == nil {
		return nil, fail("ParameterNotFound", "Parameter %s not found.", in.Name)
	}
	version := in.ParameterVersion
	if version == 0 {
		version = len(p.values)
	}
	if version > len(p.values) {
		return nil, fail("ParameterVersionNotFound", "Systems Manager could not find version %d of %s.", version, in.Name)
	}
	for _, label := range in.Labels {
		p.labels[label] = version
	}
	return struct{ ParameterVersion int }{version}, nil
}

type parameterTagsIn struct {
	ResourceId, ResourceType string
	Tags                     []tag
}

// tagged finds the parameter whose tags are meant.
func (c *call) tagged(in parameterTagsIn) (*parameter, error) {
	if err := c.authorize(in.ResourceId, c.parameterARN(in.ResourceId)); err != nil {
		return nil, err
	}
	p := c.parameters[in.ResourceId]
	if p == nil || in.ResourceType != "Parameter" {
		return nil, fail("InvalidResourceId", "The resource ID isn't valid. Verify that you entered the correct ID and try again.")
	}
	return p, nil
}

func tagParameter(c *call, in parameterTagsIn) (any, error) {
	p, err := c.tagged(in)
	if err != nil {
		return nil, err
	}
	for _, t := range in.Tags {
		p.tags[t.Key] = t.Value
	}
	return struct{}{}, nil
}

func listTagsOfParameter(c *call, in parameterTagsIn) (any, error) {
	p, err := c.tagged(in)
	if err != nil {
		return nil, err
	}
	tags := []tag{}
	for _, key := range slices.Sorted(maps.Keys(p.tags)) {
		tags = append(tags, tag{key, p.tags[key]})
	}
	return struct{ TagList []tag }{tags}, nil
}
