package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// secrets is a store in Secrets Manager.
type secrets struct {
	*account

	client   *secretsmanager.Client
	deletion *esv1.AWSSecretsManager
}

// Read implements providers.Reader. The value is the SecretString, or the
// SecretBinary if there is none. It takes one request while the credentials
// are valid.
func (s *secrets) Read(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	result := s.one(ctx, ref)
	return result.Value, result.Err
}

// one reads a secret with a request of its own.
func (s *secrets) one(ctx context.Context, ref providers.Ref) providers.Result {
	id, err := s.id(ref.Path)
	if err != nil {
		return providers.Result{Err: err}
	}
	in := &secretsmanager.GetSecretValueInput{SecretId: &id}
	if version, ok := strings.CutPrefix(ref.Version, "uuid/"); ok {
		in.VersionId = &version
	} else if ref.Version != "" {
		in.VersionStage = &ref.Version
	}
	out, err := send(ctx, s.account, s.client.GetSecretValue, in)
	if err != nil {
		return providers.Result{Err: fmt.Errorf("read secret %q: %w", id, err)}
	}
	value := content(out.SecretString, out.SecretBinary)
	if value == nil {
		return providers.Result{Err: fmt.Errorf("read secret %q: %w: %s gave no value", id, providers.ErrUnavailable, s.service)}
	}
	return providers.Result{Value: providers.NewValue(value), Version: versionOf(out.ARN, aws.ToString(out.VersionId))}
}

func content(text *string, binary []byte) []byte {
	if text != nil {
		return []byte(*text)
	}
	return binary
}

// secretBatch is how many secrets one BatchGetSecretValue reads.
// Source: https://docs.aws.amazon.com/secretsmanager/latest/APIReference/API_BatchGetSecretValue.html
const secretBatch = 20

// ReadAll implements providers.BatchReader. A request reads 20 secrets in
// their current version; other versions take one each, and so does everything
// if secretsmanager:BatchGetSecretValue is not allowed.
func (s *secrets) ReadAll(ctx context.Context, refs []providers.Ref) []providers.Result {
	results := make([]providers.Result, len(refs))
	batches, at, rest := s.group(refs, secretBatch, func(ref providers.Ref) (string, bool) {
		id, err := s.id(ref.Path)
		return id, err == nil && (ref.Version == "" || ref.Version == current)
	})
	for _, ids := range batches {
		left, err := s.readBatch(ctx, ids, at, results)
		for _, id := range left {
			if err == nil || alone(err) {
				rest = append(rest, at[id]...)
				continue
			}
			for _, i := range at[id] {
				results[i].Err = fmt.Errorf("read secret %q: %w", id, err)
			}
		}
	}
	providers.Parallel(len(rest), func(n int) { results[rest[n]] = s.one(ctx, refs[rest[n]]) })
	return results
}

// readBatch reads ids, and returns those that it has no result for; with an
// error, these are all.
func (s *secrets) readBatch(ctx context.Context, ids []string, at map[string][]int, results []providers.Result) ([]string, error) {
	if len(ids) == 1 || !s.batches() {
		return ids, nil
	}
	out, err := send(ctx, s.account, s.client.BatchGetSecretValue, &secretsmanager.BatchGetSecretValueInput{SecretIdList: ids})
	if err != nil {
		if errors.Is(err, providers.ErrDenied) {
			s.withoutBatches() // a secret that is denied would be among the errors of the answer
		}
		return ids, err
	}
	var left []string
	for _, id := range ids {
		value, version := answerFor(id, out.SecretValues)
		if value == nil {
			left = append(left, id)
			continue
		}
		fill(results, at[id], value, version)
		clear(value)
	}
	return s.failed(ctx, left, out.Errors, at, results), nil
}

