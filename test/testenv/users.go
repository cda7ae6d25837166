package testenv

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// user makes a client certificate, and returns the configuration with it and
// the path of a kubeconfig.
func (c *ControlPlane) user(name string, groups ...string) (*rest.Config, string, error) {
	pair, err := c.ca.client(name, groups...)
	if err != nil {
		return nil, "", err
	}
	config := &rest.Config{Host: c.Issuer(), QPS: -1, WarningHandler: rest.NoWarnings{}, TLSClientConfig: rest.TLSClientConfig{
		CAData: c.ca.pem, CertData: pair.cert, KeyData: pair.key,
	}}
	path := filepath.Join(c.dir, strings.ReplaceAll(name, ":", "-")+".kubeconfig")
	return config, path, writeKubeconfig(path, config)
}

// User returns the configuration of a person with a client certificate, in the
// given groups. It has no rights but those that RBAC gives.
func (c *ControlPlane) User(name string, groups ...string) (*rest.Config, error) {
	config, _, err := c.user(name, groups...)
	if err != nil {
		return nil, fmt.Errorf("testenv: user %s: %w", name, err)
	}
	return config, nil
}

// WriteKubeconfig writes config as a kubeconfig file to path.
func WriteKubeconfig(path string, config *rest.Config) error {
	if err := writeKubeconfig(path, config); err != nil {
		return fmt.Errorf("testenv: %w", err)
	}
	return nil
}

func writeKubeconfig(path string, config *rest.Config) error {
	const name = "lockstep"
	file := api.NewConfig()
	file.Clusters[name] = &api.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	file.AuthInfos[name] = &api.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Token: config.BearerToken}
	file.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name}
	file.CurrentContext = name
	if err := clientcmd.WriteToFile(*file, path); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}

// ServiceAccount returns the configuration of a ServiceAccount, which it makes
// if it is not there. Its token lives an hour.
func (c *ControlPlane) ServiceAccount(ctx context.Context, namespace, name string) (*rest.Config, error) {
	token, err := c.Token(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	return &rest.Config{Host: c.Issuer(), QPS: -1, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: c.CA()}}, nil
}

// Token returns a token of a ServiceAccount, which it makes if it is not
// there, for the given audiences; for none, it is for the API server.
func (c *ControlPlane) Token(ctx context.Context, namespace, name string, audiences ...string) (string, error) {
	accounts := c.Client.CoreV1().ServiceAccounts(namespace)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := accounts.Create(ctx, account, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("testenv: service account %s/%s: %w", namespace, name, err)
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
	answer, err := accounts.CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("testenv: token of service account %s/%s: %w", namespace, name, err)
	}
	if answer.Status.Token == "" {
		return "", errors.New("testenv: the API server gave an empty token")
	}
	return answer.Status.Token, nil
}

// Namespace makes a namespace for one test, and deletes it when t ends. With
// Controllers, pods can be created in it at once.
func (c *ControlPlane) Namespace(t testing.TB) string {
	t.Helper()
	namespaces := c.Client.CoreV1().Namespaces()
	ns, err := namespaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("testenv: make a namespace: %v", err)
	}
	t.Cleanup(func() {
		if err := namespaces.Delete(context.WithoutCancel(t.Context()), ns.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("testenv: delete namespace %s: %v", ns.Name, err)
		}
	})
	if c.opts.Controllers {
		if err := c.waitForServiceAccount(t.Context(), ns.Name); err != nil {
			t.Fatalf("testenv: %v", err)
		}
	}
	return ns.Name
}
