package stores

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// AnnotationKeyPolicy on a ClusterSecretStore says which namespaces may use
// which keys: a YAML list of rules, of which one must fit. Without it, every
// namespace that the store admits may use every key.
const AnnotationKeyPolicy = "lockstep.dev/key-policy"

// ErrKeyPolicy says that a namespace may not use a key.
var ErrKeyPolicy = errors.New("key is not for this namespace")

// keyRule lets namespaces use the keys below prefixes.
type keyRule struct {
	Namespaces []string `json:"namespaces"` // patterns such as team-*; none is all
	Prefixes   []string `json:"prefixes"`   // {{namespace}} is that of the object
}

// permits returns ErrKeyPolicy unless the store's policy lets namespace use
// key; or with prefix, every key that begins with it.
func permits(store esv1.GenericStore, namespace, key string, prefix bool) error {
	text, ok := store.GetAnnotations()[AnnotationKeyPolicy]
	if !ok || store.GetNamespace() != "" {
		return nil
	}
	if !prefix {
		key = within(store.StoreSpec().Provider, key)
	}
	var rules []keyRule
	if err := yaml.UnmarshalStrict([]byte(text), &rules); err != nil {
		// Nothing is allowed by a rule that cannot be read.
		return fmt.Errorf("annotation %s: %w: it must be a list of {namespaces, prefixes}: correct it", AnnotationKeyPolicy, providers.ErrInvalid)
	}
	for _, rule := range rules {
		if rule.admits(namespace) && rule.covers(namespace, key) {
			return nil
		}
	}
	if prefix {
		return fmt.Errorf("%w: what is below %q may not be searched in namespace %q: set find.path to a prefix that annotation %s of the store allows", ErrKeyPolicy, key, namespace, AnnotationKeyPolicy)
	}
	return fmt.Errorf("%w: %q may not be used in namespace %q: add it to annotation %s of the store, or use another key", ErrKeyPolicy, key, namespace, AnnotationKeyPolicy)
}

// within returns a key without the mount of the engine, which Vault and
// OpenBao take off it: it is no prefix that a rule could mean.
func within(p *esv1.SecretStoreProvider, key string) string {
	var mount *string
	switch {
	case p != nil && p.Vault != nil:
		mount = p.Vault.Path
	case p != nil && p.OpenBao != nil:
		mount = p.OpenBao.Path
	}
	if mount == nil || strings.Trim(*mount, "/") == "" {
		return key
	}
	rest, named := strings.CutPrefix(strings.Trim(key, "/"), strings.Trim(*mount, "/")+"/")
	if !named {
		return key
	}
	return strings.TrimPrefix(rest, "data/")
}

func (r keyRule) admits(namespace string) bool {
	return len(r.Namespaces) == 0 || slices.ContainsFunc(r.Namespaces, func(pattern string) bool {
		ok, err := path.Match(pattern, namespace)
		return err == nil && ok
	})
}

func (r keyRule) covers(namespace, key string) bool {
	if strays(key) {
		return false
	}
	return slices.ContainsFunc(r.Prefixes, func(prefix string) bool {
		prefix = strings.ReplaceAll(prefix, "{{namespace}}", namespace)
		return prefix != "" && strings.HasPrefix(key, prefix)
	})
}

// strays reports whether a key could mean one outside of its prefix to a store
// that takes it for a path.
func strays(key string) bool {
	for segment := range strings.SplitSeq(strings.ReplaceAll(key, "\\", "/"), "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return strings.Contains(key, "%") || strings.ContainsAny(key, "?#")
}
