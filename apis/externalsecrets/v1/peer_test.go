package v1_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// peer is what External Secrets Operator 2.9 has of each kind: every field of
// v1, or of v1alpha1 for pushes, how kubectl lists it, and what can be selected.
// {a b} stands for two fields, $remoteRef for what parts has.
var peer = map[string]struct{ fields, columns, short, selectable string }{
	"ExternalSecret": {
		fields: `spec.secretStoreRef.{name kind} spec.target.{name creationPolicy deletionPolicy immutable} spec.target.manifest.{apiVersion kind} spec.target.template.$template
			spec.refreshPolicy spec.refreshInterval spec.syncWindows.kind spec.syncWindows.windows.{schedule duration}
			spec.data.secretKey spec.data.remoteRef.$remoteRef spec.data.sourceRef.$sourceRef
			spec.dataFrom.extract.$remoteRef spec.dataFrom.find.{path name.regexp tags conversionStrategy decodingStrategy nullBytePolicy} spec.dataFrom.rewrite.$rewrite spec.dataFrom.sourceRef.$sourceRef
			status.{refreshTime syncedResourceVersion} status.conditions.{type status reason message lastTransitionTime} status.binding.name`,
		columns: "StoreType, Store, Refresh Interval, Status, Ready, Last Sync", short: "es",
		selectable: ".spec.secretStoreRef.name .spec.secretStoreRef.kind .spec.target.name .spec.refreshInterval",
	},
	"ClusterExternalSecret": {
		fields: `spec.externalSecretSpec.{data dataFrom target refreshInterval refreshPolicy secretStoreRef syncWindows} spec.externalSecretName spec.externalSecretMetadata.{annotations labels}
			spec.namespaceSelector.{matchLabels matchExpressions} spec.namespaceSelectors.{matchLabels matchExpressions} spec.namespaces spec.refreshTime
			status.externalSecretName status.failedNamespaces.{namespace reason} status.provisionedNamespaces status.conditions.{type status message}`,
		columns: "Store, Refresh Interval, Ready", short: "ces",
	},
	"SecretStore":        {fields: storeFields, columns: "AGE, Status, Capabilities, Ready", short: "ss"},
	"ClusterSecretStore": {fields: storeFields, columns: "AGE, Status, Capabilities, Ready", short: "css"},
	"PushSecret": {
		fields: `spec.{refreshInterval updatePolicy deletionPolicy} spec.secretStoreRefs.{name kind} spec.secretStoreRefs.labelSelector.{matchLabels matchExpressions}
			spec.selector.secret.{name selector} spec.selector.generatorRef.{apiVersion kind name}
			spec.data.match.secretKey spec.data.match.remoteRef.{remoteKey property} spec.data.{metadata conversionStrategy}
			spec.dataTo.storeRef.{name kind labelSelector} spec.dataTo.{remoteKey metadata conversionStrategy} spec.dataTo.match.regexp spec.dataTo.rewrite.{regexp transform} spec.template.$template
			status.{refreshTime syncedResourceVersion syncedPushSecrets} status.conditions.{type status reason message lastTransitionTime}`,
		columns: "AGE, Status, Last Sync", short: "ps",
	},
	"ClusterPushSecret": {
		fields:  `spec.pushSecretSpec.{data dataTo selector secretStoreRefs template} spec.{refreshTime pushSecretName} spec.pushSecretMetadata.{annotations labels} spec.namespaceSelectors.{matchLabels matchExpressions}`,
		columns: "AGE, Status",
	},
}

const storeFields = `spec.controller spec.retrySettings.{maxRetries retryInterval} spec.refreshInterval spec.conditions.{namespaceSelector namespaces namespaceRegexes} status.conditions.{type status reason message} status.capabilities
	spec.provider.aws.{service region role additionalRoles externalID transitiveTagKeys sessionTagsPolicy customSessionTags prefix} spec.provider.aws.sessionTags.{key value}
	spec.provider.aws.auth.secretRef.{accessKeyIDSecretRef.$key secretAccessKeySecretRef.$key sessionTokenSecretRef.$key} spec.provider.aws.auth.jwt.serviceAccountRef.$account spec.provider.aws.secretsManager.{forceDeleteWithoutRecovery recoveryWindowInDays}
	spec.provider.gcpsm.{projectID location secretVersionSelectionPolicy} spec.provider.gcpsm.auth.secretRef.secretAccessKeySecretRef.$key
	spec.provider.gcpsm.auth.workloadIdentity.{serviceAccountRef.$account clusterLocation clusterName clusterProjectID}
	spec.provider.gcpsm.auth.workloadIdentityFederation.{credConfig.$key serviceAccountRef.$account audience externalTokenEndpoint gcpServiceAccountEmail}
	spec.provider.gcpsm.auth.workloadIdentityFederation.awsSecurityCredentials.{region awsCredentialsSecretRef.name awsCredentialsSecretRef.namespace}
	spec.provider.kubernetes.server.{url caBundle caProvider.$ca} spec.provider.kubernetes.auth.{cert.clientCert.$key cert.clientKey.$key token.bearerToken.$key serviceAccount.$account} spec.provider.kubernetes.{authRef.$key remoteNamespace}
	spec.provider.fake.data.{key value version} spec.provider.fake.validationResult
	spec.provider.webhook.{method url headers body timeout result.jsonPath secrets.name secrets.secretRef.$key caBundle caProvider.$ca auth.ntlm.usernameSecret.$key auth.ntlm.passwordSecret.$key}`

