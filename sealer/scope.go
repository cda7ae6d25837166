package sealer

import "fmt"

// Scope says where a sealed value may be opened.
type Scope int

// The scopes, narrowest first. The zero Scope is the narrowest.
const (
	Strict        Scope = iota // under one name in one namespace
	NamespaceWide              // under any name in one namespace
	ClusterWide                // anywhere in the cluster
)

var scopes = [...]string{Strict: "strict", NamespaceWide: "namespace-wide", ClusterWide: "cluster-wide"}

// ParseScope returns the Scope that String spells; empty is Strict.
func ParseScope(s string) (Scope, error) {
	if s == "" {
		return Strict, nil
	}
	for scope, name := range scopes {
		if s == name {
			return Scope(scope), nil
		}
	}
	return 0, fmt.Errorf("scope %q: must be one of strict, namespace-wide, cluster-wide", s)
}

// String returns the scope as kubeseal's --scope spells it.
func (s Scope) String() string {
	if s < 0 || int(s) >= len(scopes) {
		return fmt.Sprintf("scope(%d)", int(s))
	}
	return scopes[s]
}

// A Binding is the place that a value is sealed for.
type Binding struct {
	Namespace string // empty only if Scope is ClusterWide
	Name      string // of the Secret; means nothing unless Scope is Strict
	Scope     Scope
}

// Label returns the OAEP label that binds a value to b.
//
// Source: EncryptionLabel in bitnami-labs/sealed-secrets v0.36.6.
func (b Binding) Label() []byte {
	switch b.Scope {
	case ClusterWide:
		return []byte{}
	case NamespaceWide:
		return []byte(b.Namespace)
	default: // what is not known to be wider is as narrow as can be
		return []byte(b.Namespace + "/" + b.Name)
	}
}

// String describes b for people.
func (b Binding) String() string {
	switch b.Scope {
	case ClusterWide:
		return "scope cluster-wide"
	case NamespaceWide:
		return fmt.Sprintf("namespace %q, scope namespace-wide", b.Namespace)
	default:
		return fmt.Sprintf("namespace %q, name %q, scope strict", b.Namespace, b.Name)
	}
}
