package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kind is one that get lists.
type kind struct {
	schema.GroupVersionResource
	name    string
	cluster bool // it is in no namespace
	inert   bool // it has no state: other objects use it
	// detail says what an object holds, from its content; nil for nothing.
	detail func(object map[string]any) string
}

// groups are what can be asked for, in the order in which they are shown.
var groups = []struct {
	name  string
	kinds []kind
}{
	{"sources", in("source.toolkit.fluxcd.io", "v1",
		kind{name: "GitRepository", GroupVersionResource: plural("gitrepositories"), detail: artifact},
		kind{name: "OCIRepository", GroupVersionResource: plural("ocirepositories"), detail: artifact},
		kind{name: "Bucket", GroupVersionResource: plural("buckets"), detail: artifact},
		kind{name: "ExternalArtifact", GroupVersionResource: plural("externalartifacts"), detail: artifact},
	)},
	{"syncs", in("kustomize.toolkit.fluxcd.io", "v1",
		kind{name: "Kustomization", GroupVersionResource: plural("kustomizations"), detail: revision("lastAppliedRevision")},
	)},
	{"secrets", slices.Concat(
		in("bitnami.com", "v1alpha1", kind{name: "SealedSecret", GroupVersionResource: plural("sealedsecrets"), detail: sealed}),
		in("lockstep.dev", "v1alpha1", kind{name: "Reseal", GroupVersionResource: plural("reseals"), detail: revision("revision")}),
		in("external-secrets.io", "v1",
			kind{name: "ExternalSecret", GroupVersionResource: plural("externalsecrets"), detail: store},
			kind{name: "ClusterExternalSecret", GroupVersionResource: plural("clusterexternalsecrets"), cluster: true, detail: namespaces},
		),
		in("external-secrets.io", "v1alpha1",
			kind{name: "PushSecret", GroupVersionResource: plural("pushsecrets"), detail: stores},
			kind{name: "ClusterPushSecret", GroupVersionResource: plural("clusterpushsecrets"), cluster: true, detail: namespaces},
		),
	)},
	{"stores", in("external-secrets.io", "v1",
		kind{name: "SecretStore", GroupVersionResource: plural("secretstores"), detail: provider},
		kind{name: "ClusterSecretStore", GroupVersionResource: plural("clustersecretstores"), cluster: true, detail: provider},
	)},
	{"generators", in("generators.external-secrets.io", "v1alpha1",
		kind{name: "ECRAuthorizationToken", GroupVersionResource: plural("ecrauthorizationtokens"), inert: true},
		kind{name: "Fake", GroupVersionResource: plural("fakes"), inert: true},
		kind{name: "GCRAccessToken", GroupVersionResource: plural("gcraccesstokens"), inert: true},
		kind{name: "Password", GroupVersionResource: plural("passwords"), inert: true},
		kind{name: "SSHKey", GroupVersionResource: plural("sshkeys"), inert: true},
		kind{name: "STSSessionToken", GroupVersionResource: plural("stssessiontokens"), inert: true},
		kind{name: "UUID", GroupVersionResource: plural("uuids"), inert: true},
		kind{name: "VaultDynamicSecret", GroupVersionResource: plural("vaultdynamicsecrets"), inert: true},
		kind{name: "Webhook", GroupVersionResource: plural("webhooks"), inert: true},
		kind{name: "ClusterGenerator", GroupVersionResource: plural("clustergenerators"), inert: true, cluster: true,
			detail: func(o map[string]any) string { return text(o, "spec", "kind") }},
	)},
}

func plural(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Resource: resource}
}

// in puts kinds into a version of an API.
func in(group, version string, kinds ...kind) []kind {
	for i := range kinds {
		kinds[i].Group, kinds[i].Version = group, version
	}
	return kinds
}

// names are what can be asked for: groups, and kinds in the plural.
func names() []string {
	var all, plurals []string
	for _, g := range groups {
		all = append(all, g.name)
		for _, k := range g.kinds {
			plurals = append(plurals, k.Resource)
		}
	}
	return append(all, plurals...)
}

func artifact(o map[string]any) string { return short(text(o, "status", "artifact", "revision")) }

// revision is one that a field of the status holds.
func revision(field string) func(map[string]any) string {
	return func(o map[string]any) string { return short(text(o, "status", field)) }
}

// short cuts the hash of a revision such as main@sha1:0123... to seven digits.
func short(revision string) string {
	const digits = 7
	i := strings.LastIndexByte(revision, ':')
	if i < 0 || len(revision)-i-1 <= digits {
		return revision
	}
	return revision[:i+1+digits]
}

func sealed(o map[string]any) string {
	n, _, _ := unstructured.NestedMap(o, "spec", "encryptedData")
	return fmt.Sprintf("%d sealed", len(n))
}

// store is where an ExternalSecret gets its values from.
func store(o map[string]any) string {
	if name := text(o, "spec", "secretStoreRef", "name"); name != "" {
		return "from " + name
	}
	return "from several"
}

// stores are where a PushSecret writes to.
func stores(o map[string]any) string {
	refs, _, _ := unstructured.NestedSlice(o, "spec", "secretStoreRefs")
	var to []string
	for _, ref := range refs {
		m, _ := ref.(map[string]any)
		if name := text(m, "name"); name != "" {
			to = append(to, name)
			continue
		}
		to = append(to, "those with labels")
	}
	return "to " + strings.Join(to, ", ")
}

// namespaces is how many have what a cluster-wide object makes.
func namespaces(o map[string]any) string {
	made, _, _ := unstructured.NestedSlice(o, "status", "provisionedNamespaces")
	failed, _, _ := unstructured.NestedSlice(o, "status", "failedNamespaces")
	return fmt.Sprintf("in %d of %d namespaces", len(made), len(made)+len(failed))
}

// provider names the service of a store.
func provider(o map[string]any) string {
	p, _, _ := unstructured.NestedMap(o, "spec", "provider")
	return strings.Join(slices.Sorted(maps.Keys(p)), ", ")
}

func text(o map[string]any, path ...string) string {
	s, _, _ := unstructured.NestedString(o, path...)
	return s
}
