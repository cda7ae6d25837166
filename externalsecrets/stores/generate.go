package stores

import (
	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// References returns what objects of a namespace may refer to without a store,
// as generators do: what is in that namespace.
func (s *Stores) References(namespace string) providers.References {
	return &references{reader: s.Reader, writer: s.Client, scope: scope{own: namespace}}
}

// Retries reads spec.retrySettings of a store or a generator; nil is none.
func Retries(s *esv1.RetrySettings) (providers.Retries, error) { return retries(s) }
