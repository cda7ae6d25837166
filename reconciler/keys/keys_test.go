package keys_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
	return testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: "../../charts/lockstep/crds"})
})

func TestMain(m *testing.M) { testenv.Main(m) }

// bench is a namespace, and a client for what is in it.
type bench struct {
	client.Client
	t  *testing.T
	cp *testenv.ControlPlane
	ns string
}

// kinds are those of Kubernetes and ours.
var kinds = sync.OnceValue(func() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(errors.Join(scheme.AddToScheme(s), bitnamiv1alpha1.AddToScheme(s)))
	return s
})

func newBench(t *testing.T) *bench {
	t.Helper()
	cp := cluster.Get(t)
	c, err := client.New(cp.RestConfig(), client.Options{Scheme: kinds()})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{Client: c, t: t, cp: cp, ns: cp.Namespace(t)}
}

// run starts one replica. stop ends it; so does the end of t.
func (b *bench) run(addr string) (c *keys.Controller, stop func()) {
	b.t.Helper()
	return b.runWith(addr, keys.Renewal{})
}

func (b *bench) runWith(addr string, renewal keys.Renewal) (c *keys.Controller, stop func()) {
	b.t.Helper()
	skip := true
	mgr, err := ctrl.NewManager(b.cp.RestConfig(), ctrl.Options{
		Scheme:                        kinds(),
		Metrics:                       metricsserver.Options{BindAddress: "0"},
		Controller:                    config.Controller{SkipNameValidation: &skip},
		Cache:                         cache.Options{DefaultNamespaces: map[string]cache.Config{b.ns: {}}},
		Client:                        client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		LeaderElection:                true,
		LeaderElectionID:              "keys",
		LeaderElectionNamespace:       b.ns,
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	c = &keys.Controller{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Ring: &sealer.Keyring{}, Recorder: mgr.GetEventRecorderFor("keys"),
		Namespace: b.ns, Prefix: "sealed-secrets-key", KeySize: 2048, TTL: 24 * time.Hour, Addr: addr,
		Renewal: renewal,
	}
	if err := c.SetupWithManager(mgr); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.t.Context()))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("manager: %v", err)
		}
	})
	b.t.Cleanup(stop)
	return c, stop
}

func (b *bench) secrets() []corev1.Secret {
	b.t.Helper()
	var all corev1.SecretList
	if err := b.List(b.t.Context(), &all, client.InNamespace(b.ns)); err != nil {
		b.t.Fatal(err)
	}
	return all.Items
}

// keySecret creates a key Secret with the given values.
func (b *bench) keySecret(name string, labels map[string]string, key, cert []byte) *corev1.Secret {
	b.t.Helper()
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: name, Labels: labels},
		Data:       map[string][]byte{"tls.key": key, "tls.crt": cert},
	}
	if err := b.Create(b.t.Context(), s); err != nil {
		b.t.Fatal(err)
	}
	return s
}

// label sets the state of a key.
func (b *bench) label(s *corev1.Secret, state string) {
	b.t.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, bitnamiv1alpha1.LabelSealingKey, state)
	if err := b.Patch(b.t.Context(), s, client.RawPatch(types.MergePatchType, patch)); err != nil {
		b.t.Fatal(err)
	}
}

func active() map[string]string {
	return map[string]string{bitnamiv1alpha1.LabelSealingKey: bitnamiv1alpha1.LabelSealingKeyActive}
}

