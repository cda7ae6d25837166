//nolint:revive,staticcheck // fields are named as the API names them
package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

var parameterStore = map[string]operation{
	"AddTagsToResource":     op(tagParameter),
	"DeleteParameter":       op(deleteParameter),
	"DescribeParameters":    op(describeParameters),
	"GetParameter":          op(getParameter),
	"GetParameters":         op(getParameters),
	"GetParametersByPath":   op(getParametersByPath),
	"LabelParameterVersion": op(labelParameterVersion),
	"ListTagsForResource":   op(listTagsOfParameter),
	"PutParameter":          op(putParameter),
}

type parameter struct {
	name, kind string
	values     []string // the version is the index plus 1
	changed    time.Time
	labels     map[string]int // the version that each names
	tags       map[string]string
	keyID      string
	tier       string
	about      string
	policies   []parameterPolicy
}

type parameterPolicy struct{ PolicyText, PolicyType, PolicyStatus string }

// ciphertext stands for a SecureString that was read without WithDecryption.
const ciphertext = "AQICAHh-ciphertext"

type parameterOut struct {
	Name, Type, Value, ARN string
	Version                int
	LastModifiedDate       float64
	DataType               string
	Selector               string `json:",omitempty"`
}

func (c *call) parameterARN(name string) string {
	return fmt.Sprintf("arn:aws:ssm:%s:%s:parameter/%s", c.name, accountID, strings.TrimPrefix(name, "/"))
}

func (c *call) out(p *parameter, version int, decrypt bool) parameterOut {
	value := p.values[version-1]
	if p.kind == "SecureString" && !decrypt {
		value = ciphertext
	}
	return parameterOut{Name: p.name, Type: p.kind, Value: value, ARN: c.parameterARN(p.name), Version: version,
		LastModifiedDate: seconds(p.changed), DataType: "text"}
}

// parameter reads NAME or NAME:VERSION.
func (c *call) parameter(id string, decrypt bool) (parameterOut, error) {
	name, selector, _ := strings.Cut(id, ":")
	if err := c.authorize(name, c.parameterARN(name)); err != nil {
		return parameterOut{}, err
	}
	p := c.parameters[name]
	if p == nil {
		return parameterOut{}, fail("ParameterNotFound", "Parameter %s not found.", name)
	}
	version := len(p.values)
	if selector != "" {
		asked, err := strconv.Atoi(selector)
		if labelled, ok := p.labels[selector]; ok {
			asked, err = labelled, nil
		}
		if err != nil || asked < 1 || asked > version {
			return parameterOut{}, fail("ParameterVersionNotFound", "Systems Manager could not find version %s of %s.", selector, name)
		}
		version = asked
	}
	out := c.out(p, version, decrypt)
	if selector != "" {
		out.Selector = ":" + selector
	}
	return out, nil
}

type putParameterIn struct {
	Name, Value, Type string
	KeyId, Tier       string
	Description       string
	Policies          string // a JSON list
	Overwrite         bool
	Tags              []tag
}

func putParameter(c *call, in putParameterIn) (any, error) {
	if err := c.authorize(in.Name, c.parameterARN(in.Name)); err != nil {
		return nil, err
	}
	p := c.parameters[in.Name]
	if len(in.Tags) > 0 && in.Overwrite {
		return nil, fail("ValidationException", "Invalid request: tags and overwrite can't be used together.")
	}
	if p != nil && !in.Overwrite {
		return nil, fail("ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.")
	}
	if p == nil {
		if in.Type == "" {
			return nil, fail("ValidationException", "A parameter type is required when you create a parameter.")
		}
		p = &parameter{name: in.Name, kind: in.Type, labels: map[string]int{}, tags: map[string]string{}}
		c.parameters[in.Name] = p
	}
	if err := p.set(in); err != nil {
		return nil, err
	}
	p.values, p.changed = append(p.values, in.Value), time.Now()
	return struct {
		Version int
		Tier    string
	}{len(p.values), p.tier}, nil
}

