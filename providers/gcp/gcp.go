package gcp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"path"
	"regexp"
	"strings"
	"time"

	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/egress"
)

// requestTimeout is how long one request may take: Google answers within a
// second, and a service that hangs must not hold up others.
const requestTimeout = 10 * time.Second

// Endpoints are where the services are, if not where Google has them. The zero
// value is Google.
type Endpoints struct {
	// SecretManager is host:port, for every location.
	SecretManager string
	// PubSub is host:port, for events.
	PubSub string
	// STS, IAM and IdentityBinding are URLs without a path.
	STS, IAM, IdentityBinding string
	// CA is PEM certificates that sign for all. Empty: those of the system.
	CA []byte
	// Ambient gives tokens of the controller's own identity, for stores
	// without auth that may use it. Nil: there is none.
	Ambient func(ctx context.Context) (token string, expires time.Time, err error)
}

// New returns the backend that talks to e.
func New(e Endpoints) providers.Open {
	return func(ctx context.Context, config providers.Config) (providers.Reader, error) {
		return open(ctx, e, config)
	}
}

// What becomes part of a host name or of the name of a resource.
var (
	locations = regexp.MustCompile(`^[a-z]+(-[a-z]+)*[0-9]+$`)
	projects  = regexp.MustCompile(`^([a-z][-a-z0-9.]{0,61}[a-z0-9](:[-a-z0-9]+)?|[0-9]+)$`)
	secretIDs = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,255}$`)
	versions  = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,63}$`) // numbers and aliases
)

// open checks the settings and gets a token.
func open(ctx context.Context, e Endpoints, config providers.Config) (providers.Reader, error) {
	p := config.Provider.GCPSM
	if p == nil {
		return nil, fmt.Errorf("spec.provider.gcpsm: %w: it is missing", providers.ErrInvalid)
	}
	project := p.ProjectID
	if project == "" && p.Auth.WorkloadIdentity != nil {
		project = p.Auth.WorkloadIdentity.ClusterProjectID
	}
	if !projects.MatchString(project) {
		return nil, fmt.Errorf("spec.provider.gcpsm.projectID: %w: %q is no project", providers.ErrInvalid, project)
	}
	if p.Location != "" && !locations.MatchString(p.Location) {
		return nil, fmt.Errorf("spec.provider.gcpsm.location: %w: %q is no location, such as europe-west3", providers.ErrInvalid, p.Location)
	}
	roots, err := e.roots()
	if err != nil {
		return nil, err
	}
	if !config.Ambient {
		e.Ambient = nil
	}
	x := exchange{endpoints: e, refs: config.References, http: egress.Client(egress.Options{Roots: roots, LinkLocal: config.LinkLocal, Timeout: requestTimeout})}
	fresh, err := x.method(ctx, p)
	if err != nil {
		return nil, err
	}
	tokens := newTokens(fresh)
	r := &reader{parent: "projects/" + project, service: "Secret Manager of project " + project, tokens: tokens, fetch: p.SecretVersionSelectionPolicy == esv1.GCPLatestOrFetch}
	host := "secretmanager.googleapis.com:443"
	if p.Location != "" {
		r.location, r.parent, r.service = p.Location, r.parent+"/locations/"+p.Location, r.service+" in "+p.Location
		host = "secretmanager." + p.Location + ".rep.googleapis.com:443"
	}
	if e.SecretManager != "" {
		host = e.SecretManager
	}
	r.pubsub = "pubsub.googleapis.com:443"
	if e.PubSub != "" {
		r.pubsub = e.PubSub
	}
	r.dial = func(host string) (*grpc.ClientConn, error) { return dial(host, roots, config.LinkLocal) }
	if r.client, err = r.connect(ctx, host); err != nil {
		return nil, err
	}
	if _, err := tokens.get(ctx, ""); err != nil {
		return nil, err
	}
	return r, nil
}

// roots returns who may sign for the services; nil is the system's.
func (e Endpoints) roots() (*x509.CertPool, error) {
	if len(e.CA) == 0 {
		return nil, nil //nolint:nilnil // nil is how x509 calls the system's
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(e.CA) {
		return nil, errors.New("the certificates for the Google endpoints: no PEM certificate in them")
	}
	return roots, nil
}

// dial makes a connection. Nothing is sent before the first request.
func dial(host string, roots *x509.CertPool, linkLocal bool) (*grpc.ClientConn, error) {
	guarded := egress.Dial(linkLocal)
	conn, err := grpc.NewClient("passthrough:///"+host,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return guarded(ctx, "tcp", address) }),
		grpc.WithDisableServiceConfig(),
		// Not the proxy of the environment, and no retries: the controllers
		// decide when to try again, for all stores alike.
		grpc.WithNoProxy(), grpc.WithDisableRetry(),
		grpc.WithUnaryInterceptor(count),
	)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", host, providers.ErrInvalid)
	}
	return conn, nil
}

