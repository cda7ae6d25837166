package conformance

import (
	"testing"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// Change sets fields of the settings of a provider, each by its path in them,
// such as auth.secretRef. Nil removes one.
type Change map[string]any

// Fields is the inventory of the settings of a provider: each of them is
// served, or refused by its name, and none is ignored.
type Fields struct {
	// Provider is the key of spec.provider, and Settings the Go type of what is
	// below it.
	Provider string
	Settings any
	// Base are settings that work.
	Base map[string]any
	// Served says, for each field that is served, how to set it: what the store
	// does then is not what it does with the rest of the Change alone.
	Served map[string]Change
	// Refused says, for each field that is not served, how to set it.
	Refused map[string]Change
	// Idle says how to set a field that asks for what is done anyway.
	Idle map[string]Change
	// Trace opens a store, uses it in every way, and returns what it has read
	// and sent.
	Trace func(t *testing.T, config providers.Config) (string, error)
}

// Test checks every field of the Go type.
func (f Fields) Test(t *testing.T) {
	inventory{
		of: f.Settings, at: "spec.provider." + f.Provider + ".", served: f.Served, refused: f.Refused, idle: f.Idle,
		trace: func(t *testing.T, change Change, without string) (string, error) {
			t.Helper()
			return f.Trace(t, f.config(t, change, without))
		},
	}.test(t)
}

// config makes settings of Base with a change, but for one field.
func (f Fields) config(t *testing.T, change Change, without string) providers.Config {
	t.Helper()
	settings := apply(t, f.Base, change, without)
	config := providers.Config{Provider: &esv1.SecretStoreProvider{}}
	decode(t, map[string]any{f.Provider: settings}, config.Provider)
	return config
}
