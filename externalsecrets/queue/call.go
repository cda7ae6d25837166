package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/providers"
)

// carryOut sends one request, and returns a result for each call.
func carryOut(ctx context.Context, reader providers.Reader, err error, calls []*call) []fetch.Result {
	results := make([]fetch.Result, len(calls))
	if err != nil {
		for i := range results {
			results[i].Err = err
		}
		return results
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if len(calls) == 1 {
		results[0] = one(ctx, reader, calls[0].read)
	} else {
		refs := make([]providers.Ref, len(calls))
		for i, c := range calls {
			refs[i] = c.read.Ref
		}
		for i, r := range providers.ReadAll(ctx, reader, refs) {
			results[i] = fetch.Result{Value: r.Value, Version: r.Version, Err: r.Err}
		}
	}
	if ctx.Err() != nil {
		for i := range results {
			if results[i].Err != nil {
				results[i].Err = errTimeout
			}
		}
	}
	return results
}

// one carries out a single read.
func one(ctx context.Context, reader providers.Reader, read fetch.Read) fetch.Result {
	switch {
	case read.Find != "":
		values, err := find(ctx, reader, read.Find)
		return fetch.Result{Values: values, Err: err}
	case read.Metadata:
		m, ok := reader.(providers.MetadataReader)
		if !ok {
			return fetch.Result{Err: fmt.Errorf("metadataPolicy: %w: this provider has no metadata to fetch: remove it", providers.ErrInvalid)}
		}
		value, err := m.Metadata(ctx, read.Ref)
		return fetch.Result{Value: value, Err: err}
	default:
		if l, ok := reader.(providers.VersionLister); ok && l.Listing().PerPage > 0 {
			r := l.ReadAll(ctx, []providers.Ref{read.Ref})[0] // it says the version, too
			return fetch.Result{Value: r.Value, Version: r.Version, Err: r.Err}
		}
		value, err := reader.Read(ctx, read.Ref)
		return fetch.Result{Value: value, Err: err}
	}
}

// maxFound is how many secrets one find may take: a Secret cannot hold more
// than some thousands, and a pattern that matches all of a company is a mistake.
const maxFound = 2000

// find reads every secret that a query, as fetch writes it, matches.
func find(ctx context.Context, reader providers.Reader, text string) (map[string]providers.Value, error) {
	f, ok := reader.(providers.Finder)
	if !ok {
		return nil, fmt.Errorf("find: %w: this provider cannot list secrets: name them in data or dataFrom.extract", providers.ErrInvalid)
	}
	var wanted fetch.Query
	if err := json.Unmarshal([]byte(text), &wanted); err != nil {
		return nil, fmt.Errorf("find: %w: it cannot be read", providers.ErrInvalid)
	}
	query := providers.Query{Path: wanted.Path, Tags: wanted.Tags}
	if wanted.Name != "" {
		re, err := regexp.Compile(wanted.Name)
		if err != nil {
			return nil, fmt.Errorf("find.name.regexp: %w: not a regular expression: correct it", providers.ErrInvalid)
		}
		query.Name = re
	}
	keys, err := f.Find(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("find: %w", err)
	}
	if len(keys) > maxFound {
		return nil, fmt.Errorf("find: %w: it matches %d secrets, more than %d: narrow it", providers.ErrInvalid, len(keys), maxFound)
	}
	refs := make([]providers.Ref, len(keys))
	for i, key := range keys {
		refs[i].Path = key
	}
	values := make(map[string]providers.Value, len(keys))
	for i, r := range providers.ReadAll(ctx, reader, refs) {
		if r.Err != nil {
			return nil, fmt.Errorf("find: secret %q: %w", keys[i], r.Err)
		}
		values[keys[i]] = r.Value
	}
	return values, nil
}
