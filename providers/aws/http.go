package aws

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/egress"
)

const (
	// requestTimeout is how long one request may take: AWS answers within a
	// second, and a service that hangs must not hold up others.
	requestTimeout = 10 * time.Second
	// maxBody is how large an answer may be: a batch has 20 secrets of 64 KiB,
	// and JSON can make six bytes of one.
	// Source: https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html
	maxBody = 8 << 20
)

// newHTTPClient returns what all requests of a store go through. ca is PEM
// certificates to trust, or nil for those of the system.
func newHTTPClient(ca []byte, linkLocal bool) (*http.Client, error) {
	var roots *x509.CertPool
	if len(ca) > 0 {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(ca) {
			return nil, errors.New("the certificates for the AWS endpoints: no PEM certificate in them")
		}
	}
	client := egress.Client(egress.Options{Roots: roots, LinkLocal: linkLocal, Timeout: requestTimeout})
	client.Transport = limited{providers.Counted{Next: client.Transport, Name: callName}}
	return client, nil
}

// services are those whose calls are counted, as External Secrets Operator
// names them, by what X-Amz-Target begins with.
var services = map[string]string{"secretsmanager": "AWS/SecretsManager", "AmazonSSM": "AWS/ParameterStore"} //nolint:gosec // G101: names of services

// callName names the service and the call of a request.
func callName(r *http.Request) (string, string) {
	service, call, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	return services[service], call
}

// signer signs requests, and keeps nothing. That of the SDK keeps what it
// derives from a secret key under the key's id, for the day: a secret that was
// wrong and has been put right would not be seen.
type signer struct{}

// SignHTTP implements the HTTPSignerV4 of each service.
//
//nolint:revive // the parameters are the SDK's
func (signer) SignHTTP(ctx context.Context, keys aws.Credentials, r *http.Request, bodyHash, service, region string, at time.Time, options ...func(*v4.SignerOptions)) error {
	return v4.NewSigner().SignHTTP(ctx, keys, r, bodyHash, service, region, at, options...) //nolint:wrapcheck // the SDK wraps it
}

// limited cuts bodies off at maxBody: what is cut does not parse.
type limited struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.next.RoundTrip(r)
	if err != nil {
		return nil, err //nolint:wrapcheck // http.Client wraps it
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer.Body, maxBody), answer.Body}
	return answer, nil
}
