package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/lockstep-dev/lockstep/test/servers/serve"
)

// server is all projects.
type server struct {
	secretmanagerpb.UnimplementedSecretManagerServiceServer

	control serve.Control
	keys    *keySet // of the issuer of ServiceAccounts
	aws     *keySet // only its client and URL: where AWS says who signed

	mu         sync.Mutex
	secrets    map[string]*secret    // by name
	tokens     map[string]access     // by value
	principals map[string]*principal // by name
}

// secret is a secret with its versions, whose number is the index plus 1.
type secret struct {
	about    *secretmanagerpb.Secret
	versions []*version
}

type version struct {
	state secretmanagerpb.SecretVersion_State
	data  []byte
}

// principal is who may do something.
type principal struct {
	// Name: the email of a service account, or the subject of a federated
	// identity.
	Name string `json:"name"`
	// Allow are patterns of the ids of secrets, in which a * stands for anything
	// but a slash. Empty: all.
	Allow []string `json:"allow,omitempty"`
	// ActAs are the principals that may have tokens of this service account.
	ActAs []string `json:"actAs,omitempty"`
	// PublicKey of a service account, as PEM.
	PublicKey string `json:"publicKey,omitempty"`
	// Seconds that its tokens live. 0: an hour.
	Seconds int `json:"seconds,omitempty"`
}

// access is what a token stands for.
type access struct {
	by      string // a principal
	expires time.Time
}

func newServer(keys, aws *keySet) *server {
	return &server{keys: keys, aws: aws, secrets: map[string]*secret{}, tokens: map[string]access{}, principals: map[string]*principal{}}
}

// issue makes a token of a principal; mu is held.
func (s *server) issue(by string) (value string, seconds int) {
	seconds = 3600
	if p := s.principals[by]; p != nil && p.Seconds > 0 {
		seconds = p.Seconds
	}
	value = "ya29." + random(24)
	s.tokens[value] = access{by: by, expires: time.Now().Add(time.Duration(seconds) * time.Second)}
	return value, seconds
}

type callerKey struct{}

// intercept counts, fails on demand, and finds out who calls.
func (s *server) intercept(ctx context.Context, in any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	operation := path.Base(info.FullMethod)
	if f := s.control.Begin((&http.Request{}).WithContext(ctx), operation); f != nil {
		return nil, status.Error(codeNamed(f.Code), "as the test asked for")
	}
	md, _ := metadata.FromIncomingContext(ctx)
	s.mu.Lock()
	defer s.mu.Unlock() // the operations are short, and one at a time is enough
	token, ok := access{}, false
	if a := md.Get("authorization"); len(a) == 1 {
		token, ok = s.tokens[strings.TrimPrefix(a[0], "Bearer ")]
	}
	if !ok || time.Now().After(token.expires) {
		return nil, status.Error(codes.Unauthenticated, "Request had invalid authentication credentials.")
	}
	return handle(context.WithValue(ctx, callerKey{}, token.by), in)
}

// codeNamed returns the code of a fault; Unavailable if it has no such name.
func codeNamed(name string) codes.Code {
	for c := codes.Canceled; c <= codes.Unauthenticated; c++ {
		if c.String() == name {
			return c
		}
	}
	return codes.Unavailable
}

// authorize returns PermissionDenied unless the caller may use the secret of
// that id. What it may not use, it cannot probe for either.
func (s *server) authorize(ctx context.Context, id string) error {
	by, _ := ctx.Value(callerKey{}).(string)
	p := s.principals[by]
	if p != nil {
		if len(p.Allow) == 0 {
			return nil
		}
		for _, pattern := range p.Allow {
			if ok, _ := path.Match(pattern, id); ok || id == "" {
				return nil
			}
		}
	}
	return status.Errorf(codes.PermissionDenied, "Permission 'secretmanager.versions.access' denied for resource '%s' (or it may not exist).", id)
}

// find returns the secret of that name if the caller may use it.
func (s *server) find(ctx context.Context, name string) (*secret, error) {
	if err := s.authorize(ctx, path.Base(name)); err != nil {
		return nil, err
	}
	found := s.secrets[name]
	if found == nil {
		return nil, status.Errorf(codes.NotFound, "Secret [%s] not found.", name)
	}
	return found, nil
}

// random returns n random bytes in hexadecimal digits.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
