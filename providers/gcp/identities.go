package gcp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// key trades what the key of a service account signs. The key is read anew
// each time: there may be another.
func (x exchange) key(ref esv1.SecretKeySelector) func(context.Context) (token, error) {
	const field = "spec.provider.gcpsm.auth.secretRef.secretAccessKeySecretRef"
	return func(ctx context.Context) (token, error) {
		account, err := x.accountKey(ctx, ref)
		if err != nil {
			return token{}, fmt.Errorf("%s: %w", field, err)
		}
		// Where the token comes from is not taken from the key: whoever writes
		// it would choose where the controller connects to.
		at := x.at(x.endpoints.STS, "https://oauth2.googleapis.com") + "/token"
		signed, err := sign(account.Key, account.ID, map[string]any{"iss": account.Email, "scope": scope, "aud": "https://oauth2.googleapis.com/token"})
		if err != nil {
			return token{}, fmt.Errorf("%s: %w", field, err)
		}
		return x.post(ctx, question{url: at, form: map[string]string{"grant_type": grantJWT, "assertion": signed}, who: "the key of " + account.Email})
	}
}

// accountKey is the key of a service account, as Google writes it.
type accountKey struct {
	Type  string `json:"type"`
	Email string `json:"client_email"`
	ID    string `json:"private_key_id"`
	Key   string `json:"private_key"`
}

func (x exchange) accountKey(ctx context.Context, ref esv1.SecretKeySelector) (accountKey, error) {
	v, err := x.refs.Secret(ctx, ref)
	if err != nil {
		return accountKey{}, err
	}
	var k accountKey
	if err := json.Unmarshal(v.Bytes(), &k); err != nil || k.Type != "service_account" || !emails.MatchString(k.Email) {
		return accountKey{}, fmt.Errorf("%w: what it refers to is no key of a service account, as JSON", providers.ErrInvalid)
	}
	return k, nil
}

// sign makes a JWT that is valid for ten minutes.
func sign(key, id string, claims map[string]any) (string, error) {
	block, _ := pem.Decode([]byte(key))
	if block == nil {
		return "", fmt.Errorf("%w: private_key is no PEM", providers.ErrInvalid)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return "", fmt.Errorf("%w: private_key is no RSA key", providers.ErrInvalid)
	}
	now := time.Now() //nolint:forbidigo // Google looks at this clock
	claims["iat"], claims["exp"] = now.Unix(), now.Add(10*time.Minute).Unix()
	part := func(v any) string {
		text, _ := json.Marshal(v) //nolint:errchkjson // strings and numbers always have a form as JSON
		return base64.RawURLEncoding.EncodeToString(text)
	}
	text := part(map[string]string{"alg": "RS256", "typ": "JWT", "kid": id}) + "." + part(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("%w: private_key cannot sign", providers.ErrInvalid)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// awsRegions are all that AWS has; one becomes part of a host name.
var awsRegions = regexp.MustCompile(`^[a-z]{2,8}(-[a-z]{2,16}){1,3}-[0-9]{1,2}$`)

// aws makes a subject of an access key of AWS: a signed request that says who
// signed it, for Google to send.
// Source: https://cloud.google.com/iam/docs/workload-identity-federation-with-other-clouds
func (x exchange) aws(ctx context.Context, field, audience string, from *esv1.GCPAWSSecurityCredentials) (subject, error) {
	if !awsRegions.MatchString(from.Region) {
		return subject{}, fmt.Errorf("%s.awsSecurityCredentials.region: %w: %q is no region, such as eu-central-1", field, providers.ErrInvalid, from.Region)
	}
	keys, err := x.accessKey(ctx, field+".awsSecurityCredentials.awsCredentialsSecretRef", from.AWSCredentialsSecretRef)
	if err != nil {
		return subject{}, err
	}
	signed, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://sts."+from.Region+".amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15", http.NoBody)
	if err != nil {
		return subject{}, fmt.Errorf("%s: %w: no request can be made for STS", field, providers.ErrInvalid)
	}
	signed.Header.Set("X-Goog-Cloud-Target-Resource", audience)
	empty := sha256.Sum256(nil)
	at := time.Now() //nolint:forbidigo // AWS looks at this clock
	if err := v4.NewSigner().SignHTTP(ctx, keys, signed, hex.EncodeToString(empty[:]), "sts", from.Region, at); err != nil {
		return subject{}, fmt.Errorf("%s: %w: the access key cannot sign", field, providers.ErrInvalid)
	}
	type header struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	headers := []header{{"host", signed.URL.Host}}
	for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token", "X-Goog-Cloud-Target-Resource"} {
		if value := signed.Header.Get(name); value != "" {
			headers = append(headers, header{strings.ToLower(name), value})
		}
	}
	text, err := json.Marshal(map[string]any{"url": signed.URL.String(), "method": http.MethodPost, "headers": headers})
	if err != nil {
		return subject{}, fmt.Errorf("%s: %w: the access key has no form as JSON", field, providers.ErrInvalid)
	}
	return subject{token: url.QueryEscape(string(text)), kind: typeAWS, who: "the access key of AWS"}, nil
}

func (x exchange) accessKey(ctx context.Context, field string, from esv1.GCPSecretName) (aws.Credentials, error) {
	read := func(key string) (string, error) {
		ref := esv1.SecretKeySelector{Name: from.Name, Key: key}
		if from.Namespace != "" {
			ref.Namespace = &from.Namespace
		}
		v, err := x.refs.Secret(ctx, ref)
		if err != nil {
			return "", fmt.Errorf("%s: %w", field, err)
		}
		return string(bytes.TrimSpace(v.Bytes())), nil
	}
	var keys aws.Credentials
	var err error
	if keys.AccessKeyID, err = read("aws_access_key_id"); err != nil {
		return keys, err
	}
	if keys.SecretAccessKey, err = read("aws_secret_access_key"); err != nil {
		return keys, err
	}
	if session, err := read("aws_session_token"); err == nil { // only a temporary key has one
		keys.SessionToken = session
	}
	return keys, nil
}
