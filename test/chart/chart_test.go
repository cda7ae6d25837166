// Package chart tests charts/lockstep: what it renders, and that the controller
// works with exactly the rights that it grants. It is a module of its own, for
// Helm's SDK.
package chart

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

const (
	chartDir = "../../charts/lockstep"
	crdDir   = chartDir + "/crds"
)

// everything is set to something else than its default.
func everything() map[string]any {
	return map[string]any{
		"image":            map[string]any{"repository": "controller", "tag": "v9", "digest": "sha256:" + strings.Repeat("a", 64), "pullPolicy": "Always"},
		"imagePullSecrets": []any{map[string]any{"name": "pull"}},
		"replicas":         2,
		"serviceAccount":   map[string]any{"annotations": map[string]any{"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/lockstep"}},
		"sync":             map[string]any{"serviceAccount": "deployer", "clusterRole": "cluster-admin", "defaultServiceAccount": "flux", "overrideManagers": []any{"robot", "example.com/ui"}, "plaintextSecrets": "warn", "sopsAgeSecret": "sops-age", "plaintextValues": "refuse", "plaintextValuesIgnoredRules": []any{"generic-api-key", "url-password"}, "plaintextSecretsAllowedIn": []any{"legacy", "team-a/app"}},
		"controller":       map[string]any{"logLevel": "debug", "class": "mine", "allowCrossNamespaceRefs": true, "allowHTTPCredentials": true},
		"aws":              map[string]any{"secretsManagerEndpoint": "https://secretsmanager.example.com", "stsEndpoint": "https://sts.example.com"},
		"sealing":          map[string]any{"keyPrefix": "key", "keySize": 2048, "keyTTL": "24h"},
		"service":          map[string]any{"name": "sealing"},
		"networkPolicy":    map[string]any{"enabled": false},
		"metrics":          map[string]any{"annotate": true},
		"resources":        map[string]any{"limits": map[string]any{"memory": "2Gi"}},
		"podAnnotations":   map[string]any{"example.com/a": "b"},
		"podLabels":        map[string]any{"example.com/c": "d"},
		"nodeSelector":     map[string]any{"kubernetes.io/os": "linux"},
		"tolerations":      []any{map[string]any{"operator": "Exists"}},
		"affinity":         map[string]any{"nodeAffinity": map[string]any{}},
	}
}

func TestLint(t *testing.T) {
	for name, values := range map[string]map[string]any{"defaults": {}, "everything": everything()} {
		lint := action.NewLint()
		lint.Strict, lint.Namespace = true, "lockstep"
		result := lint.Run([]string{chartDir}, values)
		if result.TotalChartsLinted != 1 {
			t.Errorf("%s: %d charts linted, want 1", name, result.TotalChartsLinted)
		}
		for _, err := range result.Errors {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	for field, values := range map[string]map[string]any{
		"replica":   {"replica": 2},
		"loglevel":  {"controller": map[string]any{"loglevel": "info"}},
		"logLevel":  {"controller": map[string]any{"logLevel": "loud"}},
		"replicas":  {"replicas": -1},
		"digest":    {"image": map[string]any{"digest": "latest"}},
		"keySize":   {"sealing": map[string]any{"keySize": 1024}},
		"keyTTL":    {"sealing": map[string]any{"keyTTL": "10y"}},
		"service":   {"service": map[string]any{"name": "Not A Name"}},
		"sync":      {"sync": map[string]any{"serviceAccount": "", "clusterRole": "cluster-admin"}},
		"resources": {"resources": map[string]any{"limit": map[string]any{}}},
	} {
		if _, err := render(values); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: error %v, want one that names it", field, err)
		}
	}
}

func TestPodsAreRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
	for name, values := range map[string]map[string]any{"defaults": {}, "everything": everything()} {
		deployments := find[appsv1.Deployment](t, values, "Deployment")
		for _, d := range deployments {
			pod := d.Spec.Template
			result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec))
			if !result.Allowed {
				t.Errorf("%s: Deployment %s is not restricted: %s", name, d.Name, result.ForbiddenDetail())
			}
			for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
				if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
					t.Errorf("%s: container %s can write to its root file system", name, c.Name)
				}
			}
		}
		// Whatever else runs Pods must be looked at here too.
		for _, kind := range []string{"Pod", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicaSet"} {
			if n := len(objects(t, values, kind)); n > 0 {
				t.Errorf("%s: %d objects of kind %s, which this test does not look at", name, n, kind)
			}
		}
	}
}

