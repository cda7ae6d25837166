package push_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
)

// shortLived makes values that end in nine seconds: 1, 2 and so on.
func shortLived() providers.Generators {
	var calls atomic.Int64
	return providers.Generators{genv1.VaultDynamicSecretKind: func(ctx context.Context, spec any, _ providers.Config) (providers.Made, error) {
		if s, ok := spec.(*genv1.VaultDynamicSecretSpec); ok && s.Path == "wary" {
			providers.Warn(ctx, "spec.provider.vault.auth.ldap: it makes no difference")
		}
		n := fmt.Sprint(calls.Add(1))
		return providers.Made{Until: time.Now().Add(9 * time.Second), Values: map[string]providers.Value{"number": providers.NewValue([]byte(n))}}, nil
	}}
}

// made is what the store holds, by key.
func (v *vault) made(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := json.Unmarshal([]byte(v.text()), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestValuesThatEnd sees that they are pushed anew before they do, whatever the
// interval, and not with one of 0.
func TestValuesThatEnd(t *testing.T) {
	b := start(t)
	b.apply("metadata: {name: role}\nspec: {path: database/creds/app, provider: {server: https://vault}}", &genv1.VaultDynamicSecret{})
	const spec = "secretStoreRefs: [{name: store}], selector: {generatorRef: {kind: VaultDynamicSecret, name: role}}"
	b.apply("metadata: {name: app}\nspec: {"+spec+", data: [{match: {secretKey: number, remoteRef: {remoteKey: app}}}]}", &esv1alpha1.PushSecret{})
	ps := b.ready("app", "True")
	b.holds(`{"app":"1"}`)
	if at := ps.Status.RenewTime; at == nil || time.Until(at.Time) > 6*time.Second {
		t.Errorf("status.renewTime: got %v, want it within 6s", at)
	}
	b.holds(`{"app":"2"}`)
	b.apply("metadata: {name: never}\nspec: {refreshInterval: '0', "+spec+", data: [{match: {secretKey: number, remoteRef: {remoteKey: never}}}]}", &esv1alpha1.PushSecret{})
	b.ready("never", "True")
	before := b.vault.made(t)
	b.eventually("another value", func() string {
		if now := b.vault.made(t); now["app"] == before["app"] {
			return now["app"]
		}
		return ""
	})
	if now := b.vault.made(t); before["never"] == "" || now["never"] != before["never"] {
		t.Errorf("refreshInterval 0: %q became %q, want it pushed once", before["never"], now["never"])
	}
}
