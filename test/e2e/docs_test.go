package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// What a part of an object in the pages is completed with.
const (
	partOfExternalSecret = "{apiVersion: external-secrets.io/v1, kind: ExternalSecret, metadata: {name: part}, spec: {secretStoreRef: {name: a}, data: [{secretKey: a, remoteRef: {key: a}}]}}"
	partOfTemplate       = "{apiVersion: external-secrets.io/v1, kind: ExternalSecret, metadata: {name: part}, spec: {secretStoreRef: {name: a}, data: [{secretKey: a, remoteRef: {key: a}}], target: {template: {PART}}}}"
	partOfSealedSecret   = "{apiVersion: bitnami.com/v1alpha1, kind: SealedSecret, metadata: {name: part}}"
	partOfConfigMap      = "{apiVersion: v1, kind: ConfigMap, metadata: {name: part}}"
	partOfKustomization  = "{apiVersion: kustomize.toolkit.fluxcd.io/v1, kind: Kustomization, metadata: {name: part}, spec: {interval: 1h, prune: true, sourceRef: {kind: GitRepository, name: a}, PART}}"
	partOfStore          = "{apiVersion: external-secrets.io/v1, kind: ClusterSecretStore, metadata: {name: part}, spec: {provider: {vault: {server: 'https://vault.example.com'}}}}"
	partOfPush           = "{apiVersion: external-secrets.io/v1alpha1, kind: PushSecret, metadata: {name: part}, spec: {secretStoreRefs: [{name: a}], selector: {secret: {name: a}}, data: [{match: {remoteRef: {remoteKey: a}}, PART}]}}"
)

// parts are the blocks of the pages that are no whole objects, by page and
// first line, and what makes them one: where that says PART, or merged with it.
var parts = map[string]string{
	"external-secrets-aws.md metadata:                                # Secrets Manager": partOfPush,
	"external-secrets-gcp.md metadata:":                                                  partOfPush,
	"external-secrets-vault.md metadata:":                                                partOfStore,
	"external-secrets-vault.md metadata: (2)":                                            partOfPush,
	"multi-tenancy.md   kubeConfig:":                                                     partOfKustomization,
	"multi-tenancy.md data:":                                                             partOfConfigMap,
	"ordering-and-health.md   wait: true":                                                partOfKustomization,
	"ordering-and-health.md   ignore:":                                                   partOfKustomization,
	"templates-sealed.md spec:":                                                          partOfSealedSecret,
	"templates.md spec:":                                                                 partOfExternalSecret,
	"templates.md spec: (2)":                                                             partOfExternalSecret,
	"templates.md       templateFrom:":                                                   partOfTemplate,
}

// foreign are the blocks of YAML that are nothing of the API server's.
var foreign = map[string]string{
	"verify-in-ci.md jobs:": "a workflow of GitHub",
	"external-secrets-fast.md - alert: ExternalSecretsOverdue": "a rule of Prometheus, in a file of it",
	"metrics.md - alert: ExternalSecretNotReady":               "rules of Prometheus, in a file of it",
}

// block is a piece of a page between ``` and ```.
type block struct{ name, text string }

var (
	fence      = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	mapping    = regexp.MustCompile(`(?m)^\s*(- )?[\w.]+:( |$)`)
	shellLines = regexp.MustCompile(`(?m)^(\$|kubectl|helm|flux|lockstep|kubeseal|curl|git|go|cosign|aws|gcloud|vault|bao|make) ?`)
)

// blocks are the manifests of a page: those in blocks, and those that a
// command reads.
func blocks(t *testing.T, path string) (found []block) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, m := range fence.FindAllStringSubmatch(string(page), -1) {
		language, text := m[1], m[2]
		for i, h := range regexp.MustCompile(`(?s)<<'?YAML'?\n(.*?)\nYAML\n`).FindAllStringSubmatch(text, -1) {
			found = append(found, block{fmt.Sprintf("%s %s (manifest %d)", filepath.Base(path), first(text), i+1), h[1] + "\n"})
		}
		if language != "yaml" && (language != "" || strings.Contains(text, "<<") || shellLines.MatchString(text) || !mapping.MatchString(text)) {
			continue
		}
		name := filepath.Base(path) + " " + first(text)
		if seen[name]++; seen[name] > 1 {
			name = fmt.Sprintf("%s (%d)", name, seen[name])
		}
		found = append(found, block{name, text})
	}
	return found
}

func first(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// whole completes a part.
func whole(t *testing.T, part map[string]any, with string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if before, after, ok := strings.Cut(with, "PART"); ok {
		text, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		with, part = before+string(text[1:len(text)-1])+after, nil // without its braces
	}
	if err := yaml.Unmarshal([]byte(with), &o.Object); err != nil {
		t.Fatalf("%s: %v", with, err)
	}
	merge(o.Object, part)
	return o
}

func merge(into, from map[string]any) {
	for k, v := range from {
		a, ok := into[k].(map[string]any)
		b, both := v.(map[string]any)
		if ok && both {
			merge(a, b)
			continue
		}
		into[k] = v
	}
}

// TestEveryManifestOfThePages wants the API server to take each object of the
// pages, whole or in part, without a field that it does not know.
func TestEveryManifestOfThePages(t *testing.T) {
	s := shared.Get(t)
	ns := s.Cluster.Namespace(t)
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	objects, unused := 0, maps.Clone(parts)
	maps.Copy(unused, foreign)
	for _, page := range append(pages, "../../README.md") {
		for _, b := range blocks(t, page) {
			with, isPart := parts[b.name]
			_, isForeign := foreign[b.name]
			delete(unused, b.name)
			if isForeign {
				continue
			}
			for document := range strings.SplitSeq("\n"+b.text, "\n---\n") {
				o := &unstructured.Unstructured{}
				if err := yaml.UnmarshalStrict([]byte(document), &o.Object); err != nil {
					t.Errorf("%s: %v; if it is no manifest, add it to the list with a reason", b.name, err)
					continue
				}
				if isPart {
					o = whole(t, o.Object, with)
				}
				objects++
				if err := accepted(t, s.Client, ns, o); err != nil {
					t.Errorf("%s: %v", b.name, err)
				}
			}
		}
	}
	if objects < 40 {
		t.Errorf("%d objects in the pages, want those of all pages", objects)
	}
	for _, name := range slices.Sorted(maps.Keys(unused)) {
		t.Errorf("%q is in the lists and not in the pages", name)
	}
	t.Logf("%d objects", objects)
}

// accepted asks the API server whether it would take an object, in a namespace
// that is there, and under a name that nothing has.
func accepted(t *testing.T, c client.Client, ns string, o *unstructured.Unstructured) error {
	t.Helper()
	if o.GetKind() == "" || o.GetAPIVersion() == "" {
		return errors.New("no apiVersion or kind: if it is part of an object, add it to the list with what completes it")
	}
	namespaced, err := c.IsObjectNamespaced(o)
	if err != nil {
		return err
	}
	if namespaced {
		o.SetNamespace(ns)
	}
	o.SetName(o.GetName() + "-of-the-pages")
	return c.Create(t.Context(), o, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict))
}
