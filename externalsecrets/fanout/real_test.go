package fanout_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fanout"
	"github.com/lockstep-dev/lockstep/externalsecrets/generators"
	"github.com/lockstep-dev/lockstep/externalsecrets/pull"
	"github.com/lockstep-dev/lockstep/externalsecrets/push"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var (
	cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
		return testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: "../../charts/lockstep/crds"})
	})
	// amazon trusts the ServiceAccounts of cluster.
	amazon = testenv.Share(func(t testing.TB) (*testenv.AWS, error) {
		cp := cluster.Get(t)
		return testenv.StartAWS(t.Context(), testenv.AWSOptions{Issuer: cp.Issuer(), IssuerCA: cp.CA()})
	})
)

func TestMain(m *testing.M) { testenv.Main(m) }

const region = "eu-central-1"

// bench is all controllers of external secrets, with AWS.
type bench struct {
	client.Client
	t   *testing.T
	ns  string
	aws *testenv.AWS
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T) *bench {
	t.Helper()
	cp, a := cluster.Get(t), amazon.Get(t)
	b := &bench{t: t, ns: cp.Namespace(t), aws: a}
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, esv1.AddToScheme, esv1alpha1.AddToScheme, genv1.AddToScheme} {
		must(t, add(s))
	}
	var err error
	b.Client, err = client.New(cp.RestConfig(), client.Options{Scheme: s})
	must(t, err)
	mgr, err := ctrl.NewManager(cp.RestConfig(), ctrl.Options{
		Scheme: s, Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: new(true)},
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}}},
	})
	must(t, err)
	c, reader, metadata := mgr.GetClient(), mgr.GetAPIReader(), mgr.GetCache()
	open := &stores.Stores{Client: c, Reader: reader, Metadata: metadata, Class: "default", Registry: providers.Registry{
		"aws": aws.New(aws.Endpoints{SecretsManager: a.Address(), ParameterStore: a.Address(), STS: a.Address(), CA: a.CA})}}
	events, line, made := mgr.GetEventRecorderFor("lockstep"), &queue.Queue{Stores: open}, &generators.Generators{Reader: c, References: open.References, Class: "default"}
	for _, r := range []interface{ SetupWithManager(ctrl.Manager) error }{
		&stores.Controller{Client: c, Recorder: events, Stores: open},
		&pull.Controller{Client: c, Reader: reader, Metadata: metadata, Recorder: events, Stores: open, Queue: line, Makers: made, Namespace: b.ns},
		&push.Controller{Client: c, Reader: reader, Metadata: metadata, Recorder: events, Stores: open, Queue: line, Makers: made},
		&fanout.Controller{Client: c, Metadata: metadata, Recorder: events},
	} {
		must(t, r.SetupWithManager(mgr))
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
	})
	return b
}

func (b *bench) apply(text string, into client.Object) {
	b.t.Helper()
	must(b.t, yaml.UnmarshalStrict([]byte(text), into))
	must(b.t, b.Create(b.t.Context(), into))
	b.t.Cleanup(func() { _ = b.Delete(context.WithoutCancel(b.t.Context()), into) }) // it may be gone
}

func (b *bench) eventually(what string, check func() string) {
	b.t.Helper()
	last := ""
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if last = check(); last == "" {
			return
		}
	}
	b.t.Fatalf("waited for %s; last seen: %s", what, last)
}

// annotate sets an annotation of an object.
func (b *bench) annotate(o client.Object, key, value string) {
	b.t.Helper()
	must(b.t, b.Patch(b.t.Context(), o, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, key, value))))
}