// answerFor returns the value that an answer has for id, and its version.
func answerFor(id string, values []types.SecretValueEntry) ([]byte, string) {
	for i := range values {
		if v := &values[i]; names(id, v.Name, v.ARN) {
			return content(v.SecretString, v.SecretBinary), versionOf(v.ARN, aws.ToString(v.VersionId))
		}
	}
	return nil, ""
}

// names reports whether id is the name of a secret, its ARN, or its ARN without
// the six characters that AWS puts at the end.
func names(id string, name, arn *string) bool {
	a := aws.ToString(arn)
	return id == aws.ToString(name) || id == a || (len(a) > 7 && id == a[:len(a)-7])
}

// failed gives the ids their errors, and returns those that have none.
func (s *secrets) failed(ctx context.Context, ids []string, errs []types.APIErrorType, at map[string][]int, results []providers.Result) []string {
	return slices.DeleteFunc(ids, func(id string) bool {
		for _, e := range errs {
			if aws.ToString(e.SecretId) != id {
				continue
			}
			err := s.classify(ctx, apiError{code: aws.ToString(e.ErrorCode), message: aws.ToString(e.Message)})
			for _, i := range at[id] {
				results[i].Err = fmt.Errorf("read secret %q: %w", id, err)
			}
			return true
		}
		return false
	})
}

// Find implements providers.Finder. It takes a request for each 100 secrets
// that begin with the path.
func (s *secrets) Find(ctx context.Context, q providers.Query) ([]string, error) {
	in := &secretsmanager.ListSecretsInput{MaxResults: aws.Int32(100), Filters: filters(s.prefix+q.Path, q.Tags)}
	var found []string
	for {
		out, err := s.list(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("find secrets: %w", err)
		}
		for i := range out.SecretList {
			path, ok := strings.CutPrefix(aws.ToString(out.SecretList[i].Name), s.prefix)
			if ok && strings.HasPrefix(path, q.Path) && (q.Name == nil || q.Name.MatchString(path)) && contains(tagsOf(out.SecretList[i].Tags), q.Tags) {
				found = append(found, path)
			}
		}
		if aws.ToString(out.NextToken) == "" {
			slices.Sort(found)
			return found, nil
		}
		in.NextToken = out.NextToken
	}
}

func (s *secrets) list(ctx context.Context, in *secretsmanager.ListSecretsInput) (*secretsmanager.ListSecretsOutput, error) {
	out, err := send(ctx, s.account, s.client.ListSecrets, in)
	if err == nil && out.SecretList == nil {
		return nil, s.noList()
	}
	return out, err
}

// filters narrow a list down. Key and value of a tag may be those of two tags,
// so the pairs are to be looked at again.
func filters(prefix string, tags map[string]string) []types.Filter {
	var out []types.Filter
	add := func(key types.FilterNameStringType, value string) {
		if value != "" {
			out = append(out, types.Filter{Key: key, Values: []string{value}})
		}
	}
	add(types.FilterNameStringTypeName, prefix)
	for key, value := range tags {
		add(types.FilterNameStringTypeTagKey, key)
		add(types.FilterNameStringTypeTagValue, value)
	}
	return out
}

func tagsOf(tags []types.Tag) map[string]string {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return m
}

// contains reports whether all has every pair of some.
func contains(all, some map[string]string) bool {
	for k, v := range some {
		if got, ok := all[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// Metadata implements providers.MetadataReader: the tags of the secret.
func (s *secrets) Metadata(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	id, err := s.id(ref.Path)
	if err != nil {
		return providers.Value{}, err
	}
	out, err := send(ctx, s.account, s.client.DescribeSecret, &secretsmanager.DescribeSecretInput{SecretId: &id})
	if err != nil {
		return providers.Value{}, fmt.Errorf("read the tags of secret %q: %w", id, err)
	}
	return tagObject(tagsOf(out.Tags)), nil
}

func tagObject(tags map[string]string) providers.Value {
	text, _ := json.Marshal(tags) //nolint:errchkjson // a map of strings always has a form as JSON
	return providers.NewValue(text)
}
