package pull_test

import (
	"testing"
	"time"
)

func TestHints(t *testing.T) {
	b := start(t)
	for _, key := range []string{"db", "other"} {
		b.backend.set(key, "1")
	}
	const data = "\ndata: [{secretKey: a, remoteRef: {key: db}}]"
	b.external("hourly", "refreshInterval: 1h"+data)
	b.external("never", "refreshInterval: 0s"+data)
	b.external("once", "refreshPolicy: CreatedOnce"+data)
	b.external("change", "refreshPolicy: OnChange"+data)
	b.external("closed", "refreshInterval: 1h\nsyncWindows: {kind: allow, windows: [{schedule: '0 0 29 2 *', duration: 1m}]}"+data)
	b.external("apart", "refreshInterval: 1h\ndata: [{secretKey: a, remoteRef: {key: other}}]")
	b.external("found", "refreshInterval: 1h\ndataFrom: [{find: {path: d, name: {regexp: .*}}}]")
	for _, name := range []string{"hourly", "never", "once", "change", "closed", "apart"} {
		b.holds(name, `{"a":"1"}`)
	}
	b.holds("found", `{"db":"1"}`)
	b.backend.set("db", "2")
	b.backend.set("other", "2")
	writes, _, calls := b.costs(func() {
		b.puller.Due(t.Context(), "SecretStore", b.ns, "another-store", []string{"db"})
		b.puller.Due(t.Context(), "SecretStore", "another-namespace", "store", []string{"db"})
		b.puller.Due(t.Context(), "ClusterSecretStore", "", "store", []string{"db"})
		time.Sleep(2 * time.Second)
	})
	if writes != 0 || calls != 0 {
		t.Errorf("hints for other stores: %d writes and %d reads of the store, want none", writes, calls)
	}
	b.puller.Due(t.Context(), "SecretStore", b.ns, "store", []string{"db", "none"})
	b.holds("hourly", `{"a":"2"}`)
	b.holds("never", `{"a":"2"}`)
	b.holds("found", `{"db":"2"}`)
	time.Sleep(time.Second)
	for _, name := range []string{"once", "change", "closed", "apart"} {
		b.holds(name, `{"a":"1"}`)
	}
}
