package stores

import "github.com/lockstep-dev/lockstep/providers"

// References returns what objects of a namespace may refer to without a store,
// as generators do: what is in that namespace.
func (s *Stores) References(namespace string) providers.References {
	return &references{reader: s.Reader, writer: s.Client, scope: scope{own: namespace}}
}
