package kubernetes

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/egress"
)

// kubeconfig is the part of one that is served. What would run a program or
// read a file of the controller is in others, and refused.
type kubeconfig struct {
	CurrentContext string `yaml:"current-context"`
	Contexts       []struct {
		Name    string
		Context struct{ Cluster, User string }
	}
	Clusters []struct {
		Name    string
		Cluster struct {
			Server string
			CA     string         `yaml:"certificate-authority-data"`
			Others map[string]any `yaml:",inline"`
		}
	}
	Users []struct {
		Name string
		User struct {
			Token  string
			Cert   string         `yaml:"client-certificate-data"`
			Key    string         `yaml:"client-key-data"`
			Others map[string]any `yaml:",inline"`
		}
	}
}

const configField = "spec.provider.kubernetes.authRef"

func refuse(format string, args ...any) error {
	return fmt.Errorf("%s: %w: "+format, append([]any{configField, providers.ErrInvalid}, args...)...)
}

// fromKubeconfig returns a client with what the kubeconfig in a Secret says.
func fromKubeconfig(ctx context.Context, config providers.Config) (*client, error) {
	v, err := config.References.Secret(ctx, *config.Provider.Kubernetes.AuthRef)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", configField, err)
	}
	var k kubeconfig
	if err := yaml.Unmarshal(v.Bytes(), &k); err != nil {
		// The error of the parser may hold a credential.
		return nil, refuse("what it refers to is no kubeconfig")
	}
	cluster, user, ok := k.current()
	if !ok {
		return nil, refuse("the kubeconfig has no context %q, or that has no cluster or user", k.CurrentContext)
	}
	c := &client{}
	o := egress.Options{LinkLocal: config.LinkLocal, Timeout: requestTimeout}
	if err := k.cluster(cluster, c, &o); err != nil {
		return nil, err
	}
	if err := k.user(user, c, &o); err != nil {
		return nil, err
	}
	c.http = counted(egress.Client(o))
	return c, nil
}

// current returns the indices of the cluster and the user of the context.
func (k *kubeconfig) current() (cluster, user int, ok bool) {
	cluster, user = -1, -1
	for _, c := range k.Contexts {
		if c.Name != k.CurrentContext {
			continue
		}
		for i := range k.Clusters {
			if k.Clusters[i].Name == c.Context.Cluster {
				cluster = i
			}
		}
		for i := range k.Users {
			if k.Users[i].Name == c.Context.User {
				user = i
			}
		}
	}
	return cluster, user, cluster >= 0 && user >= 0
}

func (k *kubeconfig) cluster(i int, c *client, o *egress.Options) error {
	from := k.Clusters[i].Cluster
	for name := range from.Others {
		return refuse("the cluster has %s, which is not supported: only server and certificate-authority-data are", name)
	}
	var err error
	if c.base, err = address(configField+": server", from.Server); err != nil {
		return err
	}
	bundle, err := base64.StdEncoding.DecodeString(from.CA)
	if err != nil {
		return refuse("certificate-authority-data is not base64")
	}
	o.Roots, err = pool(configField+": certificate-authority-data", bundle)
	return err
}

func (k *kubeconfig) user(i int, c *client, o *egress.Options) error {
	from := k.Users[i].User
	for name := range from.Others {
		return refuse("the user has %s, which is not supported: only token, client-certificate-data and client-key-data are", name)
	}
	if from.Token != "" {
		c.bearer = func(context.Context) (string, time.Time, error) { return from.Token, time.Time{}, nil }
		return nil
	}
	cert, errCert := base64.StdEncoding.DecodeString(from.Cert)
	key, errKey := base64.StdEncoding.DecodeString(from.Key)
	pair, err := tls.X509KeyPair(cert, key)
	if errCert != nil || errKey != nil || err != nil {
		return refuse("the user has neither a token nor a client certificate with its key")
	}
	o.Certificates = []tls.Certificate{pair}
	return nil
}
