package aws

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

const (
	// roleAnnotation of a ServiceAccount is the ARN of its role, and
	// audienceAnnotation for whom a token must be that AWS accepts.
	// Source: https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html
	roleAnnotation     = "eks.amazonaws.com/role-arn"
	audienceAnnotation = "eks.amazonaws.com/audience"
	defaultAudience    = "sts.amazonaws.com"

	// sessionName is how CloudTrail shows what this backend does as a role.
	sessionName = "lockstep-external-secrets"

	// early is how long before their end credentials are no longer used: time
	// enough for a request under way, and for clocks that differ a little. AWS
	// gives none that live less than 15 minutes.
	early = time.Minute
)

// stsAt makes clients of STS.
type stsAt struct {
	web              *http.Client
	region, endpoint string
}

func (s stsAt) client(keys aws.CredentialsProvider) *sts.Client {
	return sts.New(sts.Options{
		Region: s.region, Credentials: keys, HTTPClient: s.web, HTTPSignerV4: signer{}, BaseEndpoint: endpoint(s.endpoint), Retryer: aws.NopRetryer{},
	})
}

// ownError is an error in our words, to find below those of the SDK.
type ownError struct{ err error }

func (e ownError) Error() string { return e.err.Error() }
func (e ownError) Unwrap() error { return e.err }

func own(format string, args ...any) error { return ownError{fmt.Errorf(format, args...)} }

// newCredentials returns where the credentials of a store come from: an access
// key, a ServiceAccount's role or, unless it is nil, the ambient identity, and
// then one role after the other. They are kept until shortly before their end, and asked for once however many
// goroutines want them.
func newCredentials(config providers.Config, s stsAt, ambient aws.CredentialsProvider) (*aws.CredentialsCache, error) {
	p, refs := config.Provider.AWS, config.References
	var keys aws.CredentialsProvider
	switch {
	case p.Auth.JWT != nil && p.Auth.JWT.ServiceAccountRef != nil:
		keys = cached(webIdentity(*p.Auth.JWT.ServiceAccountRef, refs, s))
	case p.Auth.JWT != nil:
		return nil, fmt.Errorf("spec.provider.aws.auth.jwt: %w: set serviceAccountRef", providers.ErrInvalid)
	case p.Auth.SecretRef != nil:
		keys = accessKey(*p.Auth.SecretRef, refs)
	case ambient != nil:
		keys = cached(ambient)
	default:
		return nil, fmt.Errorf("spec.provider.aws.auth: %w: set jwt.serviceAccountRef or secretRef; the controller's own identity is not for this store: it is for ClusterSecretStores, and for namespaces in --ambient-credentials-namespaces", providers.ErrInvalid)
	}
	for i, role := range p.AdditionalRoles {
		in := sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String(sessionName)}
		keys = cached(assume(in, s.client(keys), fmt.Sprintf("additionalRoles[%d]", i)))
	}
	if p.Role != "" {
		in, err := lastRole(p, config.Store)
		if err != nil {
			return nil, err
		}
		keys = cached(assume(in, s.client(keys), "role"))
	}
	if last, ok := keys.(*aws.CredentialsCache); ok {
		return last, nil
	}
	return cached(keys), nil
}

func cached(p aws.CredentialsProvider) *aws.CredentialsCache {
	return aws.NewCredentialsCache(p, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = early })
}

// accessKey reads an access key from Secrets.
func accessKey(ref esv1.AWSAuthSecretRef, refs providers.References) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		read := func(field string, ref esv1.SecretKeySelector) (string, error) {
			v, err := refs.Secret(ctx, ref)
			if err != nil {
				return "", own("spec.provider.aws.auth.secretRef.%s: %w", field, err)
			}
			// No part of a key has white space, and editors leave a newline.
			trimmed := bytes.TrimSpace(v.Bytes())
			if len(trimmed) == 0 || bytes.ContainsAny(trimmed, "\r\n\x00") {
				return "", own("spec.provider.aws.auth.secretRef.%s: %w: what it refers to is empty or has several lines", field, providers.ErrInvalid)
			}
			return string(trimmed), nil
		}
		var keys aws.Credentials
		var err error
		if keys.AccessKeyID, err = read("accessKeyIDSecretRef", ref.AccessKeyID); err != nil {
			return aws.Credentials{}, err
		}
		if keys.SecretAccessKey, err = read("secretAccessKeySecretRef", ref.SecretAccessKey); err != nil {
			return aws.Credentials{}, err
		}
		if ref.SessionToken != nil {
			keys.SessionToken, err = read("sessionTokenSecretRef", *ref.SessionToken)
		}
		return keys, err
	})
}

