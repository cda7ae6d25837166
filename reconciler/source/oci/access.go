package oci

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	corev1 "k8s.io/api/core/v1"

	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/source"
)

// connect makes r.State.registry what the spec and its Secrets say.
func (f *fetcher) connect(ctx context.Context, r *run, repository name.Repository) (*registry, error) {
	certs, err := r.Secret(ctx, "spec.certSecretRef", r.Object.Spec.CertSecretRef)
	if err != nil {
		return nil, err
	}
	proxySecret, err := r.Secret(ctx, "spec.proxySecretRef", r.Object.Spec.ProxySecretRef)
	if err != nil {
		return nil, err
	}
	configs, err := f.pullSecrets(ctx, r)
	if err != nil {
		return nil, err
	}
	pass, err := f.pass(ctx, r, repository)
	if err != nil {
		return nil, err
	}
	parts := []string{r.Object.Spec.URL, fmt.Sprint(r.Object.Spec.Insecure), sorted(certs), sorted(proxySecret), pass.Username, pass.Password}
	for _, c := range configs {
		parts = append(parts, sorted(c.data))
	}
	by := strings.Join(parts, "\n")
	if r.State.registry != nil && r.State.registryOf == by {
		return r.State.registry, nil
	}
	auth, err := authenticator(configs, repository)
	if err != nil {
		return nil, err
	}
	if pass != (source.Pass{}) {
		auth = &authn.Basic{Username: pass.Username, Password: pass.Password}
	}
	config, err := source.TLS("spec.certSecretRef", certs)
	if err != nil {
		return nil, err
	}
	proxy, err := source.Proxy(proxySecret)
	if err != nil {
		return nil, err
	}
	plain := source.Plain{Requests: r.Object.Spec.Insecure, Credentials: f.options.AllowHTTPCredentials}
	reg, err := newRegistry(repository, source.Transport(config, proxy, plain), auth)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Object.Spec.URL, err)
	}
	r.State.registry, r.State.registryOf, r.State.verified = reg, by, ""
	return reg, nil
}

// byCloud reports whether a cloud gives the credentials: one does that is named,
// if there is no Secret.
func byCloud(o *sourcev1.OCIRepository) bool {
	return o.Spec.Provider != "" && o.Spec.Provider != sourcev1.GenericOCIProvider && o.Spec.SecretRef == nil
}

// pass is what a cloud gives; zero without one.
func (f *fetcher) pass(ctx context.Context, r *run, repository name.Repository) (source.Pass, error) {
	if !byCloud(r.Object) {
		return source.Pass{}, nil
	}
	return r.State.passes.Get(ctx, f.options.Login, source.Who{
		Provider: r.Object.Spec.Provider, Host: repository.RegistryStr(), Path: repository.RepositoryStr(),
		Namespace: r.Object.Namespace, Account: r.Object.Spec.ServiceAccountName,
	})
}

// pullSecret is the content of a Secret with credentials of registries.
type pullSecret struct {
	field string
	data  map[string][]byte
}

// pullSecrets reads those of the spec, and those of its ServiceAccount.
func (f *fetcher) pullSecrets(ctx context.Context, r *run) ([]pullSecret, error) {
	var all []pullSecret
	if r.Object.Spec.SecretRef != nil {
		data, err := r.Secret(ctx, "spec.secretRef", r.Object.Spec.SecretRef)
		if err != nil {
			return nil, err
		}
		all = append(all, pullSecret{"spec.secretRef", data})
	}
	if r.Object.Spec.ServiceAccountName == "" || byCloud(r.Object) {
		return all, nil
	}
	account, err := r.Account(ctx, r.Object.Spec.ServiceAccountName)
	if err != nil {
		return nil, reconciler.Wait(reasonAuthentication, r.Object.Spec.Interval.Duration, err)
	}
	for i, ref := range account.ImagePullSecrets {
		field := fmt.Sprintf("imagePullSecrets[%d] of ServiceAccount %s/%s", i, account.Namespace, account.Name)
		data, err := r.Secret(ctx, field, &meta.LocalObjectReference{Name: ref.Name})
		if err != nil {
			return nil, err
		}
		all = append(all, pullSecret{field, data})
	}
	return all, nil
}

