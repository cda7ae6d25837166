package kustomization

import (
	"context"
	"errors"
	"fmt"
	"strings"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/apply"
	"github.com/lockstep-dev/lockstep/reconciler/plan"
)

// local is who reads for a Kustomization in the controller's own cluster.
func (c *Controller) local(ks *kustomizev1.Kustomization) apply.Account {
	name := c.DefaultServiceAccount
	if ks.Spec.KubeConfig == nil { // otherwise the name is one of the other cluster
		name = or(ks.Spec.ServiceAccountName, name)
	}
	if name != "" {
		return apply.Account{Namespace: ks.Namespace, Name: name}
	}
	return c.Account
}

// unentitled names the way out if RBAC refuses who applies for a Kustomization
// that names no account. What admission refuses, no other account may do.
func (r *run) unentitled(err error) error {
	named := r.ks.Spec.ServiceAccountName != "" || r.ks.Spec.KubeConfig != nil
	if named || !apierrors.IsForbidden(err) || strings.Contains(err.Error(), " denied ") {
		return err
	}
	who := "with the controller's own rights"
	if a := r.local(r.ks); a.Name != "" {
		who = "as ServiceAccount " + a.Namespace + "/" + a.Name
	}
	way := "set it to a ServiceAccount of namespace " + r.ks.Namespace + " that may"
	if r.Permissive {
		return fmt.Errorf("%w: spec.serviceAccountName is empty, so it is applied %s, which --permissive-sync wants: give the controller the right, or %s", err, who, way)
	}
	return fmt.Errorf("%w: spec.serviceAccountName is empty, so it is applied %s: %s, or start the controller with --permissive-sync, as Flux does it", err, who, way)
}

// account is who applies for a Kustomization.
func (c *Controller) account(ks *kustomizev1.Kustomization) apply.Account {
	if ks.Spec.KubeConfig == nil {
		return c.local(ks)
	}
	a := apply.Account{Cluster: c.states.of(ks).cluster}
	if ks.Spec.ServiceAccountName != "" {
		a.Namespace, a.Name = ks.Namespace, ks.Spec.ServiceAccountName
	}
	return a
}

// target is the watch that sees an object of a kind in a namespace. The
// platform's account watches the whole cluster, unless it may not; a tenant's,
// its namespaces.
func (c *Controller) target(ks *kustomizev1.Kustomization, o plan.Object) apply.Target {
	account := c.account(ks)
	kind := o.Desired.GroupVersionKind()
	t := apply.Target{Account: account, Kind: kind, Rules: c.states.of(ks).compiled.rulesFor(kind.GroupKind())}
	if account.Name != "" && account != c.Account || c.watcher.Narrow(account, kind) {
		t.Namespace = o.ID.Namespace
	}
	return t
}

// connect makes the cluster of spec.kubeConfig known. The Secret or ConfigMap
// is read when its metadata changes, and then once.
func (c *Controller) connect(ctx context.Context, ks *kustomizev1.Kustomization) error {
	st := c.states.of(ks)
	id := ""
	if ks.Spec.KubeConfig != nil {
		from, err := connectionOf(ks)
		if err != nil {
			return err
		}
		m := &metav1.PartialObjectMetadata{}
		m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(from.kind))
		if err := c.Metadata.Get(ctx, client.ObjectKey{Namespace: ks.Namespace, Name: from.name}, m); err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		id = fmt.Sprintf("%s/%s/%s/%s/%s/%s", from.kind, ks.Namespace, from.name, from.key, m.UID, m.ResourceVersion)
		if id == st.cluster {
			return nil
		}
		config, err := c.config(ctx, ks, from)
		if err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		if err := c.Clients.Connect(id, config); err != nil {
			return err
		}
	}
	if was := st.cluster; was != id {
		st.cluster, st.rendered = id, rendered{}
		clear(st.applied)
		if was != "" && !c.states.uses(was) {
			c.Clients.Disconnect(was)
		}
	}
	return nil
}

// connection is where the way to another cluster is written.
type connection struct{ field, kind, namespace, name, key string }

