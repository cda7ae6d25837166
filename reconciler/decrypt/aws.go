package decrypt

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/getsops/sops/v3/keyservice"
)

// keyARN is what a key of AWS KMS is called; its first group is the region.
var keyARN = regexp.MustCompile(`^arn:aws[a-z-]*:kms:([a-z0-9-]{1,30}):[0-9]{12}:(?:key|alias)/[A-Za-z0-9/_-]+$`)

// sessionName is what roles are assumed as.
const sessionName = "lockstep"

// openKMS has AWS KMS decrypt a data key. The region comes from the key's ARN;
// a role that the file names is assumed with the credentials at hand.
func (s *service) openKMS(k *keyservice.KmsKey, ciphertext []byte) ([]byte, error) {
	m := keyARN.FindStringSubmatch(k.GetArn())
	if m == nil {
		return nil, errors.New("its ARN cannot be read")
	}
	keys, err := s.awsCredentials(m[1])
	if err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.DecodeString(string(ciphertext))
	if err != nil {
		return nil, errMalformed
	}
	if role := k.GetRole(); role != "" {
		keys = stscreds.NewAssumeRoleProvider(s.Settings.sts(m[1], keys), role, func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = sessionName })
	}
	client := kms.New(kms.Options{Region: m[1], Credentials: keys, BaseEndpoint: endpoint(s.Settings.KMS), HTTPClient: s.Settings.Client(), RetryMaxAttempts: 2})
	return s.request("kms."+m[1], func(ctx context.Context) ([]byte, error) {
		out, err := client.Decrypt(ctx, &kms.DecryptInput{KeyId: aws.String(k.GetArn()), CiphertextBlob: raw, EncryptionContext: k.GetContext()})
		if err != nil {
			return nil, AWSError(err)
		}
		return out.Plaintext, nil
	})
}

// awsCredentials are those of the Secret, or else those that AWS gives to the
// ServiceAccount. The controller's own are never used.
func (s *service) awsCredentials(region string) (aws.CredentialsProvider, error) {
	if s.Keys.aws != nil {
		return s.Keys.aws, nil
	}
	id := s.Keys.Identity
	if id == nil {
		return nil, errNone
	}
	return s.Settings.AWS(s.ctx, id, region)
}

// AWS returns the credentials of the role that AWS gives to a ServiceAccount.
// They are fetched while ctx lives.
func (s *Settings) AWS(ctx context.Context, id *Identity, region string) (aws.CredentialsProvider, error) {
	role := id.Annotations["eks.amazonaws.com/role-arn"]
	if role == "" {
		return nil, fmt.Errorf("ServiceAccount %s has no annotation eks.amazonaws.com/role-arn", id.Name)
	}
	return stscreds.NewWebIdentityRoleProvider(s.sts(region, aws.AnonymousCredentials{}), role, webToken{ctx, id},
		func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = sessionName }), nil
}

func (s *Settings) sts(region string, keys aws.CredentialsProvider) *sts.Client {
	return sts.New(sts.Options{Region: region, Credentials: keys, BaseEndpoint: endpoint(s.STS), HTTPClient: s.Client(), RetryMaxAttempts: 2})
}

// webToken gives STS a token of the ServiceAccount.
type webToken struct {
	ctx context.Context //nolint:containedctx // the SDK's interface has none
	id  *Identity
}

// GetIdentityToken implements stscreds.IdentityTokenRetriever.
func (w webToken) GetIdentityToken() ([]byte, error) {
	token, err := w.id.Token(w.ctx, "sts.amazonaws.com")
	return []byte(token), err
}

func endpoint(url string) *string {
	if url == "" {
		return nil
	}
	return &url
}

// AWSError names the class of an error of AWS: its text can hold tokens.
func AWSError(err error) error {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return errors.New("AWS refuses: " + e.ErrorCode())
	}
	return errDown
}