// holds waits until the Secret of a namespace is what canaries say.
func (b *bench) holds(ns string, canaries []*testenv.Canary) {
	b.t.Helper()
	b.eventually("the Secret in "+ns, func() string {
		s := &corev1.Secret{}
		if err := b.Get(b.t.Context(), client.ObjectKey{Namespace: ns, Name: "app"}, s); err != nil {
			es := &esv1.ExternalSecret{}
			return fmt.Sprint(err, b.Get(b.t.Context(), client.ObjectKey{Namespace: ns, Name: "app"}, es), es.Status.Conditions)
		}
		for i, c := range canaries {
			if string(s.Data[fmt.Sprintf("k%d", i)]) != c.Value() {
				return fmt.Sprintf("k%d has another value", i)
			}
		}
		return ""
	})
}

// store makes a ClusterSecretStore that gets in with IRSA and one role, whose
// trust asks for the tags that sessionTagsPolicy adds.
func (b *bench) store(name, policy string, tags []string) {
	b.t.Helper()
	arn, err := b.aws.Role(b.t.Context(), testenv.AWSRole{Name: "irsa-" + name, Subject: "system:serviceaccount:" + b.ns + ":app"})
	must(b.t, err)
	role, err := b.aws.Role(b.t.Context(), testenv.AWSRole{Name: "team-" + name, Principals: []string{"arn:aws:sts::*:assumed-role/irsa-" + name + "/*"}, Tags: tags})
	must(b.t, err)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "app", Annotations: map[string]string{"eks.amazonaws.com/role-arn": arn}}}
	must(b.t, b.Create(b.t.Context(), account))
	b.apply(fmt.Sprintf("metadata: {name: %s}\nspec: {provider: {aws: {service: SecretsManager, region: %s, role: %q, sessionTagsPolicy: %s, auth: {jwt: {serviceAccountRef: {name: app, namespace: %s}}}}}}",
		name, region, role, policy, b.ns), &esv1.ClusterSecretStore{})
}

// put makes n secrets in AWS, with canaries in them.
func (b *bench) put(n int) (canaries []*testenv.Canary, data string) {
	b.t.Helper()
	var items []string
	for i := range n {
		c := testenv.NewCanary(b.t)
		key := fmt.Sprintf("%s/key-%d", b.ns, i)
		_, err := b.aws.PutSecret(b.t.Context(), region, key, c.Value())
		must(b.t, err)
		canaries, items = append(canaries, c), append(items, fmt.Sprintf("{secretKey: k%d, remoteRef: {key: %s}}", i, key))
	}
	return canaries, "[" + strings.Join(items, ", ") + "]"
}

// TestFanOutWithIRSA has ten keys in AWS, IRSA and a role, in two namespaces.
// It counts what a refresh takes at AWS: External Secrets Operator makes 22
// requests for one of them.
func TestFanOutWithIRSA(t *testing.T) {
	b := start(t)
	other := cluster.Get(t).Namespace(t)
	name := "irsa-" + b.ns
	b.store(name, "None", nil)
	canaries, data := b.put(10)
	b.apply(fmt.Sprintf("metadata: {name: %s}\nspec: {externalSecretName: app, namespaceSelectors: [{matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [%s, %s]}]}], externalSecretSpec: {secretStoreRef: {kind: ClusterSecretStore, name: %s}, data: %s}}",
		name, b.ns, other, name, data), &esv1.ClusterExternalSecret{})
	b.holds(b.ns, canaries)
	b.holds(other, canaries)

	canaries[3] = testenv.NewCanary(t)
	_, err := b.aws.PutSecret(t.Context(), region, b.ns+"/key-3", canaries[3].Value())
	must(t, err)
	must(t, b.aws.ResetCounts(t.Context()))
	b.annotate(&esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "app"}}, "force-sync", "1")
	b.holds(b.ns, canaries)
	counts, err := b.aws.Counts(t.Context())
	if err != nil || fmt.Sprint(counts) != "map[secretsmanager:BatchGetSecretValue:1]" {
		t.Errorf("one refresh of ten keys: got requests %v, %v, want one BatchGetSecretValue and nothing else", counts, err)
	}
	t.Logf("one refresh of ten keys with IRSA and one role: %v", counts)

	b.annotate(&esv1.ClusterExternalSecret{ObjectMeta: metav1.ObjectMeta{Name: name}}, "external-secrets.io/force-sync", "2")
	b.holds(other, canaries)
	for _, c := range canaries {
		c.NotInCluster(t, cluster.Get(t), types.NamespacedName{Namespace: b.ns, Name: "app"}, types.NamespacedName{Namespace: other, Name: "app"})
	}
}

