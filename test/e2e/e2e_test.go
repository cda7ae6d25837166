// Package e2e tests the whole controller, as one process, on real servers.
package e2e

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var shared = testenv.Share(func(t testing.TB) (*stage.Stage, error) {
	return stage.Start(t.Context(), stage.Options{})
})

func TestMain(m *testing.M) { testenv.Main(m) }

// apply creates the objects of a manifest.
func apply(t *testing.T, s *stage.Stage, manifest string) {
	t.Helper()
	n := 0
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(manifest)), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Ensure(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n == 0 {
		t.Fatal("the manifest holds no object")
	}
}

// guide returns a manifest of the guide with texts replaced; each must occur.
func guide(t *testing.T, name string, replace ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "acceptance", "guide", name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("%s does not hold %q", name, replace[i])
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	return text
}

// eventually calls check until it returns "", which says that all is well.
func eventually(t *testing.T, within time.Duration, check func() string) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		wrong := check()
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s: %s", within, wrong)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// enough is for what takes a second or two at most.
const enough = 30 * time.Second

func key(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// ready reads the conditions of an object and returns why it is not Ready.
func notReady(t *testing.T, s *stage.Stage, o interface {
	client.Object
	GetConditions() []metav1.Condition
}, at types.NamespacedName) string {
	t.Helper()
	if err := s.Client.Get(t.Context(), at, o); err != nil {
		return err.Error()
	}
	c := apimeta.FindStatusCondition(o.GetConditions(), "Ready")
	switch {
	case c == nil:
		return at.String() + " has no Ready condition"
	case c.Status != metav1.ConditionTrue:
		return at.String() + ": " + c.Reason + ": " + c.Message
	default:
		return ""
	}
}

// secret returns why a Secret does not hold a value.
func secretHolds(t *testing.T, s *stage.Stage, at types.NamespacedName, data map[string]string) string {
	t.Helper()
	secret := &corev1.Secret{}
	if err := s.Client.Get(t.Context(), at, secret); err != nil {
		return err.Error()
	}
	for k, v := range data {
		if string(secret.Data[k]) != v {
			return "Secret " + at.String() + " does not hold the wanted value of " + k
		}
	}
	return ""
}

func namespace(t *testing.T, s *stage.Stage, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := s.Ensure(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
}

// noLeak looks for a canary in the cluster, the controller's files, log and
// metrics.
func noLeak(t *testing.T, s *stage.Stage, canary *testenv.Canary, secrets ...types.NamespacedName) {
	t.Helper()
	canary.NotInCluster(t, s.Cluster, secrets...)
	canary.NotInFiles(t, s.Controller.Logs())
	canary.NotInFiles(t, s.Cluster.Logs())
	metrics, err := s.Controller.MetricsText(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	canary.NotIn(t, "the metrics", []byte(metrics))
}