// count counts calls, as External Secrets Operator names them.
//
//nolint:revive // the parameters are grpc.UnaryClientInterceptor's
func count(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, conn, options...)
	code := status.Code(err)
	if service, call := path.Split(method); strings.Contains(service, "secretmanager") {
		providers.Count(providers.Call{Provider: "GCP/SecretManager", Name: call, Failed: code != codes.OK && code != codes.NotFound})
	}
	return err
}

// connect makes a client of Secret Manager.
func (r *reader) connect(ctx context.Context, host string) (*secretmanager.Client, error) {
	conn, err := r.dial(host)
	if err != nil {
		return nil, err
	}
	client, err := secretmanager.NewClient(ctx, option.WithGRPCConn(conn))
	if err != nil {
		return nil, fmt.Errorf("make a client of Secret Manager: %w", providers.ErrInvalid)
	}
	*client.CallOptions = secretmanager.CallOptions{} // those of the library retry
	return client, nil
}

// reader is a store in Secret Manager.
type reader struct {
	client          *secretmanager.Client
	tokens          *tokens
	parent, service string
	location        string
	dial            func(host string) (*grpc.ClientConn, error)
	pubsub          string // host:port
	fetch           bool   // the newest version that is enabled, if the latest is not
}

// name returns what Google calls the secret at path.
func (r *reader) name(path string) (string, error) {
	if !secretIDs.MatchString(path) {
		return "", fmt.Errorf("remoteRef.key %q: %w: the name of a secret has letters, digits, - and _ only", path, providers.ErrInvalid)
	}
	return r.parent + "/secrets/" + path, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Read implements providers.Reader. A version is a number or an alias.
func (r *reader) Read(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	name, err := r.name(ref.Path)
	if err != nil {
		return providers.Value{}, err
	}
	version := ref.Version
	if version == "" {
		version = "latest"
	}
	if !versions.MatchString(version) {
		return providers.Value{}, fmt.Errorf("remoteRef.version %q: %w: a version of Secret Manager is a number or an alias", version, providers.ErrInvalid)
	}
	v, err := r.access(ctx, name+"/versions/"+version)
	if r.fetch && version == "latest" && errors.Is(err, errNotEnabled) {
		v, err = r.newest(ctx, name)
	}
	if err != nil {
		return providers.Value{}, fmt.Errorf("read secret %q: %w", ref.Path, err)
	}
	return v, nil
}

func (r *reader) access(ctx context.Context, version string) (providers.Value, error) {
	out, err := call(ctx, r, func(ctx context.Context) (*secretmanagerpb.AccessSecretVersionResponse, error) {
		return r.client.AccessSecretVersion(ctx, &secretmanagerpb.AccessSecretVersionRequest{Name: version})
	})
	if err != nil {
		return providers.Value{}, err
	}
	data := out.GetPayload().GetData()
	if p := out.GetPayload(); p == nil || (p.DataCrc32C != nil && p.GetDataCrc32C() != int64(crc32.Checksum(data, castagnoli))) {
		return providers.Value{}, fmt.Errorf("%w: what %s sent is not what it holds: the checksum differs", providers.ErrUnavailable, r.service)
	}
	return providers.NewValue(data), nil
}

// newest reads the newest version that is enabled.
func (r *reader) newest(ctx context.Context, name string) (providers.Value, error) {
	found, err := call(ctx, r, func(ctx context.Context) (*secretmanagerpb.SecretVersion, error) {
		return r.client.ListSecretVersions(ctx, &secretmanagerpb.ListSecretVersionsRequest{Parent: name, Filter: "state:ENABLED", PageSize: 1}).Next()
	})
	if err != nil {
		return providers.Value{}, err
	}
	return r.access(ctx, found.GetName())
}

// call makes a request, and makes it again with another token if the first was
// refused. Its errors are those of package providers.
func call[Out any](ctx context.Context, r *reader, request func(context.Context) (Out, error)) (Out, error) {
	token, err := r.tokens.get(ctx, "")
	if err != nil {
		var none Out
		return none, err
	}
	out, err := bounded(ctx, token, request)
	if status.Code(err) != codes.Unauthenticated || ctx.Err() != nil {
		return out, r.classify(ctx, err)
	}
	if token, err = r.tokens.get(ctx, token); err != nil {
		return out, err
	}
	out, err = bounded(ctx, token, request)
	return out, r.classify(ctx, err)
}

func bounded[Out any](ctx context.Context, token string, request func(context.Context) (Out, error)) (Out, error) {
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), requestTimeout)
	defer cancel()
	return request(ctx)
}
