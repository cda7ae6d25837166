package gcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/api/iterator"

	"github.com/lockstep-dev/lockstep/providers"
)

// labels are what keys and values of labels are made of; they become part of a
// filter. Their length is not in here: 63 copies of these classes take 5 MB.
var labels = regexp.MustCompile(`^[\p{Ll}\p{Lo}\p{N}_-]*$`)

// labelMax is how many characters a key or a value of a label may have.
// Source: https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets#Secret
const labelMax = 63

func isLabel(s string) bool { return utf8.RuneCountInString(s) <= labelMax && labels.MatchString(s) }

// pageSize is how many secrets one request lists.
// Source: https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/list
const pageSize = 1000

// Find implements providers.Finder. Tags are labels, and a path is what the
// names begin with.
func (r *reader) Find(ctx context.Context, q providers.Query) ([]string, error) {
	filter, err := filterOf(q.Tags)
	if err != nil {
		return nil, err
	}
	in := &secretmanagerpb.ListSecretsRequest{Parent: r.parent, PageSize: pageSize, Filter: filter}
	var found []string
	for {
		page, err := call(ctx, r, func(ctx context.Context) ([]*secretmanagerpb.Secret, error) { return r.page(ctx, in) })
		if err != nil {
			return nil, fmt.Errorf("find secrets: %w", err)
		}
		for _, s := range page {
			name := s.GetName()[strings.LastIndexByte(s.GetName(), '/')+1:]
			if strings.HasPrefix(name, q.Path) && (q.Name == nil || q.Name.MatchString(name)) {
				found = append(found, name)
			}
		}
		if in.PageToken == "" {
			slices.Sort(found)
			return found, nil
		}
	}
}

// filterOf asks for secrets with all of the labels.
func filterOf(tags map[string]string) (string, error) {
	var terms []string
	for key, value := range tags {
		if key == "" || !isLabel(key) || !isLabel(value) {
			return "", fmt.Errorf("find.tags: %w: %q=%q is no label of Google Cloud", providers.ErrInvalid, key, value)
		}
		terms = append(terms, "labels."+key+"="+value)
	}
	slices.Sort(terms)
	return strings.Join(terms, " AND "), nil
}

// page reads one page, and puts the token of the next one into in.
func (r *reader) page(ctx context.Context, in *secretmanagerpb.ListSecretsRequest) ([]*secretmanagerpb.Secret, error) {
	var out []*secretmanagerpb.Secret
	next, err := iterator.NewPager(r.client.ListSecrets(ctx, in), pageSize, in.GetPageToken()).NextPage(&out)
	in.PageToken = next
	return out, err //nolint:wrapcheck // call says it in words of its own
}

// Metadata implements providers.MetadataReader: labels and annotations.
func (r *reader) Metadata(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	s, err := r.describe(ctx, ref.Path)
	if err != nil {
		return providers.Value{}, fmt.Errorf("read the metadata of secret %q: %w", ref.Path, err)
	}
	orEmpty := func(m map[string]string) map[string]string {
		if m == nil {
			return map[string]string{}
		}
		return m
	}
	text, _ := json.Marshal(map[string]map[string]string{ //nolint:errchkjson // maps of strings always have a form as JSON
		"labels": orEmpty(s.GetLabels()), "annotations": orEmpty(s.GetAnnotations())})
	return providers.NewValue(text), nil
}

func (r *reader) describe(ctx context.Context, path string) (*secretmanagerpb.Secret, error) {
	name, err := r.name(path)
	if err != nil {
		return nil, err
	}
	return call(ctx, r, func(ctx context.Context) (*secretmanagerpb.Secret, error) {
		return r.client.GetSecret(ctx, &secretmanagerpb.GetSecretRequest{Name: name})
	})
}

// ours describes a secret, and returns ErrForeign unless a Writer made it.
func (r *reader) ours(ctx context.Context, path string) (*secretmanagerpb.Secret, error) {
	s, err := r.describe(ctx, path)
	if err != nil {
		return nil, err
	}
	if s.GetLabels()[providers.ManagedBy] != providers.ManagedByValue {
		return nil, fmt.Errorf("%w: it has no label %s=%s: add it to hand it over", providers.ErrForeign, providers.ManagedBy, providers.ManagedByValue)
	}
	return s, nil
}

// gone reports whether a value is not there, as one that is new or whose
// latest version is disabled.
func gone(err error) bool {
	return errors.Is(err, providers.ErrNotFound) || errors.Is(err, errNotEnabled)
}
