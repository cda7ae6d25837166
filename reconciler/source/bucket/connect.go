package bucket

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/source"
)

// Condition reasons.
const (
	reasonUnsupported    = "UnsupportedField"
	reasonAuthentication = sourcev1.AuthenticationFailedReason
)

// secretsOf is what the Secrets of a bucket hold.
type secretsOf struct{ own, certs, proxy, sts, stsCerts map[string][]byte }

// connect makes r.State.server what the spec and its Secrets say.
func (f *fetcher) connect(ctx context.Context, r *run) error {
	if err := supported(r.Object); err != nil {
		return reconciler.Final(reasonUnsupported, err)
	}
	secrets, err := read(ctx, r)
	if err != nil {
		return err
	}
	spec := r.Object.Spec
	by := fmt.Sprintf("%q %q %q %v %+v\n%s", spec.Provider, spec.Endpoint, spec.Region, spec.Insecure, spec.STS, secrets)
	if r.State.server != nil && r.State.serverOf == by {
		return nil
	}
	next, err := f.open(r.Object, secrets)
	if err != nil {
		return err
	}
	if r.State.server != nil {
		r.State.server.close()
	}
	r.State.server, r.State.serverOf = next, by
	return nil
}

// String is equal for equal content. It is never shown.
func (s secretsOf) String() string {
	var b strings.Builder
	for _, data := range []map[string][]byte{s.own, s.certs, s.proxy, s.sts, s.stsCerts} {
		for _, key := range slices.Sorted(maps.Keys(data)) {
			fmt.Fprintf(&b, "%q=%q\n", key, data[key])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func read(ctx context.Context, r *run) (s secretsOf, err error) {
	if s.own, err = r.Secret(ctx, "spec.secretRef", r.Object.Spec.SecretRef); err != nil {
		return s, err
	}
	if s.certs, err = r.Secret(ctx, "spec.certSecretRef", r.Object.Spec.CertSecretRef); err != nil {
		return s, err
	}
	if s.proxy, err = r.Secret(ctx, "spec.proxySecretRef", r.Object.Spec.ProxySecretRef); err != nil {
		return s, err
	}
	if r.Object.Spec.STS == nil {
		return s, nil
	}
	if s.sts, err = r.Secret(ctx, "spec.sts.secretRef", r.Object.Spec.STS.SecretRef); err != nil {
		return s, err
	}
	s.stsCerts, err = r.Secret(ctx, "spec.sts.certSecretRef", r.Object.Spec.STS.CertSecretRef)
	return s, err
}

// supported refuses what nothing here acts on.
func supported(b *sourcev1.Bucket) error {
	const own = "it would be the controller's own identity: use spec.secretRef"
	switch {
	case b.Spec.Provider == sourcev1.BucketProviderAzure:
		return errors.New("spec.provider: azure is not supported: use a bucket that is reached by S3 or Google's API")
	case b.Spec.ServiceAccountName != "":
		return errors.New("spec.serviceAccountName is not supported: use a Secret in spec.secretRef")
	case b.Spec.STS != nil && b.Spec.STS.Provider != sourcev1.STSProviderLDAP:
		return fmt.Errorf("spec.sts.provider: %s is not supported, as %s", b.Spec.STS.Provider, own)
	case b.Spec.SecretRef == nil && (b.Spec.Provider == sourcev1.BucketProviderAmazon || b.Spec.Provider == sourcev1.BucketProviderGoogle):
		return fmt.Errorf("spec.provider: %s without a Secret is not supported, as %s", b.Spec.Provider, own)
	default:
		return nil
	}
}

func (f *fetcher) open(b *sourcev1.Bucket, s secretsOf) (server, error) {
	if u, err := url.Parse("//" + b.Spec.Endpoint); err != nil || u.Host != b.Spec.Endpoint {
		return nil, reconciler.Final(sourcev1.URLInvalidReason, fmt.Errorf("spec.endpoint: %q is not an address: write it as HOST or HOST:PORT, without https://", b.Spec.Endpoint))
	}
	config, err := source.TLS("spec.certSecretRef", s.certs)
	if err != nil {
		return nil, err
	}
	proxy, err := source.Proxy(s.proxy)
	if err != nil {
		return nil, err
	}
	if b.Spec.Provider == sourcev1.BucketProviderGoogle {
		plain := source.Plain{Requests: b.Spec.Insecure, Credentials: f.options.AllowHTTPCredentials}
		return newGCS(b, s.own, source.Transport(config, proxy, plain))
	}
	// S3 signs requests and sends no secret; what is in the bucket goes in clear.
	plain := source.Plain{Requests: b.Spec.Insecure, Credentials: b.Spec.Insecure}
	keys, err := f.keys(b, s, proxy)
	if err != nil {
		return nil, err
	}
	return newS3(b, keys, source.Transport(config, proxy, plain))
}

// answerError is a refusal by a service, without its words: they may repeat
// what was sent.
type answerError struct {
	status int
	code   string // of S3
}

func (e *answerError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("the service answers %d %s %s", e.status, http.StatusText(e.status), e.code))
}

func (e *answerError) outcome(of string, later time.Duration) error {
	switch {
	case e.code == codeNoBucket || e.status == http.StatusNotFound:
		return reconciler.Wait(sourcev1.BucketOperationFailedReason, later, fmt.Errorf("%s: there is no such bucket: check spec.bucketName and spec.endpoint", of))
	case e.status == http.StatusUnauthorized || e.status == http.StatusForbidden:
		return reconciler.Wait(reasonAuthentication, later, fmt.Errorf("%s: %w: put credentials that may list and read it into the Secret of spec.secretRef", of, e))
	default:
		return reconciler.Temporary(sourcev1.BucketOperationFailedReason, fmt.Errorf("%s: %w", of, e))
	}
}

func plainest(err error) error {
	if errors.Is(err, source.ErrPlainCredentials) {
		return source.ErrPlainCredentials
	}
	return source.ErrPlain
}
