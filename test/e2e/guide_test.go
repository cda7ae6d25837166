package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// manifests lists every manifest of the guide: the test that shows that it
// works, or the kind that is not served yet.
var manifests = map[string]struct {
	works func(t *testing.T, s *stage.Stage)
	later string
}{
	"flux-gitrepository-kustomization.yaml": {works: guideFlux},
	"flux-depends-on.yaml":                  {works: guideDependsOn},
	"sealed-secret.yaml":                    {works: guideSealedSecret},
	"external-secret.yaml":                  {works: guideExternalSecret},
	"flux-helm.yaml":                        {later: "HelmRelease"},
	"argo-application.yaml":                 {later: "Application"},
	"argo-applicationset.yaml":              {later: "ApplicationSet"},
	"argo-appproject.yaml":                  {later: "AppProject"},
	"argo-rollout.yaml":                     {later: "Rollout"},
}

func TestGuide(t *testing.T) {
	s := shared.Get(t)
	files, err := os.ReadDir("../acceptance/guide")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(manifests) {
		t.Errorf("the guide has %d manifests, the list %d", len(files), len(manifests))
	}
	for _, f := range files {
		t.Run(f.Name(), func(t *testing.T) {
			m, ok := manifests[f.Name()]
			switch {
			case !ok:
				t.Fatal("not on the list: add it, with what it shows or the kind that is missing")
			case m.works != nil:
				m.works(t, s)
			default:
				notServed(t, s, guide(t, f.Name()), m.later)
			}
		})
	}
}

// notServed fails when a kind of the list of what is missing is there: then
// the list is out of date.
func notServed(t *testing.T, s *stage.Stage, manifest, kind string) {
	t.Helper()
	if !regexp.MustCompile(`(?m)^kind: ` + kind + `$`).MatchString(manifest) {
		t.Fatalf("the manifest holds no %s", kind)
	}
	_, lists, err := s.Cluster.Client.Discovery().ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		for _, r := range list.APIResources {
			if r.Kind == kind {
				t.Errorf("%s is served now: write the test of its manifest", kind)
			}
		}
	}
	t.Logf("NOT YET: %s", kind)
}

const myapp = `apiVersion: v1
kind: Namespace
metadata:
  name: production
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: myapp
  namespace: production
spec:
  selector: {matchLabels: {app: myapp}}
  template:
    metadata: {labels: {app: myapp}}
    spec:
      containers:
      - name: myapp
        image: example.com/myapp:1
        env:
        - {name: CLUSTER, value: "${CLUSTER_NAME}"}
        - {name: REGION, value: "${REGION}"}
        - {name: DOMAIN, value: "${DOMAIN}"}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: left-over
  namespace: production
`

// guideFlux: a repository with credentials, a path of it, substituted, applied,
// healthy, and pruned.
func guideFlux(t *testing.T, s *stage.Stage) {
	repo, err := s.Git.Repository(t.Context(), "myorg/myapp-config.git")
	if err != nil {
		t.Fatal(err)
	}
	first, err := repo.Commit(t.Context(), "first", map[string]string{"environments/production/myapp.yaml": myapp})
	if err != nil {
		t.Fatal(err)
	}
	credentials := s.GitCredentials()
	credentials.Name = "github-credentials"
	if err := s.Ensure(t.Context(), credentials, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: stage.FluxNamespace, Name: "cluster-config"},
		Data:       map[string]string{"DOMAIN": "example.com", "REGION": "from the ConfigMap"},
	}); err != nil {
		t.Fatal(err)
	}
	apply(t, s, guide(t, "flux-gitrepository-kustomization.yaml", "https://github.com", s.Git.HTTP))

	ks := &kustomizev1.Kustomization{}
	eventually(t, enough, func() string { return notReady(t, s, ks, key(stage.FluxNamespace, "myapp-production")) })
	if want := "main@sha1:" + first; ks.Status.LastAppliedRevision != want {
		t.Errorf("applied revision: got %s, want %s", ks.Status.LastAppliedRevision, want)
	}
	if !apimeta.IsStatusConditionTrue(ks.Status.Conditions, "Healthy") {
		t.Errorf("Healthy: got %+v, want True", ks.Status.Conditions)
	}
	d := &appsv1.Deployment{}
	if err := s.Client.Get(t.Context(), key("production", "myapp"), d); err != nil {
		t.Fatal(err)
	}
	env := fmt.Sprint(d.Spec.Template.Spec.Containers[0].Env)
	for _, want := range []string{"production", "us-east-1", "example.com"} {
		if !strings.Contains(env, want) {
			t.Errorf("environment of the Deployment: got %s, want %q in it", env, want)
		}
	}
	if d.Status.AvailableReplicas != 1 {
		t.Errorf("available replicas when the Kustomization is Ready: got %d, want 1", d.Status.AvailableReplicas)
	}

	text, _, _ := strings.Cut(myapp, "---\napiVersion: v1\nkind: ConfigMap")
	if _, err := repo.Commit(t.Context(), "second", map[string]string{"environments/production/myapp.yaml": text}); err != nil {
		t.Fatal(err)
	}
	reconcile(t, s, "myapp")
	eventually(t, enough, func() string {
		err := s.Client.Get(t.Context(), key("production", "left-over"), &corev1.ConfigMap{})
		if err == nil {
			return "the ConfigMap is there, though no longer in Git"
		}
		return ""
	})
}

