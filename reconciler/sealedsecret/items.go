package sealedsecret

import (
	"maps"
	"runtime"
	"slices"
	"sync"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
)

// openItems opens every item of spec.encryptedData, of either envelope, on all
// processors. Of envelope 1 one goes ahead: the rest was mostly sealed with the
// same key, which is then the first that is tried.
func (c *Controller) openItems(ss *bitnamiv1alpha1.SealedSecret) (data map[string][]byte, keys uses, err error) {
	at := sealer.Binding{Namespace: ss.Namespace, Name: ss.Name, Scope: scopeOf(ss)}
	hint := ""
	if ss.Status.Target != nil {
		hint = ss.Status.Target.Key
	}
	names := slices.Sorted(maps.Keys(ss.Spec.EncryptedData))
	results := make([]openedItem, len(names))
	ahead := slices.IndexFunc(names, func(n string) bool { return !sealer.IsEnvelope2(ss.Spec.EncryptedData[n]) })
	open := func(i int) {
		c.metrics.count(ss.Spec.EncryptedData[names[i]])
		results[i].Opened, results[i].err = c.Keys.OpenItem(ss.Spec.EncryptedData[names[i]], sealer.Place{Binding: at, Item: names[i]}, hint)
	}
	if ahead >= 0 {
		open(ahead)
		if results[ahead].err == nil {
			hint = results[ahead].Fingerprint
		}
	}
	inParallel(len(names), func(i int) {
		if i != ahead {
			open(i)
		}
	})
	data = make(map[string][]byte, len(names))
	var failed failures
	for i, r := range results {
		if r.err != nil {
			failed.add(names[i], r.err)
			continue
		}
		data[names[i]] = r.Value
		keys.add(r.Fingerprint)
	}
	return data, keys, failed.err(at)
}

type openedItem struct {
	sealer.Opened
	err error
}

// inParallel calls f with 0 to n-1, on all processors, and waits.
func inParallel(n int, f func(i int)) {
	next := make(chan int)
	var all sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		all.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
}
