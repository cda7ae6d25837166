package e2e

import (
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// settings is a cluster of its own for controllers with one setting or other.
type settings struct {
	*testing.T
	cluster *testenv.ControlPlane
	client  client.Client
}

const settingsNamespace = "sealing"

func newSettings(t *testing.T, namespaces ...string) *settings {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real servers; not under -short")
	}
	root, err := testenv.Root()
	if err != nil {
		t.Fatal(err)
	}
	s := &settings{T: t}
	s.cluster, err = testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: filepath.Join(root, "charts", "lockstep", "crds")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.cluster.Stop)
	scheme, err := stage.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	if s.client, err = client.New(s.cluster.RestConfig(), client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(namespaces, settingsNamespace) {
		s.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	return s
}

func (s *settings) create(o client.Object) {
	s.Helper()
	if err := s.client.Create(s.Context(), o); err != nil {
		s.Fatal(err)
	}
}

// start starts a controller, which stop ends.
func (s *settings) start(env []string, args ...string) (c *testenv.Controller, stop func()) {
	s.Helper()
	c, err := testenv.StartController(s.Context(), testenv.ControllerOptions{
		Kubeconfig: s.cluster.Kubeconfig(), Namespace: settingsNamespace, Env: env, Args: args,
	})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if s.Failed() {
			s.Log(c.Tail(20))
		}
		c.Stop()
	})
	return c, c.Halt
}

// keys waits until there are n Secrets of sealing keys, and returns them.
func (s *settings) keys(n int) []corev1.Secret {
	s.Helper()
	var all corev1.SecretList
	eventually(s.T, enough, func() string {
		err := s.client.List(s.Context(), &all, client.InNamespace(settingsNamespace), client.HasLabels{bitnamiv1alpha1.LabelSealingKey})
		if err != nil || len(all.Items) < n {
			return fmt.Sprintf("there are %d sealing keys, %v", len(all.Items), err)
		}
		return ""
	})
	return all.Items
}

// seal makes a SealedSecret of one item.
func (s *settings) seal(key *rsa.PublicKey, namespace, name string, labels map[string]string) {
	s.Helper()
	sealed, err := sealer.Seal(key, []byte("v"), sealer.Binding{Namespace: namespace, Name: name}.Label())
	if err != nil {
		s.Fatal(err)
	}
	ss := &bitnamiv1alpha1.SealedSecret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}}
	ss.Spec.EncryptedData = bitnamiv1alpha1.EncryptedData{"a": base64.StdEncoding.EncodeToString(sealed)}
	s.create(ss)
}

// The settings of sealing work, from the environment and as flags: what a key
// looks like, and which SealedSecrets are served.
func TestSealingSettings(t *testing.T) {
	s := newSettings(t, "served", "other")
	c, stop := s.start([]string{
		"SEALED_SECRETS_KEY_PREFIX=mykey-", "SEALED_SECRETS_KEY_TTL=48h", "SEALED_SECRETS_MY_CN=me", "SEALED_SECRETS_KEY_SIZE=4096",
		"SEALED_SECRETS_PRIVATEKEY_LABELS=team=x", "SEALED_SECRETS_PRIVATEKEY_ANNOTATIONS=note=n", "SEALED_SECRETS_ADDITIONAL_NAMESPACES=served",
	}, "--key-size=3072", "--key-renew-period=0", "--label-selector=serve=yes", "--watch-for-secrets=false", "--log-format=text")
	secret := s.keys(1)[0]
	cert, err := sealer.ParseCertificate(secret.Data[corev1.TLSCertKey])
	if err != nil {
		t.Fatal(err)
	}
	public := cert.PublicKey.(*rsa.PublicKey)
	if !strings.HasPrefix(secret.Name, "mykey-") || secret.Labels["team"] != "x" || secret.Annotations["note"] != "n" || secret.Type != corev1.SecretTypeTLS {
		t.Errorf("the key Secret is %s of type %s with %v, %v", secret.Name, secret.Type, secret.Labels, secret.Annotations)
	}
	if cert.Subject.CommonName != "me" || cert.NotAfter.Sub(cert.NotBefore) != 48*time.Hour || public.N.BitLen() != 3072 {
		t.Errorf("the certificate is of %q, for %s, %d bits", cert.Subject.CommonName, cert.NotAfter.Sub(cert.NotBefore), public.N.BitLen())
	}
	yes := map[string]string{"serve": "yes"}
	s.seal(public, "other", "picked", yes)
	s.seal(public, "served", "left", nil)
	s.seal(public, "served", "picked", yes)
	served := key("served", "picked")
	eventually(t, enough, func() string {
		secret := &corev1.Secret{}
		if err := s.client.Get(t.Context(), served, secret); err != nil {
			return err.Error()
		}
		return ""
	})
	time.Sleep(time.Second) // for what should not happen
	for _, at := range []client.ObjectKey{key("other", "picked"), key("served", "left")} {
		ss := &bitnamiv1alpha1.SealedSecret{}
		if err := s.client.Get(t.Context(), at, ss); err != nil || len(ss.Status.Conditions) > 0 {
			t.Errorf("%s is served: %v, %v", at, ss.Status.Conditions, err)
		}
	}
	stop()
	log, err := c.Log()
	if err != nil || !strings.Contains(string(log), "--watch-for-secrets has no effect here") {
		t.Errorf("the log says nothing of a flag without effect: %v\n%s", err, log)
	}
}

// A key is made when the newest is older than the cut-off time, and when it is
// older than the renew period; and not otherwise.
func TestRenewalSettings(t *testing.T) {
	s := newSettings(t)
	_, stop := s.start(nil, "--key-size=2048")
	s.keys(1)
	stop()
	time.Sleep(2 * time.Second) // certificates count in seconds
	cutoff := time.Now().Add(-time.Second).Format(time.RFC1123Z)
	_, stop = s.start([]string{"SEALED_SECRETS_KEY_CUTOFF_TIME=" + cutoff}, "--key-size=2048")
	s.keys(2)
	stop()
	_, stop = s.start([]string{"SEALED_SECRETS_KEY_CUTOFF_TIME=" + cutoff}, "--key-size=2048")
	time.Sleep(time.Second) // for what should not happen
	if n := len(s.keys(2)); n != 2 {
		t.Errorf("with a cut-off time before the newest there are %d keys", n)
	}
	stop()
	_, stop = s.start(nil, "--key-size=2048", "--key-renew-period=1s")
	s.keys(4)
	stop()
}
