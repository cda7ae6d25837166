package pull

import (
	"context"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
)

// keyIndex is what byKey holds for a key of a store; "" is for finds.
func keyIndex(kind, namespace, name, key string) string {
	return storeKey(kind, namespace, name) + " " + key
}

// keysOf are what byKey holds of es. A spec that is refused reads nothing.
func keysOf(es *esv1.ExternalSecret) (all []string) {
	plan, err := fetch.New(&es.Spec)
	if err != nil {
		return nil
	}
	for _, read := range plan.Stored() {
		value := keyIndex(read.Store.Kind, es.Namespace, read.Store.Name, read.Ref.Path)
		if !slices.Contains(all, value) {
			all = append(all, value)
		}
	}
	return all
}

// Due makes the ExternalSecrets read now that use any of keys of a store. A
// find is read if a key is below its path. It is a hint: those whose policy is
// to read once, or only when they are changed, do not follow it, nor do others
// outside of their syncWindows.
func (c *Controller) Due(ctx context.Context, kind, namespace, name string, keys []string) {
	found := map[types.NamespacedName]bool{}
	for _, key := range append(slices.Clone(keys), "") {
		var list esv1.ExternalSecretList
		if err := c.Client.List(ctx, &list, client.MatchingFields{byKey: keyIndex(kind, namespace, name, key)}); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "find the ExternalSecrets that read a key", "store", name)
			return
		}
		for i := range list.Items {
			if es := &list.Items[i]; key != "" || finds(es, keys) {
				found[client.ObjectKeyFromObject(es)] = true
			}
		}
	}
	for object := range found {
		c.tickets.hint(object)
		c.alarm.set(object, queue.Repair, 0)
	}
}

// finds reports whether a find of es may match any of keys.
func finds(es *esv1.ExternalSecret, keys []string) bool {
	plan, err := fetch.New(&es.Spec)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(plan.Stored(), func(r fetch.Read) bool {
		return r.Find != "" && slices.ContainsFunc(keys, func(key string) bool { return strings.HasPrefix(key, r.FindPath()) })
	})
}
