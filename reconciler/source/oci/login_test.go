package oci_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/source"
	"github.com/lockstep-dev/lockstep/reconciler/source/oci"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// cloud gives the same to everyone, and notes who asked.
type cloud struct {
	mu    sync.Mutex
	pass  source.Pass
	err   error
	asked []source.Who
}

func (c *cloud) login(_ context.Context, who source.Who) (source.Pass, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, who)
	return c.pass, c.err
}

func (c *cloud) set(pass source.Pass, err error) (asked []source.Who) {
	c.mu.Lock()
	defer c.mu.Unlock()
	asked, c.asked, c.pass, c.err = c.asked, nil, pass, err
	return asked
}

// TestCloudIdentity pulls with what a cloud gives to a ServiceAccount, asks for
// it again before it ends, and tells why there is none.
func TestCloudIdentity(t *testing.T) {
	c := &cloud{}
	b := startWith(t, oci.Options{Login: c.login})
	canary := testenv.NewCanary(t)
	digest := b.push(map[string]string{"cm.yaml": "a: 1\n"}, "latest")
	b.registry.Username, b.registry.Password = "AWS", canary.Value()
	good := source.Pass{Username: "AWS", Password: canary.Value(), Until: time.Now().Add(time.Hour)}
	c.set(good, nil)
	b.create(func(s *sourcev1.OCIRepositorySpec) { s.Provider, s.ServiceAccountName = "aws", "puller" })
	b.ready("latest@" + digest)
	b.request()
	ended := good
	ended.Until = time.Now().Add(time.Minute)
	asked := c.set(ended, nil)
	want := source.Who{Provider: "aws", Host: b.registry.Host(), Path: "team/app", Namespace: b.ns, Account: "puller"}
	if len(asked) != 1 || asked[0] != want {
		t.Errorf("asked for a pass: got %+v, want %+v once", asked, want)
	}
	b.change(func(r *sourcev1.OCIRepository) { r.Spec.ServiceAccountName = "other" })
	b.ready("latest@" + digest)
	b.request()
	if asked = c.set(source.Pass{}, errors.New("it is not known there")); len(asked) != 2 {
		t.Errorf("a pass that ends soon was asked for %d times, want 2", len(asked))
	}
	b.request()
	b.failed(sourcev1.AuthenticationFailedReason, "spec.provider: aws", "it is not known there")
	c.set(source.Pass{Username: "AWS", Password: "wrong", Until: time.Now().Add(time.Hour)}, nil)
	b.request()
	b.failed(sourcev1.AuthenticationFailedReason, "give the identity that aws knows the right to pull it")
	c.set(good, nil) // and the refused one is not used again
	b.request()
	b.ready("latest@" + digest)
	b.dockerConfig("keys", b.registry.Host(), "AWS", canary.Value())
	c.set(source.Pass{}, errors.New("it is not known there"))
	b.change(func(r *sourcev1.OCIRepository) {
		r.Spec.SecretRef, r.Spec.ServiceAccountName = &meta.LocalObjectReference{Name: "keys"}, ""
	})
	b.ready("latest@" + digest)
	canary.NotInCluster(t, b.cp, client.ObjectKey{Namespace: b.ns, Name: "keys"})
}
