package aws

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/lockstep-dev/lockstep/providers"
)

const (
	// listPage is how many secrets one ListSecrets returns, at most.
	listPage = 100

	// listLate is how old a list may be: "ListSecrets is eventually consistent,
	// however it might not reflect changes from the last five minutes".
	// Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html
	listLate = 5 * time.Minute

	// current is the stage of the version that is read when none is named.
	current = "AWSCURRENT"
)

// Listing implements providers.VersionLister.
func (s *secrets) Listing() providers.Listing {
	return providers.Listing{PerPage: listPage, Late: listLate}
}

// Versions implements providers.VersionLister with ListSecrets, of secrets
// below the prefix. Only the current version is told: of refs that name
// another, it says nothing.
func (s *secrets) Versions(ctx context.Context, page string, refs []providers.Ref) (map[providers.Ref]string, string, error) {
	in := &secretsmanager.ListSecretsInput{MaxResults: aws.Int32(listPage), Filters: filters(s.prefix, nil)}
	if page != "" {
		in.NextToken = &page
	}
	out, err := s.list(ctx, in)
	if err != nil {
		return nil, "", fmt.Errorf("list the versions of secrets: %w", err)
	}
	at := map[string]string{} // by every id that reads it
	for i := range out.SecretList {
		entry := &out.SecretList[i]
		for id, stages := range entry.SecretVersionsToStages {
			if arn := aws.ToString(entry.ARN); slices.Contains(stages, current) {
				version := versionOf(entry.ARN, id)
				at[aws.ToString(entry.Name)], at[arn], at[arn[:max(len(arn)-7, 0)]] = version, version, version
			}
		}
	}
	versions := map[providers.Ref]string{}
	for _, ref := range refs {
		id, err := s.id(ref.Path)
		if err == nil && at[id] != "" && (ref.Version == "" || ref.Version == current) {
			versions[ref] = at[id]
		}
	}
	return versions, aws.ToString(out.NextToken), nil
}

// versionOf names a value. The end of the ARN is different for a secret that
// was deleted and made anew, whose owner may have given its version the same
// id. A version that AWS did not name is none.
func versionOf(arn *string, id string) string {
	if id == "" {
		return ""
	}
	a := aws.ToString(arn)
	return a[max(len(a)-7, 0):] + "/" + id
}
