// Package fields is what tests of the fields of a spec share: what a store's
// values become by them, and which of them no test names.
package fields

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"testing"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/providers"
)

// Values returns what a spec makes of what a store has, as text.
func Values(t *testing.T, reader providers.Reader, spec *esv1.ExternalSecretSpec) (string, error) {
	t.Helper()
	plan, err := fetch.New(spec)
	if err != nil {
		return "", err
	}
	results := map[fetch.Read]fetch.Result{}
	for _, read := range plan.Reads {
		result := fetch.Result{}
		switch {
		case read.Find != "":
			result.Values, result.Err = find(t, reader, read.Find)
		case read.Metadata:
			result.Value, result.Err = reader.(providers.MetadataReader).Metadata(t.Context(), read.Ref)
		default:
			result.Value, result.Err = reader.Read(t.Context(), read.Ref)
		}
		results[read] = result
	}
	data, err := plan.Values(results, false)
	if errors.Is(err, fetch.ErrMalformed) { // what the policies for values ask for
		return err.Error(), nil
	}
	return fmt.Sprintf("%q", data), err
}

// find reads what a query matches.
func find(t *testing.T, reader providers.Reader, text string) (map[string]providers.Value, error) {
	t.Helper()
	var wanted fetch.Query
	if err := json.Unmarshal([]byte(text), &wanted); err != nil {
		return nil, fmt.Errorf("find: %w", err)
	}
	query := providers.Query{Path: wanted.Path, Tags: wanted.Tags}
	if wanted.Name != "" {
		query.Name = regexp.MustCompile(wanted.Name)
	}
	keys, err := reader.(providers.Finder).Find(t.Context(), query)
	if err != nil {
		return nil, fmt.Errorf("find: %w", err)
	}
	values := map[string]providers.Value{}
	for _, key := range keys {
		if values[key], err = reader.Read(t.Context(), providers.Ref{Path: key}); err != nil {
			return nil, fmt.Errorf("find: %w", err)
		}
	}
	return values, nil
}
