package bucket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/source"
)

// Keys of the Secrets; they are Flux's.
const (
	keyAccess   = "accesskey"
	keySecret   = "secretkey"
	keyUsername = "username"
	keyPassword = "password"
)

// codeNoBucket is S3's word for a bucket that is not there.
const codeNoBucket = "NoSuchBucket"

// s3 is a service that speaks S3.
type s3 struct {
	client    *minio.Client
	transport http.RoundTripper
}

func newS3(b *sourcev1.Bucket, keys *credentials.Credentials, transport http.RoundTripper) (server, error) {
	client, err := minio.New(b.Spec.Endpoint, &minio.Options{
		Creds: keys, Secure: !b.Spec.Insecure, Region: b.Spec.Region, Transport: transport,
		MaxRetries: 1, // the Loop tries again, and no worker sleeps
	})
	if err != nil {
		return nil, reconciler.Final(sourcev1.URLInvalidReason, fmt.Errorf("spec.endpoint: %q cannot be the address of a service: %w", b.Spec.Endpoint, err))
	}
	return &s3{client, transport}, nil
}

// keys are what requests are signed with; none for a bucket that is public.
func (f *fetcher) keys(b *sourcev1.Bucket, s secretsOf, proxy *url.URL) (*credentials.Credentials, error) {
	if b.Spec.STS != nil {
		return f.ldap(b, s, proxy)
	}
	if s.own == nil {
		return credentials.NewStaticV4("", "", ""), nil
	}
	access, secret := strings.TrimSpace(string(s.own[keyAccess])), strings.TrimSpace(string(s.own[keySecret]))
	if access == "" || secret == "" {
		return nil, reconciler.Final(reasonAuthentication, fmt.Errorf("spec.secretRef: the Secret needs %s and %s", keyAccess, keySecret))
	}
	return credentials.NewStaticV4(access, secret, ""), nil
}

// ldap exchanges the name and the password of someone in an LDAP directory for
// keys that last for an hour.
func (f *fetcher) ldap(b *sourcev1.Bucket, s secretsOf, proxy *url.URL) (*credentials.Credentials, error) {
	username, password := string(s.sts[keyUsername]), string(s.sts[keyPassword])
	if username == "" || password == "" {
		return nil, reconciler.Final(reasonAuthentication, fmt.Errorf("spec.sts.secretRef: name a Secret with %s and %s", keyUsername, keyPassword))
	}
	if !strings.HasPrefix(b.Spec.STS.Endpoint, "https://") && !f.options.AllowHTTPCredentials {
		return nil, reconciler.Final(reasonAuthentication, fmt.Errorf("spec.sts.endpoint: %w", source.ErrPlainCredentials))
	}
	config, err := source.TLS("spec.sts.certSecretRef", s.stsCerts)
	if err != nil {
		return nil, err
	}
	plain := source.Plain{Requests: f.options.AllowHTTPCredentials, Credentials: f.options.AllowHTTPCredentials}
	return credentials.New(&credentials.LDAPIdentity{
		Client:      &http.Client{Transport: source.Transport(config, proxy, plain), CheckRedirect: stay},
		STSEndpoint: b.Spec.STS.Endpoint, LDAPUsername: username, LDAPPassword: password,
	}), nil
}

// stay refuses redirects: what was sent is meant for one server.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (s *s3) list(ctx context.Context, bucket, prefix string, each func(object) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the listing goes on until then
	for o := range s.client.ListObjectsIter(ctx, bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if o.Err != nil {
			return answered(o.Err)
		}
		if err := each(object{key: o.Key, tag: o.ETag, size: o.Size}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (s *s3) read(ctx context.Context, bucket string, o object) ([]byte, error) {
	options := minio.GetObjectOptions{}
	if err := options.SetMatchETag(o.tag); err != nil {
		return nil, fmt.Errorf("ask for an object by its tag: %w", err)
	}
	r, err := s.client.GetObject(ctx, bucket, o.key, options)
	if err != nil {
		return nil, answered(err)
	}
	defer func() { _ = r.Close() }() // only read from
	return whole(r, o)
}

// whole reads an object to its end, which is where its listing says.
func whole(r io.Reader, o object) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, o.size+1))
	if err != nil {
		return nil, answered(err)
	}
	if int64(len(data)) != o.size {
		return nil, fmt.Errorf("%s changed while it was read", o.key)
	}
	return data, nil
}

func (s *s3) close() {
	if c, ok := s.transport.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// answered makes the errors of the library ours.
func answered(err error) error {
	if r, ok := errors.AsType[minio.ErrorResponse](err); ok && r.StatusCode != 0 {
		return &answerError{status: r.StatusCode, code: r.Code}
	}
	return err
}

// kindOf says what is wrong, without the words of a library or a server: they
// may repeat what was sent.
func kindOf(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "its certificate is not trusted: name a Secret with its ca.crt in spec.certSecretRef"
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Sprintf("there is no host %q", e.Name)
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Addr != nil {
		return fmt.Sprintf("%s of %s fails", e.Op, e.Addr)
	}
	if strings.HasSuffix(err.Error(), "changed while it was read") {
		return err.Error()
	}
	return "it does not speak the protocol of spec.provider"
}