// webIdentity trades a token of a ServiceAccount for a session of its role.
func webIdentity(ref esv1.ServiceAccountSelector, refs providers.References, s stsAt) aws.CredentialsProvider {
	client := s.client(aws.AnonymousCredentials{})
	return aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		const field = "spec.provider.aws.auth.jwt.serviceAccountRef"
		annotations, err := refs.Annotations(ctx, ref)
		if err != nil {
			return aws.Credentials{}, own("%s: %w", field, err)
		}
		role := annotations[roleAnnotation]
		if role == "" {
			return aws.Credentials{}, own("%s: %w: ServiceAccount %q has no annotation %s", field, providers.ErrInvalid, ref.Name, roleAnnotation)
		}
		audience := annotations[audienceAnnotation]
		if audience == "" {
			audience = defaultAudience
		}
		others := slices.DeleteFunc(slices.Clone(ref.Audiences), func(a string) bool { return a == audience })
		token, _, err := refs.Token(ctx, ref, append([]string{audience}, others...), 0)
		if err != nil {
			return aws.Credentials{}, own("%s: %w", field, err)
		}
		out, err := client.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
			RoleArn: &role, RoleSessionName: aws.String(sessionName), WebIdentityToken: aws.String(string(token.Bytes()))})
		if err != nil {
			return aws.Credentials{}, own("assume %s with a token of ServiceAccount %q for %s: %w", role, ref.Name, audience, classify(ctx, err, "AWS STS"))
		}
		return session(out.Credentials)
	})
}

// lastRole is how role is assumed: the settings that go with it are for no
// role before it, as in External Secrets.
func lastRole(p *esv1.AWSProvider, store providers.Store) (sts.AssumeRoleInput, error) {
	in := sts.AssumeRoleInput{RoleArn: &p.Role, RoleSessionName: aws.String(sessionName), TransitiveTagKeys: p.TransitiveTagKeys}
	if p.ExternalID != "" {
		in.ExternalId = &p.ExternalID
	}
	tags, err := sessionTags(p, store)
	for _, t := range tags {
		in.Tags = append(in.Tags, types.Tag{Key: &t.Key, Value: &t.Value})
	}
	return in, err
}

// sessionTags are those of the spec, and those that sessionTagsPolicy adds.
// Nothing that is in the spec changes what the controller says about a store.
func sessionTags(p *esv1.AWSProvider, store providers.Store) ([]esv1.AWSTag, error) {
	tags := slices.Clone(p.SessionTags)
	if p.SessionTagsPolicy == esv1.AWSSessionTagsCustom {
		for _, key := range slices.Sorted(maps.Keys(p.CustomSessionTags)) {
			if value := p.CustomSessionTags[key]; key != "" && value != "" { // left out in External Secrets, too
				tags = append(tags, esv1.AWSTag{Key: key, Value: value})
			}
		}
	}
	if p.SessionTagsPolicy == esv1.AWSSessionTagsSimple || p.SessionTagsPolicy == esv1.AWSSessionTagsCustom {
		tags = append(tags, esv1.AWSTag{Key: "esoNamespace", Value: store.Namespace}, esv1.AWSTag{Key: "esoStoreName", Value: store.Name}, esv1.AWSTag{Key: "esoStoreKind", Value: store.Kind})
	}
	seen := map[string]bool{}
	for _, t := range tags {
		// AWS compares keys without case, and says which is twice in no way
		// that could be repeated.
		if key := strings.ToLower(t.Key); seen[key] {
			return nil, fmt.Errorf("spec.provider.aws.sessionTags: %w: key %q is there twice, or set by sessionTagsPolicy: remove one", providers.ErrInvalid, t.Key)
		}
		seen[strings.ToLower(t.Key)] = true
	}
	return tags, nil
}

// assume trades credentials for a session of a role.
func assume(in sts.AssumeRoleInput, client *sts.Client, field string) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		out, err := client.AssumeRole(ctx, &in)
		if err != nil {
			return aws.Credentials{}, own("spec.provider.aws.%s: assume %s: %w", field, *in.RoleArn, classify(ctx, err, "AWS STS"))
		}
		return session(out.Credentials)
	})
}

func session(c *types.Credentials) (aws.Credentials, error) {
	if c == nil || c.AccessKeyId == nil || c.SecretAccessKey == nil || c.SessionToken == nil || c.Expiration == nil {
		return aws.Credentials{}, own("%w: AWS STS gave no credentials", providers.ErrUnavailable)
	}
	return aws.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken,
		CanExpire: true, Expires: *c.Expiration}, nil
}