// TestFanOutOfPushes pushes from two namespaces through a store whose role
// asks for the namespace: only one of them may.
func TestFanOutOfPushes(t *testing.T) {
	b := start(t)
	other := cluster.Get(t).Namespace(t)
	name := "tags-" + b.ns
	b.store(name, "Simple", []string{"esoNamespace=" + b.ns, "esoStoreName=" + name, "esoStoreKind=ClusterSecretStore"})
	canary := testenv.NewCanary(t)
	for _, ns := range []string{b.ns, other} {
		must(t, b.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "db"}, StringData: map[string]string{"pass": canary.Value(), "from": ns}}))
	}
	b.apply(fmt.Sprintf("metadata: {name: %s}\nspec: {pushSecretName: app, namespaceSelectors: [{matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [%s, %s]}]}], pushSecretSpec: {deletionPolicy: Delete, secretStoreRefs: [{kind: ClusterSecretStore, name: %s}], selector: {secret: {name: db}}, data: [{match: {remoteRef: {remoteKey: %s/pushed}}, metadata: {secretPushFormat: string}}]}}",
		name, b.ns, other, name, b.ns), &esv1alpha1.ClusterPushSecret{})
	condition := func(ns, want string) {
		t.Helper()
		b.eventually("the PushSecret in "+ns+" to be "+want, func() string {
			ps := &esv1alpha1.PushSecret{}
			if err := b.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "app"}, ps); err != nil {
				return err.Error()
			}
			if got := fmt.Sprint(ps.Status.Conditions); !strings.Contains(got, want) {
				return got
			}
			return ""
		})
	}
	condition(b.ns, "Synced")
	condition(other, "spec.provider.aws.role")
	key, err := b.aws.User(t.Context(), "looks-"+b.ns)
	must(t, err)
	look := b.reader(key)
	v, err := look.Read(t.Context(), providers.Ref{Path: b.ns + "/pushed"})
	if want := fmt.Sprintf(`{"from":%q,"pass":%q}`, b.ns, canary.Value()); err != nil || string(v.Bytes()) != want {
		t.Errorf("what was pushed: got another value, or %v", err)
	}
	cps := &esv1alpha1.ClusterPushSecret{ObjectMeta: metav1.ObjectMeta{Name: name}}
	must(t, b.Delete(t.Context(), cps))
	must(t, b.DeleteAllOf(t.Context(), &esv1alpha1.PushSecret{}, client.InNamespace(b.ns))) // there is no garbage collector here
	b.eventually("what was pushed to go", func() string {
		_, err := look.Read(t.Context(), providers.Ref{Path: b.ns + "/pushed"})
		if err == nil {
			return "it is there"
		}
		return ""
	})
}

// reader looks into AWS, apart from the controllers.
func (b *bench) reader(key testenv.AccessKey) providers.Reader {
	b.t.Helper()
	refs := &conformance.References{}
	refs.Set("k", "id", key.ID)
	refs.Set("k", "secret", key.Secret)
	store := &esv1.ClusterSecretStore{}
	must(b.t, yaml.UnmarshalStrict(fmt.Appendf(nil, "spec: {provider: {aws: {service: SecretsManager, region: %s, auth: {secretRef: {accessKeyIDSecretRef: {name: k, key: id}, secretAccessKeySecretRef: {name: k, key: secret}}}}}}", region), store))
	r, err := aws.New(aws.Endpoints{SecretsManager: b.aws.Address(), CA: b.aws.CA})(b.t.Context(), providers.Config{Provider: store.Spec.Provider, References: refs})
	must(b.t, err)
	return r
}
