package stores

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// Kinds of objects that a store refers to.
const (
	kindSecret         = "Secret"
	kindConfigMap      = "ConfigMap"
	kindServiceAccount = "ServiceAccount"
)

// selector is a reference out of a store's spec.
type selector struct {
	field     string // path in the store
	kind      string
	namespace *string
	name      string
	authority bool // who is trusted to sign for the server
}

// selectors finds every reference in the settings of a provider, by the type
// of its fields, so that no provider can have one that is overlooked.
func selectors(p *esv1.SecretStoreProvider) []selector {
	var found []selector
	if p != nil {
		find(reflect.ValueOf(*p), "spec.provider", &found)
	}
	return found
}

func find(v reflect.Value, field string, found *[]selector) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			find(v.Elem(), field, found)
		}
	case reflect.Slice:
		for i := range v.Len() {
			find(v.Index(i), fmt.Sprintf("%s[%d]", field, i), found)
		}
	case reflect.Struct:
		if s, ok := selectorOf(v.Interface()); ok {
			if s.name != "" {
				s.field = field
				*found = append(*found, s)
			}
			return
		}
		findFields(v, field, found)
	}
}

func findFields(v reflect.Value, field string, found *[]selector) {
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		switch {
		case name == "-" || !v.Type().Field(i).IsExported():
		case name == "": // inline
			find(v.Field(i), field, found)
		default:
			find(v.Field(i), field+"."+name, found)
		}
	}
}

func selectorOf(v any) (selector, bool) {
	switch s := v.(type) {
	case esv1.SecretKeySelector:
		return selector{kind: kindSecret, namespace: s.Namespace, name: s.Name}, true
	case esv1.ServiceAccountSelector:
		return selector{kind: kindServiceAccount, namespace: s.Namespace, name: s.Name}, true
	case esv1.CAProvider:
		return selector{kind: string(s.Type), namespace: s.Namespace, name: s.Name, authority: true}, true
	case esv1.GCPSecretName:
		return selector{kind: kindSecret, namespace: &s.Namespace, name: s.Name}, true
	case esv1.GCPConfigMapKey:
		return selector{kind: kindConfigMap, namespace: &s.Namespace, name: s.Name}, true
	default:
		return selector{}, false
	}
}

// usesReferent reports whether a ClusterSecretStore depends on the namespace
// of the object that uses it: a reference of it names none. Of a provider
// whose settings have no type here, nothing is known, so it does.
func usesReferent(p *esv1.SecretStoreProvider) bool {
	for _, s := range selectors(p) {
		if s.namespace == nil || *s.namespace == "" {
			return true
		}
	}
	return p != nil && len(p.Other) > 0 || tellsNamespace(p) != ""
}

// tellsNamespace returns the field that makes the service be told which
// namespace a read is for; "" if there is none.
func tellsNamespace(p *esv1.SecretStoreProvider) string {
	if p == nil {
		return ""
	}
	if p.AWS != nil && p.AWS.SessionTagsPolicy != "" && p.AWS.SessionTagsPolicy != esv1.AWSSessionTagsNone {
		return "spec.provider.aws.sessionTagsPolicy"
	}
	if w := p.Webhook; w != nil {
		texts := append(slices.Collect(maps.Values(w.Headers)), w.URL, w.Body)
		if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, "remoteRef.namespace") }) {
			return "spec.provider.webhook"
		}
	}
	return ""
}

// checkAuthorities refuses a ClusterSecretStore that has its users say who may
// sign for its server: it would trust the server of anyone.
func checkAuthorities(store esv1.GenericStore) error {
	for _, s := range selectors(store.StoreSpec().Provider) {
		if s.authority && store.GetNamespace() == "" && (s.namespace == nil || *s.namespace == "") {
			return fmt.Errorf("%s.namespace: %w: it is missing: a ClusterSecretStore must say where its certificates are", s.field, providers.ErrInvalid)
		}
	}
	return nil
}

// scope is where a store may read: the one function that decides it.
type scope struct {
	own      string // namespace of a SecretStore; "" for a ClusterSecretStore
	referent string // namespace of the object that uses a ClusterSecretStore; "" if unknown
}

// namespace returns the namespace that a reference means, or why it may not.
func (s scope) namespace(field string, wanted *string) (string, error) {
	switch {
	case s.own != "" && (wanted == nil || *wanted == "" || *wanted == s.own):
		return s.own, nil
	case s.own != "":
		return "", fmt.Errorf("%s: %w: namespace %q is not that of the SecretStore, %q: move one of them, or use a ClusterSecretStore", field, providers.ErrInvalid, *wanted, s.own)
	case wanted != nil && *wanted != "":
		return *wanted, nil
	case s.referent != "":
		return s.referent, nil
	default:
		return "", fmt.Errorf("%s: %w", field, errReferent)
	}
}
