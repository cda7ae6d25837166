package kubernetes

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"slices"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/egress"
)

// ownServer is the API server of the cluster that the controller runs in, and
// ownAudiences are what it accepts unless it was told otherwise.
const ownServer = "kubernetes.default"

var ownAudiences = []string{"https://kubernetes.default.svc.cluster.local", "https://kubernetes.default.svc"}

// isOwn reports whether a URL is that of the cluster's own API server.
func isOwn(u *url.URL) bool {
	return slices.Contains([]string{ownServer, ownServer + ".svc", ownServer + ".svc.cluster.local"}, u.Hostname())
}

// newClient returns a client with what auth or authRef says.
func newClient(ctx context.Context, config providers.Config) (*client, error) {
	p := config.Provider.Kubernetes
	switch {
	case p.AuthRef != nil && p.Auth != nil:
		return nil, fmt.Errorf("spec.provider.kubernetes.authRef: %w: set it or auth, not both", providers.ErrInvalid)
	case p.AuthRef != nil:
		return fromKubeconfig(ctx, config)
	case p.Auth == nil:
		return nil, fmt.Errorf("spec.provider.kubernetes.auth: %w: set serviceAccount, token or cert; the controller's own identity is never used", providers.ErrInvalid)
	}
	if err := one(p.Auth); err != nil {
		return nil, err
	}
	text := p.Server.URL
	if text == "" {
		text = ownServer
	}
	base, err := address("spec.provider.kubernetes.server.url", text)
	if err != nil {
		return nil, err
	}
	roots, err := authority(ctx, p, base, config.References)
	if err != nil {
		return nil, err
	}
	c := &client{base: base}
	o := egress.Options{Roots: roots, LinkLocal: config.LinkLocal, Timeout: requestTimeout}
	switch auth := p.Auth; {
	case auth.Cert != nil:
		pair, err := certificate(ctx, *auth.Cert, config.References)
		if err != nil {
			return nil, err
		}
		o.Certificates = []tls.Certificate{pair}
	case auth.Token != nil:
		c.bearer = fixed(auth.Token.BearerToken, config.References)
	case auth.ServiceAccount != nil:
		if c.bearer, err = account(*auth.ServiceAccount, base, config.References); err != nil {
			return nil, err
		}
	}
	c.http = counted(egress.Client(o))
	_, err = c.valid(ctx)
	return c, err
}

// one returns an error unless there is one way in.
func one(auth *esv1.KubernetesAuth) error {
	n := 0
	for _, set := range []bool{auth.Cert != nil, auth.Token != nil, auth.ServiceAccount != nil} {
		if set {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("spec.provider.kubernetes.auth: %w: it has %d ways in; set one of serviceAccount, token and cert", providers.ErrInvalid, n)
	}
	return nil
}

// authority returns who may sign for the server. For the cluster's own it is
// in a ConfigMap of every namespace.
func authority(ctx context.Context, p *esv1.KubernetesProvider, base *url.URL, refs providers.References) (*x509.CertPool, error) {
	const field = "spec.provider.kubernetes.server."
	ref := p.Server.CAProvider
	if len(p.Server.CABundle) > 0 {
		if ref != nil {
			providers.Warn(ctx, field+"caProvider: it makes no difference: caBundle counts; remove one of them")
		}
		return pool(field+"caBundle", p.Server.CABundle)
	}
	if ref == nil && isOwn(base) {
		ref = &esv1.CAProvider{Type: esv1.CAConfigMap, Name: "kube-root-ca.crt", Key: "ca.crt", Namespace: namespaceOf(p.Auth)}
	}
	if ref == nil {
		return nil, nil
	}
	bundle, err := refs.CA(ctx, *ref)
	if err != nil {
		return nil, fmt.Errorf("%scaProvider: %w", field, err)
	}
	return providers.Authorities(field+"caProvider", bundle)
}

// namespaceOf returns the one that the way in names, for a ClusterSecretStore.
func namespaceOf(auth *esv1.KubernetesAuth) *string {
	switch {
	case auth.ServiceAccount != nil:
		return auth.ServiceAccount.Namespace
	case auth.Token != nil:
		return auth.Token.BearerToken.Namespace
	case auth.Cert != nil:
		return auth.Cert.ClientCert.Namespace
	}
	return nil
}

func certificate(ctx context.Context, auth esv1.KubernetesCertAuth, refs providers.References) (tls.Certificate, error) {
	read := func(field string, ref esv1.SecretKeySelector, otherwise string) ([]byte, error) {
		if ref.Key == "" {
			ref.Key = otherwise
		}
		v, err := refs.Secret(ctx, ref)
		if err != nil {
			return nil, fmt.Errorf("spec.provider.kubernetes.auth.cert.%s: %w", field, err)
		}
		return v.Bytes(), nil
	}
	cert, err := read("clientCert", auth.ClientCert, "tls.crt")
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := read("clientKey", auth.ClientKey, "tls.key")
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		// The error of the parser is not repeated: it may hold a part of the key.
		return pair, fmt.Errorf("spec.provider.kubernetes.auth.cert: %w: what it refers to is no PEM certificate with its key", providers.ErrInvalid)
	}
	return pair, nil
}

// fixed takes the token from a Secret, anew each time: it may hold another.
func fixed(ref esv1.SecretKeySelector, refs providers.References) func(context.Context) (string, time.Time, error) {
	if ref.Key == "" {
		ref.Key = "token"
	}
	return func(ctx context.Context) (string, time.Time, error) {
		v, err := refs.Secret(ctx, ref)
		if err != nil {
			return "", time.Time{}, fmt.Errorf("spec.provider.kubernetes.auth.token.bearerToken: %w", err)
		}
		trimmed := bytes.TrimSpace(v.Bytes())
		if len(trimmed) == 0 || bytes.ContainsAny(trimmed, "\r\n\x00") {
			return "", time.Time{}, fmt.Errorf("spec.provider.kubernetes.auth.token.bearerToken: %w: what it refers to is empty or has several lines", providers.ErrInvalid)
		}
		return string(trimmed), time.Time{}, nil
	}
}

// account asks for a token of a ServiceAccount.
func account(ref esv1.ServiceAccountSelector, base *url.URL, refs providers.References) (func(context.Context) (string, time.Time, error), error) {
	const field = "spec.provider.kubernetes.auth.serviceAccount"
	audiences := ref.Audiences
	if len(audiences) == 0 && !isOwn(base) {
		return nil, fmt.Errorf("%s.audiences: %w: set what the API server at %s accepts: a token for this cluster must not be sent there", field, providers.ErrInvalid, base.Host)
	}
	if len(audiences) == 0 {
		audiences = ownAudiences
	}
	return func(ctx context.Context) (string, time.Time, error) {
		v, until, err := refs.Token(ctx, ref, audiences, 0)
		if err != nil {
			return "", time.Time{}, fmt.Errorf("%s: %w", field, err)
		}
		return string(v.Bytes()), until, nil
	}, nil
}