func (c connection) String() string {
	return fmt.Sprintf("spec.kubeConfig.%s: %s %s/%s", c.field, c.kind, c.namespace, c.name)
}

func connectionOf(ks *kustomizev1.Kustomization) (connection, error) {
	switch kc := ks.Spec.KubeConfig; {
	case kc.SecretRef != nil && kc.ConfigMapRef != nil:
		return connection{}, errors.New("spec.kubeConfig: set secretRef or configMapRef, not both")
	case kc.SecretRef != nil:
		return connection{"secretRef", "Secret", ks.Namespace, kc.SecretRef.Name, kc.SecretRef.Key}, nil
	case kc.ConfigMapRef != nil:
		return connection{"configMapRef", "ConfigMap", ks.Namespace, kc.ConfigMapRef.Name, ""}, nil
	default:
		return connection{}, errors.New("spec.kubeConfig: set secretRef or configMapRef")
	}
}

// config reads the way to the cluster as the Kustomization's own account.
func (c *Controller) config(ctx context.Context, ks *kustomizev1.Kustomization, from connection) (*rest.Config, error) {
	reader, err := c.Clients.For(c.local(ks))
	if err != nil {
		return nil, err
	}
	data, err := reader.Data(ctx, from.kind, ks.Namespace, from.name)
	if err != nil {
		return nil, fmt.Errorf("read it: %w", err)
	}
	if from.kind == "ConfigMap" {
		return c.identityConfig(ctx, ks, data)
	}
	raw := data["value"]
	switch {
	case from.key != "":
		raw = data[from.key]
	case raw == "":
		raw = data["value.yaml"]
	}
	if raw == "" {
		return nil, fmt.Errorf("it has no key %q", or(from.key, "value"))
	}
	return parseKubeConfig(raw)
}

// parseKubeConfig reads the current context of a kubeconfig. Whatever would
// run a program, read a file of this container or leave the other end
// unverified is refused. Errors repeat nothing of it.
func parseKubeConfig(raw string) (*rest.Config, error) {
	config, err := clientcmd.Load([]byte(raw))
	if err != nil {
		return nil, errors.New("is no kubeconfig")
	}
	current := config.Contexts[config.CurrentContext]
	if current == nil || config.Clusters[current.Cluster] == nil {
		return nil, errors.New("the kubeconfig's current-context leads to no cluster")
	}
	user := config.AuthInfos[current.AuthInfo]
	if user == nil {
		user = &clientcmdapi.AuthInfo{}
	}
	to := config.Clusters[current.Cluster]
	for _, f := range []struct {
		set       bool
		name, way string
	}{
		{user.Exec != nil, "exec", "no program is run: use a token or a client certificate"},
		{user.AuthProvider != nil, "auth-provider", "use a token or a client certificate"},
		{user.TokenFile != "", "tokenFile", "use token"},
		{user.ClientCertificate != "", "client-certificate", "use client-certificate-data"},
		{user.ClientKey != "", "client-key", "use client-key-data"},
		{to.CertificateAuthority != "", "certificate-authority", "use certificate-authority-data"},
		{to.InsecureSkipTLSVerify, "insecure-skip-tls-verify", "use certificate-authority-data"},
		{!strings.HasPrefix(to.Server, "https://"), "server", "must begin with https://"},
	} {
		if f.set {
			return nil, fmt.Errorf("the kubeconfig's %s is refused: %s", f.name, f.way)
		}
	}
	made, err := clientcmd.NewDefaultClientConfig(*config, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, errors.New("the kubeconfig cannot be used: see its current-context, cluster and user")
	}
	return made, nil
}

// clusterIn returns the cluster of a kubeconfig's current context; nil if it
// leads to none.
func clusterIn(raw []byte) *clientcmdapi.Cluster {
	config, err := clientcmd.Load(raw)
	if err != nil || config.Contexts[config.CurrentContext] == nil {
		return nil
	}
	return config.Clusters[config.Contexts[config.CurrentContext].Cluster]
}
