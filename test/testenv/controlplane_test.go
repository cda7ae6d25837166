package testenv

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

var bare = Share(func(t testing.TB) (*ControlPlane, error) {
	return StartControlPlane(t.Context(), Options{Audit: true})
})

func TestMain(m *testing.M) { Main(m) }

func TestAPIServerOnly(t *testing.T) {
	cp := bare.Get(t)
	ns := cp.Namespace(t)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "none"}}}}
	if _, err := cp.Client.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Errorf("create a pod where no controller makes accounts: %v", err)
	}
	v, err := cp.Client.Discovery().ServerVersion()
	if err != nil || v.GitVersion != kubernetesVersion {
		t.Errorf("version: got %v, %v, want %s", v, err, kubernetesVersion)
	}
}

func TestRBACDenies(t *testing.T) {
	cp := bare.Get(t)
	ns := cp.Namespace(t)
	config, err := cp.ServiceAccount(t.Context(), ns, "nobody")
	if err != nil {
		t.Fatal(err)
	}
	client := kubernetes.NewForConfigOrDie(config)
	if _, err := client.CoreV1().Secrets(ns).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("list Secrets without rights: got %v, want Forbidden", err)
	}
}
