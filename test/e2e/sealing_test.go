package e2e

import (
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// sealing is what sealing needs, and no more: a cluster, and the controller as
// Sealed Secrets is installed, in kube-system and without any setting.
type sealing struct {
	*testenv.ControlPlane
	Client     client.WithWatch // as the administrator
	Controller *testenv.Controller
}

const (
	sealingNamespace = "kube-system"
	sealingService   = "sealed-secrets-controller"
)

var sealers = testenv.Share(func(t testing.TB) (*sealing, error) {
	root, err := testenv.Root()
	if err != nil {
		return nil, err
	}
	s := &sealing{}
	s.ControlPlane, err = testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: filepath.Join(root, "charts", "lockstep", "crds")})
	if err != nil {
		return nil, err
	}
	if err := s.start(t); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
})

func (s *sealing) start(t testing.TB) error {
	scheme, err := stage.Scheme()
	if err != nil {
		return err
	}
	if s.Client, err = client.NewWithWatch(s.RestConfig(), client.Options{Scheme: scheme}); err != nil {
		return err
	}
	s.Controller, err = testenv.StartController(t.Context(), testenv.ControllerOptions{Kubeconfig: s.Kubeconfig(), Namespace: sealingNamespace})
	return err
}

// Stop implements testenv.Stopper.
func (s *sealing) Stop() {
	if s.Controller != nil {
		s.Controller.Stop()
	}
	s.ControlPlane.Stop()
}

// Keep implements testenv.Stopper.
func (s *sealing) Keep() {
	s.Controller.Keep()
	s.ControlPlane.Keep()
}

// Tail implements testenv.Stopper.
func (s *sealing) Tail(n int) string { return s.Controller.Tail(n) + s.ControlPlane.Tail(n) }

// serve makes the controller reachable under a name of a Service, for as long
// as t runs.
func (s *sealing) serve(t *testing.T, name string) {
	t.Helper()
	if _, err := s.Controller.Certificate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Expose(t, sealingNamespace, name, httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.Controller.Sealing}))
}
