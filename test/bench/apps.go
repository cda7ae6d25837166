package main

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// Each app is four objects in Git, of which two become a Secret each.
const (
	applied = 4
	made    = 2
)

// namespace is where the apps are.
const namespace = "apps"

// prepare makes what the apps need: the namespace, a store, a repository with
// a commit, and the objects that sync it.
func (b *bench) prepare(ctx context.Context) (*testenv.Repository, error) {
	token, err := b.Vault.Token(ctx, testenv.VaultRole{Name: "bench", Policy: testenv.Allow("secret/data/bench/*")})
	if err != nil {
		return nil, err
	}
	for i := range b.size {
		if _, err := b.Vault.Put(ctx, fmt.Sprintf("bench/app-%d", i), map[string]any{"token": fmt.Sprintf("value-of-app-%d", i)}); err != nil {
			return nil, err
		}
	}
	store := &esv1.SecretStore{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "vault"}}
	path := "secret"
	store.Spec.Provider = &esv1.SecretStoreProvider{Vault: &esv1.VaultProvider{
		Server: b.Vault.Address(), Path: &path, Version: esv1.VaultKVv2, CABundle: b.Vault.CA,
		Auth: &esv1.VaultAuth{TokenSecretRef: &esv1.SecretKeySelector{Name: "vault-token", Key: "token"}},
	}}
	repo, err := b.Git.Repository(ctx, "private/bench.git")
	if err != nil {
		return nil, err
	}
	if _, err := repo.Commit(ctx, "empty", map[string]string{"apps/kustomization.yaml": "resources: []\n"}); err != nil {
		return nil, err
	}
	source, sync := stage.Source("bench", repo.URL(), 10*time.Minute), stage.Sync("bench", "bench", "./apps")
	sync.Annotations = map[string]string{"lockstep.dev/allow-prune": "true"} // all apps go between the runs
	return repo, b.Ensure(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "vault-token"}, StringData: map[string]string{"token": token}},
		store, b.GitCredentials(), source, sync)
}

// files are the manifests of all apps.
func (b *bench) files(ctx context.Context) (map[string]string, error) {
	files := map[string]string{}
	list := "resources:\n"
	for i := range b.size {
		name := fmt.Sprintf("app-%d", i)
		sealed, err := b.Seal(ctx, namespace, name+"-sealed", map[string]string{"password": "sealed-value-of-" + name})
		if err != nil {
			return nil, err
		}
		files["apps/"+name+".yaml"] = fmt.Sprintf(app, name) + "---\n" + sealed
		list += "- " + name + ".yaml\n"
	}
	files["apps/kustomization.yaml"] = list
	return files, nil
}

// app is the manifest of an app, but for its SealedSecret.
const app = `apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: apps}
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      containers:
      - name: app
        image: example.com/app:1
        envFrom: [{secretRef: {name: %[1]s-sealed}}, {secretRef: {name: %[1]s-vault}}]
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s, namespace: apps}
spec: {selector: {app: %[1]s}, ports: [{port: 80}]}
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: %[1]s-vault, namespace: apps}
spec:
  refreshInterval: 1h
  secretStoreRef: {name: vault}
  data: [{secretKey: token, remoteRef: {key: bench/%[1]s, property: token}}]
`

// reconcile asks for a reconcile as `flux reconcile` does.
func (b *bench) reconcile(ctx context.Context, o client.Object) error {
	if err := b.Client.Get(ctx, types.NamespacedName{Namespace: stage.FluxNamespace, Name: "bench"}, o); err != nil {
		return err
	}
	before := o.DeepCopyObject().(client.Object)
	annotations := map[string]string{}
	maps.Copy(annotations, o.GetAnnotations())
	annotations[meta.ReconcileRequestAnnotation] = time.Now().Format(time.RFC3339Nano)
	o.SetAnnotations(annotations)
	return b.Client.Patch(ctx, o, client.MergeFrom(before))
}

// applied waits until the sync has applied a commit.
func (b *bench) applied(ctx context.Context, commit string) error {
	return stage.Until(ctx, 20*time.Millisecond, "commit "+commit+" to be applied", func() (bool, error) {
		ks := &kustomizev1.Kustomization{}
		err := b.Client.Get(ctx, types.NamespacedName{Namespace: stage.FluxNamespace, Name: "bench"}, ks)
		return err == nil && ks.Status.LastAppliedRevision == "main@sha1:"+commit, err
	})
}

// stopwatch notes when each Secret and each workload of the apps is there.
type stopwatch struct {
	done      chan struct{}
	secrets   map[string]time.Time
	available map[string]time.Time
}

// watch begins to note; done is closed when size apps are complete.
func (b *bench) watch(ctx context.Context) (*stopwatch, error) {
	s := &stopwatch{done: make(chan struct{}), secrets: map[string]time.Time{}, available: map[string]time.Time{}}
	secrets := &metav1.PartialObjectMetadataList{}
	secrets.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	ws, err := b.Client.Watch(ctx, secrets, client.InNamespace(namespace))
	if err != nil {
		return nil, err
	}
	wd, err := b.Client.Watch(ctx, &appsv1.DeploymentList{}, client.InNamespace(namespace))
	if err != nil {
		ws.Stop()
		return nil, err
	}
	go func() {
		defer ws.Stop()
		defer wd.Stop()
		for len(s.secrets) < made*b.size || len(s.available) < b.size {
			select {
			case <-ctx.Done():
				return
			case e := <-ws.ResultChan():
				s.secret(e)
			case e := <-wd.ResultChan():
				s.deployment(e)
			}
		}
		close(s.done)
	}()
	return s, nil
}

func (s *stopwatch) secret(e watch.Event) {
	o, ok := e.Object.(client.Object)
	if ok && e.Type == watch.Added && metav1.GetControllerOf(o) != nil {
		s.secrets[o.GetName()] = time.Now()
	}
}

func (s *stopwatch) deployment(e watch.Event) {
	d, ok := e.Object.(*appsv1.Deployment)
	if _, known := s.available[d.GetName()]; ok && !known && d.Status.AvailableReplicas > 0 {
		s.available[d.Name] = time.Now()
	}
}

// since returns how long after begin each was there, in seconds, sorted.
func since(begin time.Time, at map[string]time.Time) []float64 {
	var all []float64
	for _, t := range at {
		all = append(all, t.Sub(begin).Seconds())
	}
	slices.Sort(all)
	return all
}

// quantile returns the smallest value that a share q of sorted values does not
// exceed.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return round(sorted[max(0, i)])
}

// round keeps a thousandth: what is below is noise.
func round(x float64) float64 { return math.Round(x*1000) / 1000 }