// authenticator returns the credentials for a repository, of the first Secret
// that has some.
func authenticator(secrets []pullSecret, repository name.Repository) (authn.Authenticator, error) {
	for _, s := range secrets {
		found, err := credentials(s, repository)
		if err != nil || found != nil {
			return found, err
		}
	}
	if len(secrets) == 1 && secrets[0].field == "spec.secretRef" {
		return nil, reconciler.Final(reasonAuthentication, fmt.Errorf("spec.secretRef: the Secret has no credentials for %s: add them under auths", repository.RegistryStr()))
	}
	return authn.Anonymous, nil
}

// credentials returns those of a Secret for a repository: of the entry whose
// host and path fit, the longest. Nil if there are none.
func credentials(s pullSecret, repository name.Repository) (authn.Authenticator, error) {
	var config struct {
		Auths map[string]authn.AuthConfig `json:"auths"`
	}
	text := s.data[corev1.DockerConfigJsonKey]
	if err := json.Unmarshal(text, &config); err != nil { // whose text may repeat what is in it
		return nil, reconciler.Final(reasonAuthentication, fmt.Errorf("%s: the Secret has no %s that can be read: make it with 'kubectl create secret docker-registry'", s.field, corev1.DockerConfigJsonKey))
	}
	var best string
	var found authn.Authenticator
	for entry, auth := range config.Auths {
		if at, ok := fits(entry, repository); ok && (found == nil || len(at) > len(best)) {
			best, found = at, authn.FromConfig(auth)
		}
	}
	return found, nil
}

// fits reports whether an entry of a Docker configuration is about a
// repository, as the kubelet understands it.
// Source: https://kubernetes.io/docs/concepts/containers/images/#config-json
func fits(entry string, repository name.Repository) (string, bool) {
	entry = strings.TrimPrefix(strings.TrimPrefix(entry, "https://"), "http://")
	host, at, _ := strings.Cut(strings.TrimSuffix(entry, "/"), "/")
	if at == "v1" || at == "v2" {
		at = ""
	}
	want := repository.RegistryStr()
	if want == name.DefaultRegistry && (host == "docker.io" || host == "registry-1.docker.io") {
		host = want
	}
	same, err := path.Match(host, want)
	inside := at == "" || repository.RepositoryStr() == at || strings.HasPrefix(repository.RepositoryStr(), at+"/")
	return host + "/" + at, err == nil && same && inside && strings.Count(host, ".") == strings.Count(want, ".")
}

// statusError is a refusal by a registry, without its words: they may repeat
// what was sent.
type statusError struct{ status int }

func (e *statusError) Error() string {
	return fmt.Sprintf("the registry answers %d %s", e.status, http.StatusText(e.status))
}

func asStatus(err error) error {
	if t, ok := errors.AsType[*transport.Error](err); ok {
		return &statusError{t.StatusCode}
	}
	return err
}

func (e *statusError) outcome(o *sourcev1.OCIRepository) error {
	later := o.Spec.Interval.Duration
	switch e.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		way := "name a Secret with credentials in spec.secretRef"
		switch {
		case byCloud(o):
			way = "give the identity that " + o.Spec.Provider + " knows the right to pull it"
		case o.Spec.SecretRef != nil || o.Spec.ServiceAccountName != "":
			way = "put the right credentials into the Secret " + cmp.Or(secretName(o), "that the ServiceAccount names")
		}
		return reconciler.Wait(reasonAuthentication, later, fmt.Errorf("%s: the registry refuses to show it: %s", o.Spec.URL, way))
	case http.StatusNotFound:
		return reconciler.Wait(reasonPull, later, fmt.Errorf("%s: there is no such artifact: check spec.url and spec.ref", o.Spec.URL))
	default:
		return reconciler.Temporary(reasonPull, fmt.Errorf("%s: %w", o.Spec.URL, e))
	}
}

func secretName(o *sourcev1.OCIRepository) string {
	if o.Spec.SecretRef == nil {
		return ""
	}
	return o.Namespace + "/" + o.Spec.SecretRef.Name
}

// redact takes credentials out of a text that a library made.
func redact(text string, r *registry) string {
	if r == nil || r.auth == nil {
		return text
	}
	config, err := r.auth.Authorization()
	if err != nil {
		return text
	}
	for _, value := range []string{config.Password, config.Auth, config.IdentityToken, config.RegistryToken} {
		if value != "" {
			text = strings.ReplaceAll(text, value, "[secret]")
		}
	}
	return text
}
