package testenv

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// etcdSocket is the file, in the folder of the run, that etcd listens on; it
// spells it as a host and a port. A socket cannot collide with another run as
// a port can.
const (
	etcdSocket = "client:1"
	peerSocket = "peer:1"
)

func etcdArgs() []string {
	return []string{
		"--name=default",
		"--data-dir=etcd",
		"--listen-client-urls=unix://" + etcdSocket,
		"--advertise-client-urls=unix://" + etcdSocket,
		"--listen-peer-urls=unix://" + peerSocket,
		"--initial-advertise-peer-urls=unix://" + peerSocket,
		"--initial-cluster=default=unix://" + peerSocket,
		"--unsafe-no-fsync",
		"--log-level=warn",
	}
}

func (c *ControlPlane) apiServerArgs(port int) []string {
	args := []string{
		"--etcd-servers=unix://" + etcdSocket,
		fmt.Sprintf("--secure-port=%d", port),
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		// 127.0.0.1 cannot be an endpoint of the Service "kubernetes", which
		// nothing reaches here anyway.
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=RBAC",
		"--client-ca-file=pki/ca.crt",
		"--tls-cert-file=pki/server.crt",
		"--tls-private-key-file=pki/server.key",
		"--service-account-issuer=" + c.Issuer(),
		"--service-account-jwks-uri=" + c.Issuer() + "/openid/v1/jwks",
		"--service-account-key-file=pki/issuer.key",
		"--service-account-signing-key-file=pki/issuer.key",
		"--profiling=false",
	}
	if !c.opts.Controllers {
		// Nobody makes the account "default", without which it refuses every pod.
		args = append(args, "--disable-admission-plugins=ServiceAccount")
	}
	if c.opts.Audit {
		args = append(args, "--audit-policy-file=audit.yaml", "--audit-log-path="+filepath.Join("logs", "audit.log"))
	}
	return args
}

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// controllers are those of the controller manager that make sense without
// volumes, clouds and a cluster network.
const controllers = "--controllers=clusterrole-aggregation-controller,cronjob-controller,daemonset-controller," +
	"deployment-controller,disruption-controller,endpointslice-controller,garbage-collector-controller," +
	"job-controller,namespace-controller,node-lifecycle-controller,pod-garbage-collector-controller," +
	"replicaset-controller,resourcequota-controller,root-ca-certificate-publisher-controller," +
	"serviceaccount-controller,serviceaccount-token-controller,statefulset-controller,ttl-after-finished-controller"

func (c *ControlPlane) startControllers(ctx context.Context) error {
	_, kubeconfig, err := c.user("system:kube-controller-manager", "system:masters")
	if err != nil {
		return err
	}
	_, err = c.run("kube-controller-manager",
		"--kubeconfig="+kubeconfig,
		"--leader-elect=false",
		"--secure-port=0",
		controllers,
		"--service-account-private-key-file=pki/issuer.key",
		"--root-ca-file=pki/ca.crt",
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
		"--profiling=false",
	)
	if err != nil {
		return err
	}
	return c.waitForServiceAccount(ctx, metav1.NamespaceDefault)
}

// waitForServiceAccount waits for the account without which a pod is refused.
func (c *ControlPlane) waitForServiceAccount(ctx context.Context, namespace string) error {
	what := fmt.Sprintf("the service account %q in namespace %s", "default", namespace)
	return poll(ctx, 30*time.Millisecond, what, func(ctx context.Context) (bool, error) {
		_, err := c.Client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, c.ended()
		}
		return err == nil, err
	})
}

func (c *ControlPlane) startNodes(ctx context.Context) error {
	_, kubeconfig, err := c.user("system:kube-scheduler", "system:masters")
	if err != nil {
		return err
	}
	if _, err := c.run("kube-scheduler", "--kubeconfig="+kubeconfig, "--leader-elect=false", "--secure-port=0",
		"--kube-api-qps=500", "--kube-api-burst=1000", "--profiling=false"); err != nil {
		return err
	}
	if _, kubeconfig, err = c.user("kwok", "system:masters"); err != nil {
		return err
	}
	if _, err := c.run("kwok", "--kubeconfig="+kubeconfig, "--manage-nodes-with-annotation-selector="+kwokNode+"=fake",
		"--node-lease-duration-seconds=40", "--server-address="); err != nil {
		return err
	}
	for i := range c.opts.Nodes {
		if _, err := c.Client.CoreV1().Nodes().Create(ctx, fakeNode(i), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create node: %w", err)
		}
	}
	return c.waitForNodes(ctx)
}

// kwokNode is the annotation that gives a Node to KWOK.
const kwokNode = "kwok.x-k8s.io/node"

func fakeNode(i int) *corev1.Node {
	name := fmt.Sprintf("node-%d", i)
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name:        name,
		Annotations: map[string]string{kwokNode: "fake"},
		Labels: map[string]string{corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
			"type": "kwok"},
	}}
}

func (c *ControlPlane) waitForNodes(ctx context.Context) error {
	return poll(ctx, 100*time.Millisecond, "the nodes to be ready", func(ctx context.Context) (bool, error) {
		nodes, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: "type=kwok"})
		if err != nil {
			return false, err
		}
		ready := 0
		for _, n := range nodes.Items {
			if nodeReady(&n) && len(n.Spec.Taints) == 0 {
				ready++
			}
		}
		return ready == c.opts.Nodes, c.ended()
	})
}

func nodeReady(n *corev1.Node) bool {
	for _, cond := range n.Status.Conditions {
		if cond.Type == corev1.NodeReady {
			return cond.Status == corev1.ConditionTrue
		}
	}
	return false
}

// allowIssuerDiscovery lets anyone read the keys of the service account
// issuer, as clouds do for workload identity: Vault and AWS check tokens with them.
func (c *ControlPlane) allowIssuerDiscovery(ctx context.Context) error {
	const role = "system:service-account-issuer-discovery"
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role + "-public"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:unauthenticated"}},
	}
	_, err := c.Client.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("open the issuer's keys: %w", err)
	}
	return nil
}

// The ports that freePort takes from: below those that Linux and macOS give to
// connections going out, so that nobody has the port of a server that was
// stopped and is started again.
const (
	firstPort = 20000
	lastPort  = 32000
)

// freePort returns a port of 127.0.0.1 that nobody listens on. It is one at
// random, as other tests look for theirs at the same time.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}