// TestService holds what kubeseal relies on: it asks the API server to proxy
// to the first port of the Service, by its name.
func TestService(t *testing.T) {
	services := find[corev1.Service](t, nil, "Service")
	if len(services) != 1 || services[0].Name != "sealed-secrets-controller" {
		t.Fatalf("services: %v, want sealed-secrets-controller", services)
	}
	if p := services[0].Spec.Ports[0]; p.Name != "http" || p.Port != 8080 {
		t.Errorf("first port is %s %d, want http 8080", p.Name, p.Port)
	}
}

// TestRules holds the line on rights that would be worth everything.
func TestRules(t *testing.T) {
	roles := find[rbacv1.ClusterRole](t, nil, "ClusterRole")
	if len(roles) != 1 || len(roles[0].Rules) == 0 {
		t.Fatalf("cluster roles: %v, want one with rules", roles)
	}
	for _, r := range roles[0].Rules {
		for _, all := range [][]string{r.APIGroups, r.Resources, r.Verbs} {
			for _, s := range all {
				if s == "*" || s == "escalate" || s == "bind" || strings.HasPrefix(s, "pods/") {
					t.Errorf("rule %v grants %q", r, s)
				}
			}
		}
		for _, resource := range r.Resources {
			if (resource == "users" || resource == "groups") && len(r.ResourceNames) == 0 {
				t.Errorf("rule %v acts as any of %s", r, resource)
			}
		}
	}
	if bindings := find[rbacv1.ClusterRoleBinding](t, nil, "ClusterRoleBinding"); len(bindings) != 1 {
		t.Errorf("%d ClusterRoleBindings by default, want one: the sync account gets none", len(bindings))
	}
}

// maxCRD is what client-side apply can take: it keeps the whole object in an
// annotation, and an object's annotations have 262144 bytes.
const maxCRD = 200_000

func TestCRDs(t *testing.T) {
	files, err := filepath.Glob(crdDir + "/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs in %s: %v", crdDir, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > maxCRD {
			t.Errorf("%s has %d bytes, more than %d: kubectl apply refuses it", filepath.Base(file), len(data), maxCRD)
		}
	}
}

// render returns what the chart renders without a cluster.
func render(values map[string]any) (string, error) {
	chart, err := loader.Load(chartDir)
	if err != nil {
		return "", err
	}
	install := action.NewInstall(action.NewConfiguration())
	install.DryRunStrategy = action.DryRunClient
	install.ReleaseName, install.Namespace = "lockstep", "lockstep"
	install.KubeVersion = &common.KubeVersion{Version: "v1.37.2", Major: "1", Minor: "37"}
	release, err := install.Run(chart, values)
	if err != nil {
		return "", err
	}
	return release.(*releasev1.Release).Manifest, nil
}

// objects returns the rendered objects of a kind.
func objects(t *testing.T, values map[string]any, kind string) []unstructured.Unstructured {
	t.Helper()
	if values == nil {
		values = map[string]any{}
	}
	manifest, err := render(values)
	if err != nil {
		t.Fatal(err)
	}
	var found []unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(manifest)), 4096)
	for {
		var o unstructured.Unstructured
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if o.GetKind() == kind {
			found = append(found, o)
		}
	}
}

// find returns the rendered objects of a kind as T, which there must be. A field
// that T does not have is an error.
func find[T any](t *testing.T, values map[string]any, kind string) []T {
	t.Helper()
	var found []T
	for _, o := range objects(t, values, kind) {
		var typed T
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, &typed, true); err != nil {
			t.Fatalf("%s %s: %v", kind, o.GetName(), err)
		}
		found = append(found, typed)
	}
	if len(found) == 0 {
		t.Fatalf("the chart renders no %s", kind)
	}
	return found
}
