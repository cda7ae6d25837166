package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Expose serves h behind a Service with one port named http, for as long as t
// runs, so that the API server's proxy reaches it. That takes an address which
// is none of the loopback, and a Pod that has it.
func (c *ControlPlane) Expose(t testing.TB, namespace, name string, h http.Handler) {
	t.Helper()
	ip, err := address()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: h}}
	server.Start()
	t.Cleanup(server.Close)
	port := int32(listener.Addr().(*net.TCPAddr).Port)
	if err := c.expose(t.Context(), metav1.ObjectMeta{Namespace: namespace, Name: name}, ip, port); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = poll(ctx, 50*time.Millisecond, "the API server to know the endpoint", func(ctx context.Context) (bool, error) {
		_, err := c.Client.CoreV1().Services(namespace).ProxyGet("http", name, "http", "/healthz", nil).DoRaw(ctx)
		return err == nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// address returns one of this machine that others could reach.
func address() (string, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String(), nil
		}
	}
	return "", errors.New("testenv: this machine has no address but the loopback's")
}

func (c *ControlPlane) expose(ctx context.Context, meta metav1.ObjectMeta, ip string, port int32) error {
	core := c.Client.CoreV1()
	service := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: port}}}}
	if _, err := core.Services(meta.Namespace).Create(ctx, service, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("testenv: expose %s: %w", meta.Name, err)
	}
	pod := &corev1.Pod{ObjectMeta: meta, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "c"}}}}
	pod, err := core.Pods(meta.Namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("testenv: expose %s: %w", meta.Name, err)
	}
	pod.Status.PodIP, pod.Status.PodIPs = ip, []corev1.PodIP{{IP: ip}}
	if _, err := core.Pods(meta.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("testenv: expose %s: %w", meta.Name, err)
	}
	portName, protocol := "http", corev1.ProtocolTCP
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: meta.Name, Labels: map[string]string{discoveryv1.LabelServiceName: meta.Name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{ip},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: meta.Namespace, Name: pod.Name, UID: pod.UID}}},
		Ports: []discoveryv1.EndpointPort{{Name: &portName, Port: &port, Protocol: &protocol}},
	}
	_, err = c.Client.DiscoveryV1().EndpointSlices(meta.Namespace).Create(ctx, slice, metav1.CreateOptions{})
	return err
}