// parts are what several kinds have.
var parts = map[string]string{
	"template":  "{type engineVersion metadata.annotations metadata.labels metadata.finalizers mergePolicy data templateFrom.configMap.$from templateFrom.secret.$from templateFrom.target templateFrom.literal templateFrom.valuesDecodingStrategy}",
	"from":      "{name items.key items.templateAs}",
	"remoteRef": "{key property version metadataPolicy conversionStrategy decodingStrategy nullBytePolicy}",
	"sourceRef": "{storeRef.name storeRef.kind generatorRef.apiVersion generatorRef.kind generatorRef.name}",
	"rewrite":   "{merge.into merge.priority merge.priorityPolicy merge.conflictPolicy merge.strategy regexp.source regexp.target transform.template}",
	"key":       "{name namespace key}", "account": "{name namespace audiences}", "ca": "{type name key namespace}",
}

// expand writes out {} and $.
func expand(text string) (all []string) {
	for _, field := range splitOutside(text) {
		open, dollar := strings.IndexByte(field, '{'), strings.IndexByte(field, '$')
		switch {
		case open >= 0 && (dollar < 0 || open < dollar):
			for _, inner := range expand(field[open+1 : len(field)-1]) {
				all = append(all, field[:open]+inner)
			}
		case dollar >= 0:
			all = append(all, expand(field[:dollar]+parts[field[dollar+1:]])...)
		default:
			all = append(all, field)
		}
	}
	return all
}

// splitOutside splits at spaces that are in no braces.
func splitOutside(text string) []string {
	depth := 0
	return strings.FieldsFunc(text, func(r rune) bool {
		switch r {
		case '{':
			depth++
		case '}':
			depth--
		}
		return depth == 0 && (r == ' ' || r == '\n' || r == '\t')
	})
}

// has reports whether a schema has a field; what is in a list or map has the
// path of that.
func has(s *apiextensionsv1.JSONSchemaProps, path []string) bool {
	for s != nil && s.Items != nil {
		s = s.Items.Schema
	}
	if s == nil || len(path) == 0 {
		return s != nil
	}
	next, ok := s.Properties[path[0]]
	return ok && has(&next, path[1:])
}

// TestPeer sees that every version of every kind has all that the peer has.
func TestPeer(t *testing.T) {
	seen := map[string]bool{}
	for _, crd := range definitions(t) {
		kind := crd.Spec.Names.Kind
		want, ok := peer[kind]
		if !ok {
			continue // a generator
		}
		seen[kind] = true
		fields := expand(want.fields)
		if len(fields) < 10 {
			t.Fatalf("%s: %d fields: this test went blind", kind, len(fields))
		}
		for _, v := range crd.Spec.Versions {
			for _, field := range fields {
				if !has(v.Schema.OpenAPIV3Schema, strings.Split(field, ".")) {
					t.Errorf("%s of %s has no %s", v.Name, kind, field)
				}
			}
			columns, selectable := "", ""
			for _, c := range v.AdditionalPrinterColumns {
				columns += ", " + c.Name
			}
			for _, f := range v.SelectableFields {
				selectable += " " + f.JSONPath
			}
			if diff := cmp.Diff([]string{want.columns, want.selectable}, []string{strings.TrimPrefix(columns, ", "), strings.TrimPrefix(selectable, " ")}); diff != "" {
				t.Errorf("columns and selectable fields of %s %s (-peer +ours):\n%s", kind, v.Name, diff)
			}
		}
		if got := strings.Join(crd.Spec.Names.ShortNames, " "); got != want.short || !slices.Contains(crd.Spec.Names.Categories, "external-secrets") {
			t.Errorf("%s: short name %q, want %q, and the category external-secrets", kind, got, want.short)
		}
		if crd.Labels["external-secrets.io/component"] != "controller" {
			t.Errorf("%s: labels %v", kind, crd.Labels)
		}
	}
	if len(seen) != len(peer) {
		t.Errorf("kinds: got %v, want all of %v", slices.Sorted(maps.Keys(seen)), slices.Sorted(maps.Keys(peer)))
	}
}
