package testenv

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// AWSOptions says what there is besides the services. The zero value knows no
// issuer of web identity tokens.
type AWSOptions struct {
	// Issuer of the web identity tokens that roles trust, such as
	// [ControlPlane.Issuer]. Empty: none.
	Issuer string
	// IssuerCA is the PEM certificate of the authority that signs for it.
	IssuerCA []byte
	// Listen is the address to listen on. Default: a free port of 127.0.0.1.
	Listen string
	// Progress gets a line per step that takes long. Default: standard error.
	Progress io.Writer
}

// AWS is one account with Secrets Manager, Parameter Store and STS at one
// address. Counts names operations as a policy does, such as
// secretsmanager:GetSecretValue.
type AWS struct {
	*server

	// CA is the PEM certificate of the authority that signs for Address.
	CA []byte
}

// awsAccount is the account that everything belongs to, as in test/servers/aws.
const awsAccount = "123456789012"

// StartAWS builds and starts the AWS endpoints. ctx bounds the start only;
// Stop ends what was started.
func StartAWS(ctx context.Context, opts AWSOptions) (*AWS, error) {
	var args, folders []string
	if opts.Listen != "" {
		args = append(args, "--listen", opts.Listen)
	}
	if opts.Issuer != "" {
		dir, err := os.MkdirTemp("", "lockstep-issuer-")
		if err != nil {
			return nil, fmt.Errorf("testenv: start aws: %w", err)
		}
		folders = append(folders, dir)
		ca := filepath.Join(dir, "ca.crt")
		if err := os.WriteFile(ca, opts.IssuerCA, 0o600); err != nil {
			return nil, fmt.Errorf("testenv: start aws: %w", err)
		}
		args = append(args, "--issuer", opts.Issuer, "--issuer-ca", ca)
	}
	var ready struct{ CA string }
	s, err := startServer(ctx, serverOptions{program: "aws", args: args, tls: true, progress: opts.Progress}, &ready)
	if err != nil {
		for _, dir := range folders {
			_ = os.RemoveAll(dir) // a leftover of a temporary folder harms nobody
		}
		return nil, err
	}
	s.folders = folders
	return &AWS{server: s, CA: []byte(ready.CA)}, nil
}

// AWSStatement allows actions on resources, which are names or ARNs. An empty
// list of either means all; a * stands for any characters.
type AWSStatement struct {
	Actions   []string `json:"actions,omitempty"`
	Resources []string `json:"resources,omitempty"`
}

// AccessKey is a user's key pair.
type AccessKey struct{ ID, Secret string }

// User makes a user, and returns its access key. Without statements it may do
// everything.
func (a *AWS) User(ctx context.Context, name string, allow ...AWSStatement) (AccessKey, error) {
	random := make([]byte, 28)
	if _, err := rand.Read(random); err != nil {
		return AccessKey{}, fmt.Errorf("testenv: make an access key: %w", err)
	}
	key := AccessKey{ID: "AKIA" + strings.ToUpper(hex.EncodeToString(random[:8])), Secret: hex.EncodeToString(random[8:])}
	return key, a.admin(ctx, http.MethodPut, "keys", map[string]any{
		"accessKeyId": key.ID, "secretAccessKey": key.Secret, "user": name, "allow": allow}, nil)
}

// AWSRole is who may assume a role, and what that allows. The zero value can
// be assumed by nobody.
type AWSRole struct {
	Name string
	// Subject of the web identity tokens that it trusts, such as
	// system:serviceaccount:team-a:reader.
	Subject string
	// Principals are the ARNs that may AssumeRole.
	Principals []string
	// ExternalID that AssumeRole must bring.
	ExternalID string
	// Tags that AssumeRole must bring, as key=value, and as +key if the role
	// wants it passed on along a chain.
	Tags []string
	// Allow is what the role may do. Empty: everything.
	Allow []AWSStatement
	// SessionSeconds is how long a session lives, whatever was asked for. 0:
	// as asked for, or an hour.
	SessionSeconds int
}

// Role makes a role, or replaces it, and returns its ARN.
func (a *AWS) Role(ctx context.Context, r AWSRole) (string, error) {
	arn := "arn:aws:iam::" + awsAccount + ":role/" + r.Name
	return arn, a.admin(ctx, http.MethodPut, "roles", map[string]any{
		"arn": arn, "subject": r.Subject, "principals": r.Principals, "externalId": r.ExternalID, "tags": r.Tags,
		"allow": r.Allow, "sessionSeconds": r.SessionSeconds}, nil)
}

// UserARN is the ARN of the named user.
func (a *AWS) UserARN(name string) string { return "arn:aws:iam::" + awsAccount + ":user/" + name }

// PutSecret stores a value in Secrets Manager, as a new version that is
// AWSCURRENT, and returns the version's id.
func (a *AWS) PutSecret(ctx context.Context, region, name, value string) (string, error) {
	return a.seed(ctx, map[string]any{"region": region, "name": name, "value": value})
}

// PutBinary is PutSecret for a SecretBinary.
func (a *AWS) PutBinary(ctx context.Context, region, name string, value []byte) (string, error) {
	return a.seed(ctx, map[string]any{"region": region, "name": name, "binary": value})
}

func (a *AWS) seed(ctx context.Context, in map[string]any) (string, error) {
	var out struct {
		VersionID string `json:"versionId"`
	}
	err := a.admin(ctx, http.MethodPut, "secrets", in, &out)
	return out.VersionID, err
}

// TagSecret adds tags to a secret of Secrets Manager.
func (a *AWS) TagSecret(ctx context.Context, region, name string, tags map[string]string) error {
	return a.admin(ctx, http.MethodPut, "secrets", map[string]any{"region": region, "name": name, "tags": tags}, nil)
}

// PutParameter stores a value in Parameter Store, as a SecureString, and
// returns the number of the version that it made.
func (a *AWS) PutParameter(ctx context.Context, region, name, value string) (int, error) {
	var out struct{ Version int }
	err := a.admin(ctx, http.MethodPut, "parameters", map[string]any{"region": region, "name": name, "value": value}, &out)
	return out.Version, err
}

// TagParameter adds tags to a parameter.
func (a *AWS) TagParameter(ctx context.Context, region, name string, tags map[string]string) error {
	return a.admin(ctx, http.MethodPut, "parameters", map[string]any{"region": region, "name": name, "tags": tags}, nil)
}