func fingerprint(t *testing.T, text []byte) string {
	t.Helper()
	cert, err := sealer.ParseCertificate(text)
	if err != nil {
		t.Fatal(err)
	}
	f, err := sealer.Fingerprint(cert.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func newKey(t *testing.T) (key, cert []byte) {
	t.Helper()
	private, c, err := sealer.NewCertificate(2048, time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	return sealer.EncodePrivateKey(private), sealer.EncodeCertificate(c)
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func get(t *testing.T, address string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error() // not there yet, perhaps
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Of two replicas the leader makes one key, in the form of Sealed Secrets, and
// both serve its certificate.
func TestFirstKey(t *testing.T) {
	b := newBench(t)
	addrs := []string{freeAddr(t), freeAddr(t)}
	_, stop := b.run(addrs[0])
	b.run(addrs[1])
	var served [2]string
	for i, addr := range addrs {
		eventually(t, "a certificate from "+addr, func() bool {
			status, body := get(t, "http://"+addr+"/v1/cert.pem")
			served[i] = body
			return status == http.StatusOK
		})
	}
	secrets := b.secrets()
	if len(secrets) != 1 {
		t.Fatalf("there are %d Secrets, want one", len(secrets))
	}
	s := secrets[0]
	if !strings.HasPrefix(s.Name, "sealed-secrets-key") || s.Type != corev1.SecretTypeTLS ||
		s.Labels[bitnamiv1alpha1.LabelSealingKey] != "active" || len(s.Data) != 4 {
		t.Errorf("key Secret %s has type %s, labels %v and %d items", s.Name, s.Type, s.Labels, len(s.Data))
	}
	if !strings.HasPrefix(string(s.Data["tls.key"]), "-----BEGIN RSA PRIVATE KEY-----") {
		t.Error("tls.key is not in the form of PKCS #1")
	}
	for i, body := range served {
		if body != string(s.Data["tls.crt"]) {
			t.Errorf("replica %d serves %q", i, body)
		}
	}
	cert, err := sealer.ParseCertificate(s.Data["tls.crt"])
	if err != nil || cert.NotAfter.Sub(cert.NotBefore) != 24*time.Hour {
		t.Errorf("certificate: %v", err)
	}

	// The next leader makes no other.
	stop()
	third, _ := b.run("")
	eventually(t, "the key to be loaded", func() bool { return third.Ring.Len() == 1 })
	time.Sleep(300 * time.Millisecond)
	if n := len(b.secrets()); n != 1 {
		t.Errorf("after a change of leader there are %d Secrets", n)
	}
}

// Keys come and go with their Secrets; what is malformed harms nothing.
func TestKeysFollowSecrets(t *testing.T) {
	b := newBench(t)
	oldKey, oldCert := newKey(t)
	b.keySecret("sealed-secrets-key", nil, oldKey, oldCert) // as the first releases made it
	b.keySecret("malformed", active(), []byte("no key"), nil)
	retiredKey, retiredCert := newKey(t)
	b.keySecret("retired", map[string]string{bitnamiv1alpha1.LabelSealingKey: "retired"}, retiredKey, retiredCert)
	b.keySecret("unrelated", nil, oldKey, oldCert)
	c, _ := b.run("")
	eventually(t, "the old key and the retired one", func() bool { return c.Ring.Len() == 2 })

	key, cert := newKey(t)
	s := b.keySecret("restored", active(), key, cert)
	eventually(t, "a key that is added", func() bool { return c.Ring.Len() == 3 })
	added := fingerprint(t, cert)

	b.label(s, "compromised")
	eventually(t, "a key to be retired", func() bool { return c.Ring.Retired(added) })
	if newest, ok := c.Ring.Newest(); !ok || newest.Fingerprint == added {
		t.Error("a retired key is published")
	}
	b.label(s, "other")
	eventually(t, "a key with another label to go", func() bool { return c.Ring.Len() == 2 })
	b.label(s, "active")
	eventually(t, "a key that is taken back", func() bool { return c.Ring.Len() == 3 && !c.Ring.Retired(added) })
	if err := b.Delete(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a key that is deleted to go", func() bool { return c.Ring.Len() == 2 })
	if n := len(b.secrets()); n != 4 {
		t.Errorf("there are %d Secrets, want the four that were made: no key was missing", n)
	}
}

// A key Secret that cannot be read is no reason to make another key.
func TestMalformedIsNotMissing(t *testing.T) {
	b := newBench(t)
	b.keySecret("malformed", active(), []byte("no key"), nil)
	c, _ := b.run("")
	time.Sleep(time.Second)
	eventually(t, "an Event about it", func() bool {
		var events corev1.EventList
		if err := b.List(t.Context(), &events, client.InNamespace(b.ns)); err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(events.Items, func(e corev1.Event) bool {
			return e.Reason == keys.ReasonMalformed && e.InvolvedObject.Name == "malformed" && strings.Contains(e.Message, "tls.key")
		})
	})
	if n := len(b.secrets()); n != 1 || c.Ring.Len() != 0 {
		t.Errorf("there are %d Secrets and %d keys, want one and none", n, c.Ring.Len())
	}
}

func TestHandler(t *testing.T) {
	cases := map[string]struct {
		method, path string
		status       int
		body         string
	}{
		"Health":      {http.MethodGet, "/healthz", http.StatusOK, "ok"},
		"NoKeyYet":    {http.MethodGet, "/v1/cert.pem", http.StatusServiceUnavailable, "no sealing key yet"},
		"NotReady":    {http.MethodGet, "/readyz", http.StatusServiceUnavailable, "no sealing key yet"},
		"Verify":      {http.MethodPost, "/v1/verify", http.StatusInternalServerError, "not one SealedSecret"},
		"Rotate":      {http.MethodPost, "/v1/rotate", http.StatusInternalServerError, "not one SealedSecret"},
		"Unknown":     {http.MethodGet, "/v2", http.StatusNotFound, ""},
		"WrongMethod": {http.MethodPost, "/v1/cert.pem", http.StatusMethodNotAllowed, ""},
	}
	handler := (&keys.Controller{Ring: &sealer.Keyring{}}).Handler()
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tc.method, tc.path, strings.NewReader("{}")))
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.body) {
				t.Errorf("%s %s: got %s", tc.method, tc.path, fmt.Sprint(w.Code, " ", w.Body))
			}
		})
	}
}
