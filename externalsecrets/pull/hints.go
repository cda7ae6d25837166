package pull

import (
	"context"
	"slices"
	"strings"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
)

// Due makes the ExternalSecrets read now that use any of keys of a store. A
// find is read if a key is below its path. It is a hint: those whose policy is
// to read once, or only when they are changed, do not follow it, nor do others
// outside of their syncWindows.
//
// It looks through all that use the store: hints are rare, and an index by key
// would hold more in memory than the ExternalSecrets themselves.
func (c *Controller) Due(ctx context.Context, kind, namespace, name string, keys []string) {
	var list esv1.ExternalSecretList
	users := client.MatchingFields{byStore: storeKey(kind, namespace, name)}
	if err := c.Client.List(ctx, &list, users, client.UnsafeDisableDeepCopy); err != nil { // they are only looked at
		ctrl.LoggerFrom(ctx).Error(err, "find the ExternalSecrets that read a key", "store", name)
		return
	}
	changed := make(map[string]bool, len(keys))
	for _, key := range keys {
		changed[key] = true
	}
	store := esv1.SecretStoreRef{Kind: kind, Name: name}
	for i := range list.Items {
		if es := &list.Items[i]; uses(&es.Spec, store, changed) {
			object := client.ObjectKeyFromObject(es)
			c.tickets.hint(object)
			_, after := c.tickets.hinted(object)
			c.alarm.set(object, queue.Repair, after)
		}
	}
}

// uses reports whether spec reads any of keys of a store.
func uses(spec *esv1.ExternalSecretSpec, store esv1.SecretStoreRef, keys map[string]bool) bool {
	reads := func(source *esv1.SourceRef) bool { return fetch.StoreOf(spec, source) == store }
	return slices.ContainsFunc(spec.Data, func(d esv1.ExternalSecretData) bool {
		return keys[d.RemoteRef.Key] && reads(d.SourceRef)
	}) || slices.ContainsFunc(spec.DataFrom, func(d esv1.DataFrom) bool {
		switch {
		case d.Extract != nil:
			return keys[d.Extract.Key] && reads(d.SourceRef)
		case d.Find != nil:
			return reads(d.SourceRef) && below(d.Find.Path, keys)
		default:
			return false
		}
	})
}

// below reports whether any of keys is below a path; nil is everywhere.
func below(path *string, keys map[string]bool) bool {
	for key := range keys {
		if path == nil || strings.HasPrefix(key, *path) {
			return true
		}
	}
	return false
}
