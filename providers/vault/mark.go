package vault

import (
	"bytes"
	"encoding/json"

	"github.com/lockstep-dev/lockstep/providers"
)

// markKey is what a Writer adds to a secret of an engine of version 1, which
// has no metadata, as External Secrets does.
const markKey = "custom_metadata"

// unmarked returns a secret without the mark of a Writer, and whether it had
// one. Whoever reads wants what was written.
func unmarked(v providers.Value) (providers.Value, bool) {
	var all map[string]json.RawMessage
	var mark map[string]string
	if json.Unmarshal(v.Bytes(), &all) != nil || json.Unmarshal(all[markKey], &mark) != nil || mark[providers.ManagedBy] != providers.ManagedByValue {
		return v, false
	}
	if len(mark) > 1 {
		return v, true // someone has added something
	}
	delete(all, markKey)
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(all); err != nil {
		return v, true // it was JSON a moment ago
	}
	return providers.NewValue(bytes.TrimSuffix(text.Bytes(), []byte("\n"))), true
}
