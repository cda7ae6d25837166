package source_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"github.com/lockstep-dev/lockstep/reconciler/source"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// TestCloudIdentity fetches with what a cloud gives to a ServiceAccount, asks
// for it once as long as it lasts, and shows nobody what another one may see.
func TestCloudIdentity(t *testing.T) {
	canary := testenv.NewCanary(t)
	var asked sync.Map // by namespace: the objects of other tests are still there
	var git atomic.Pointer[testenv.GitServer]
	b := start(t, func(c *source.Controller) {
		c.Login = func(_ context.Context, who source.Who) (source.Pass, error) {
			n, _ := asked.LoadOrStore(who.Namespace, &atomic.Int64{})
			n.(*atomic.Int64).Add(1)
			pass := source.Pass{Password: canary.Value(), Until: time.Now().Add(time.Hour)}
			switch who.Account {
			case "reader":
				pass.Password = git.Load().Token
			case "unknown":
				return source.Pass{}, errors.New("it is not known there")
			}
			return pass, nil
		}
	})
	git.Store(b.git)
	repo, first := b.repository("private")
	b.create(repo.URL(), func(s *sourcev1.GitRepositorySpec) { // with a Secret that has the authority only
		s.Provider, s.ServiceAccountName = sourcev1.GitProviderAzure, "reader"
	})
	b.ready("main@sha1:" + first)
	second := b.commit(repo, map[string]string{"app/cm.yaml": "a: 2\n"})
	b.change(func(r *sourcev1.GitRepository) {
		r.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "x"}
	})
	b.ready("main@sha1:" + second)
	if n, ok := asked.Load(b.ns); !ok || n.(*atomic.Int64).Load() != 1 {
		t.Errorf("passes were asked for more than once, or never: %v", n)
	}
	b.change(func(r *sourcev1.GitRepository) { r.Spec.ServiceAccountName = "stranger" })
	b.failed(sourcev1.AuthenticationFailedReason, "refuses the token of azure")
	b.change(func(r *sourcev1.GitRepository) { r.Spec.ServiceAccountName = "unknown" })
	b.failed(sourcev1.AuthenticationFailedReason, "it is not known there")
	b.change(func(r *sourcev1.GitRepository) { r.Spec.ServiceAccountName = "reader" })
	b.ready("main@sha1:" + second)
	canary.NotInCluster(t, b.cp)
	testenv.CanaryOf(b.git.Token).NotInCluster(t, b.cp)
}
