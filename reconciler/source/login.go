package source

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// Login gets credentials for a server of a cloud, as who is known to that
// cloud. Its errors hold no credentials.
type Login func(ctx context.Context, who Who) (Pass, error)

// Who asks a cloud for credentials, and for what.
type Who struct {
	Provider string // as in spec.provider
	Host     string // of the server, with its port if it has one
	Path     string // at the server
	// Namespace is that of the source; Account is the ServiceAccount in it that
	// the cloud knows. None is the controller itself.
	Namespace, Account string
}

// Pass is what lets in for a while: a name and a password, or a token alone.
type Pass struct {
	Username, Password string
	Until              time.Time
}

// Passes keeps the newest pass of a source. The zero value is empty. It is not
// safe for use by many goroutines.
type Passes struct {
	who  Who
	pass Pass
}

// Get returns a pass that is good for longer than a fetch takes. The error is
// one for the Loop.
func (p *Passes) Get(ctx context.Context, login Login, who Who) (Pass, error) {
	if login == nil {
		return Pass{}, reconciler.Final(reasonUnsupported, fmt.Errorf("spec.provider: %s is not served by this controller", who.Provider))
	}
	now := time.Now() //nolint:forbidigo // when a pass ends
	if p.who == who && now.Before(p.pass.Until.Add(-early)) {
		return p.pass, nil
	}
	pass, err := login(ctx, who)
	if err != nil {
		*p = Passes{}
		return Pass{}, reconciler.Temporary(reasonAuthentication, fmt.Errorf("spec.provider: %s gives no credentials: %w", who.Provider, err))
	}
	p.who, p.pass = who, pass
	return pass, nil
}

// cloud makes the credentials of f those that its cloud gives: a token alone. Of
// a Secret, only the authority of the server counts.
func (s *state) cloud(ctx context.Context, f *fetching) error {
	u, err := url.Parse(f.Spec.URL)
	if err != nil || u.Scheme != "https" {
		return &invalid{reasonURL, fmt.Errorf("spec.url: the provider %s needs an https address", f.Spec.Provider)}
	}
	pass, err := s.passes.Get(ctx, f.login, Who{
		Provider: f.Spec.Provider, Host: u.Host, Path: u.Path, Namespace: f.Namespace, Account: f.Spec.ServiceAccountName,
	})
	if err != nil {
		return &loginError{err}
	}
	f.secret = credentials{keyToken: []byte(pass.Password), keyCA: f.secret[keyCA]}
	return nil
}

// loginError is that a cloud gives no credentials. It is one for the Loop.
type loginError struct{ error }

// Drop forgets the pass: a server has refused it.
func (p *Passes) Drop() { *p = Passes{} }