// reconcile asks a GitRepository to look at once.
func reconcile(t *testing.T, s *stage.Stage, name string) {
	t.Helper()
	r := &sourcev1.GitRepository{}
	if err := s.Client.Get(t.Context(), key(stage.FluxNamespace, name), r); err != nil {
		t.Fatal(err)
	}
	// A patch, as the controller may write the status in between.
	patch := client.MergeFrom(r.DeepCopy())
	r.Annotations = map[string]string{"reconcile.fluxcd.io/requestedAt": r.ResourceVersion}
	if err := s.Client.Patch(t.Context(), r, patch); err != nil {
		t.Fatal(err)
	}
}

// guideDependsOn: it waits for cert-manager, and goes on when that is there.
func guideDependsOn(t *testing.T, s *stage.Stage) {
	repo, err := s.Git.Repository(t.Context(), "public/fleet-infra.git")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Commit(t.Context(), "first", map[string]string{
		"infrastructure/ingress-nginx/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ingress-nginx, namespace: default}\n",
		"infrastructure/cert-manager/a.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cert-manager, namespace: default}\n",
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Ensure(t.Context(), s.GitCredentials(), stage.Source("fleet-infra", repo.URL(), time.Minute)); err != nil {
		t.Fatal(err)
	}
	apply(t, s, guide(t, "flux-depends-on.yaml"))
	ks := &kustomizev1.Kustomization{}
	eventually(t, enough, func() string {
		wrong := notReady(t, s, ks, key(stage.FluxNamespace, "ingress-nginx"))
		if strings.Contains(wrong, "DependencyNotReady") && strings.Contains(wrong, "cert-manager") {
			return ""
		}
		return "want it to wait for cert-manager; got: " + wrong
	})
	if err := s.Client.Get(t.Context(), key("default", "ingress-nginx"), &corev1.ConfigMap{}); err == nil {
		t.Error("it was applied before what it depends on")
	}
	if err := s.Ensure(t.Context(), stage.Sync("cert-manager", "fleet-infra", "./infrastructure/cert-manager")); err != nil {
		t.Fatal(err)
	}
	eventually(t, enough, func() string { return notReady(t, s, ks, key(stage.FluxNamespace, "ingress-nginx")) })
	if err := s.Client.Get(t.Context(), key("default", "ingress-nginx"), &corev1.ConfigMap{}); err != nil {
		t.Error(err)
	}
}

// guideSealedSecret: with a ciphertext of its own, made by kubeseal.
func guideSealedSecret(t *testing.T, s *stage.Stage) {
	namespace(t, s, "production")
	canary := testenv.NewCanary(t)
	sealed, err := s.Seal(t.Context(), "production", "db-password", map[string]string{"password": canary.Value()})
	if err != nil {
		t.Fatal(err)
	}
	_, ciphertext, ok := strings.Cut(sealed, "password: ")
	if !ok {
		t.Fatalf("kubeseal printed no password:\n%s", sealed)
	}
	ciphertext, _, _ = strings.Cut(ciphertext, "\n")
	apply(t, s, guide(t, "sealed-secret.yaml", "AgBy3i4OJSWK+PiTySYZZA9rO43cGDEq", ciphertext))
	at := key("production", "db-password")
	eventually(t, enough, func() string { return secretHolds(t, s, at, map[string]string{"password": canary.Value()}) })
	eventually(t, enough, func() string {
		o := &bitnamiv1alpha1.SealedSecret{}
		if err := s.Client.Get(t.Context(), at, o); err != nil {
			return err.Error()
		}
		for _, c := range o.Status.Conditions {
			if c.Type == bitnamiv1alpha1.Synced && c.Status == corev1.ConditionTrue {
				return ""
			}
		}
		return fmt.Sprintf("want Synced=True; conditions: %+v", o.Status.Conditions)
	})
	noLeak(t, s, canary, at)
}

// guideExternalSecret: v1beta1, by IRSA from AWS Secrets Manager.
func guideExternalSecret(t *testing.T, s *stage.Stage) {
	namespace(t, s, "production", "external-secrets")
	canary := testenv.NewCanary(t)
	role, err := s.AWS.Role(t.Context(), testenv.AWSRole{Name: "guide", Subject: "system:serviceaccount:external-secrets:external-secrets"})
	if err != nil {
		t.Fatal(err)
	}
	value := fmt.Sprintf(`{"username":"myapp","password":%q}`, canary.Value())
	if _, err := s.AWS.PutSecret(t.Context(), stage.Region, "prod/myapp/database", value); err != nil {
		t.Fatal(err)
	}
	if err := s.Ensure(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Namespace: "external-secrets", Name: "external-secrets", Annotations: map[string]string{"eks.amazonaws.com/role-arn": role}}}); err != nil {
		t.Fatal(err)
	}
	apply(t, s, guide(t, "external-secret.yaml"))
	at := key("production", "db-credentials")
	eventually(t, enough, func() string {
		return secretHolds(t, s, at, map[string]string{"username": "myapp", "password": canary.Value()})
	})
	eventually(t, enough, func() string {
		return notReady(t, s, &esv1.ExternalSecret{}, key("production", "database-credentials"))
	})
	eventually(t, enough, func() string { return notReady(t, s, &esv1.ClusterSecretStore{}, key("", "aws-secretsmanager")) })
	secret := &corev1.Secret{}
	if err := s.Client.Get(t.Context(), at, secret); err != nil {
		t.Fatal(err)
	}
	if owner := metav1.GetControllerOf(secret); owner == nil || owner.Name != "database-credentials" {
		t.Errorf("owner of the Secret: got %v, want the ExternalSecret, by creationPolicy Owner", owner)
	}
	noLeak(t, s, canary, at)
}