// set takes the settings of in over.
func (p *parameter) set(in putParameterIn) error {
	for _, t := range in.Tags {
		p.tags[t.Key] = t.Value
	}
	if in.Type != "" {
		p.kind = in.Type
	}
	if p.keyID, p.tier = in.KeyId, in.Tier; p.tier == "" {
		p.tier = "Standard"
	}
	if in.Description != "" {
		p.about = in.Description
	}
	if in.Policies != "" {
		var list []json.RawMessage
		if err := json.Unmarshal([]byte(in.Policies), &list); err != nil || p.tier != "Advanced" {
			return fail("InvalidPolicyTypeException", "The policy type isn't supported, or the parameter is not in the advanced tier.")
		}
		p.policies = nil
		for _, text := range list {
			p.policies = append(p.policies, parameterPolicy{PolicyText: string(text), PolicyStatus: "Pending"})
		}
	}
	return nil
}

type getParameterIn struct {
	Name           string
	WithDecryption bool
}

func getParameter(c *call, in getParameterIn) (any, error) {
	p, err := c.parameter(in.Name, in.WithDecryption)
	if err != nil {
		return nil, err
	}
	return struct{ Parameter parameterOut }{p}, nil
}

// maxParameters is how many parameters one request reads.
// Source: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
const maxParameters = 10

type getParametersIn struct {
	Names          []string
	WithDecryption bool
}

func getParameters(c *call, in getParametersIn) (any, error) {
	if len(in.Names) == 0 || len(in.Names) > maxParameters {
		return nil, fail("ValidationException", "Value at 'names' failed to satisfy constraint: Member must have length between 1 and %d", maxParameters)
	}
	out := struct {
		Parameters        []parameterOut
		InvalidParameters []string
	}{[]parameterOut{}, []string{}}
	for _, name := range in.Names {
		p, err := c.parameter(name, in.WithDecryption)
		if err == nil {
			out.Parameters = append(out.Parameters, p)
			continue
		}
		if asAPIError(err).Code == "AccessDeniedException" {
			return nil, err // one that is denied fails them all
		}
		out.InvalidParameters = append(out.InvalidParameters, name)
	}
	return out, nil
}

type byPathIn struct {
	Path           string
	Recursive      bool
	WithDecryption bool
	MaxResults     int
	NextToken      string
}

func getParametersByPath(c *call, in byPathIn) (any, error) {
	if err := c.authorize(in.Path, c.parameterARN(in.Path)); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(in.Path, "/") {
		return nil, fail("ValidationException", "The parameter path must begin with a slash.")
	}
	below := strings.TrimSuffix(in.Path, "/") + "/"
	var all []parameterOut
	for _, name := range slices.Sorted(maps.Keys(c.parameters)) {
		rest, ok := strings.CutPrefix(name, below)
		if ok && (in.Recursive || !strings.Contains(rest, "/")) {
			p := c.parameters[name]
			all = append(all, c.out(p, len(p.values), in.WithDecryption))
		}
	}
	size := in.MaxResults
	if size <= 0 || size > maxParameters {
		size = maxParameters
	}
	part, next, err := page(all, in.NextToken, size)
	if err != nil {
		return nil, fail("InvalidNextToken", "The specified token isn't valid.")
	}
	return struct {
		Parameters []parameterOut
		NextToken  string `json:",omitempty"`
	}{part, next}, nil
}

type parameterName struct{ Name string }

func deleteParameter(c *call, in parameterName) (any, error) {
	if err := c.authorize(in.Name, c.parameterARN(in.Name)); err != nil {
		return nil, err
	}
	if c.parameters[in.Name] == nil {
		return nil, fail("ParameterNotFound", "Parameter %s not found.", in.Name)
	}
	delete(c.parameters, in.Name)
	return struct{}{}, nil
}
