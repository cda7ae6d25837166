package kustomization_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestKubeConfig(t *testing.T) {
	b := start(t)
	rest := cluster.Get(t).RestConfig()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: rest.Host, CertificateAuthorityData: rest.CAData}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: rest.BearerToken, ClientCertificateData: rest.CertData, ClientKeyData: rest.KeyData}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "x"
	write := func(change func(*clientcmdapi.Config)) {
		made := config.DeepCopy()
		change(made)
		raw, err := clientcmd.Write(*made)
		if err != nil {
			t.Fatal(err)
		}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "far"}, Data: map[string][]byte{"value": raw}}
		if err := b.Create(t.Context(), secret); apierrors.IsAlreadyExists(err) {
			err = b.Update(t.Context(), secret)
			if err != nil {
				t.Fatal(err)
			}
		} else if err != nil {
			t.Fatal(err)
		}
	}
	b.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "one")})
	b.create("far", func(s *kustomizev1.KustomizationSpec) {
		s.KubeConfig = &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: "far"}}
	})
	b.says("far", "False/ReconciliationFailed", "spec.kubeConfig.secretRef")
	for field, change := range map[string]func(*clientcmdapi.Config){
		"exec": func(c *clientcmdapi.Config) {
			c.AuthInfos["u"].Exec = &clientcmdapi.ExecConfig{Command: "/bin/sh", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: "Never"}
		},
		"tokenFile": func(c *clientcmdapi.Config) { c.AuthInfos["u"].TokenFile = "/var/run/secrets/token" },
		"server":    func(c *clientcmdapi.Config) { c.Clusters["c"].Server = "http://127.0.0.1:1" },
		"insecure":  func(c *clientcmdapi.Config) { c.Clusters["c"].InsecureSkipTLSVerify = true },
	} {
		write(change)
		eventually(t, 10*time.Second, field+" to be refused", func() bool {
			text := message(b.ready("far", "False/ReconciliationFailed"))
			return strings.Contains(text, field) && strings.Contains(text, "is refused")
		})
	}
	write(func(*clientcmdapi.Config) {})
	b.ready("far", "True")
	if b.gone("a") {
		t.Error("nothing was applied")
	}
	edit("a", "someone", setKey("edited"))(b)
	eventually(t, 2*time.Second, "drift in the other cluster to be put right", func() bool { return has("a", "one")(b) })
}

// TestKubeConfigByIdentity reaches a cluster by a token of a ServiceAccount of
// ours, which that cluster trusts: here it is the same one.
func TestKubeConfigByIdentity(t *testing.T) {
	b := start(t)
	rest := cluster.Get(t).RestConfig()
	write := func(change map[string]string) {
		data := map[string]string{"provider": "generic", "address": rest.Host, "ca.crt": string(rest.CAData), "audiences": cluster.Get(t).Issuer(), "serviceAccountName": "far"}
		maps.Copy(data, change)
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "far"}, Data: data}
		if err := b.Create(t.Context(), cm); apierrors.IsAlreadyExists(err) {
			err = b.Update(t.Context(), cm)
			if err != nil {
				t.Fatal(err)
			}
		} else if err != nil {
			t.Fatal(err)
		}
	}
	b.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "one")})
	b.create("far", func(s *kustomizev1.KustomizationSpec) {
		s.KubeConfig = &meta.KubeConfigReference{ConfigMapRef: &meta.LocalObjectReference{Name: "far"}}
	})
	b.says("far", "False/ReconciliationFailed", "spec.kubeConfig.configMapRef")
	for _, c := range []struct {
		want   string
		change map[string]string
	}{
		{`provider "acme"`, map[string]string{"provider": "acme"}},
		{"address", map[string]string{"address": "http://127.0.0.1:1"}},
		{"serviceAccountName is missing", map[string]string{"serviceAccountName": ""}},
		{`serviceaccounts "far" not found`, nil},
	} {
		write(c.change)
		eventually(t, 20*time.Second, c.want+" to be refused", func() bool {
			return strings.Contains(message(b.ready("far", "False/ReconciliationFailed")), c.want)
		})
	}
	for _, o := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "far"}},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "far"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: b.ns, Name: "far"}},
		},
	} {
		if err := b.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	b.ready("far", "True")
	if b.gone("a") {
		t.Error("nothing was applied")
	}
}
