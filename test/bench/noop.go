package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/test/stage"
)

// quiet is how long the idle phase of sync-noop takes, and every how often
// everything is looked at in it.
const (
	quiet = 20 * time.Second
	every = time.Second
)

// syncNoop applies all apps once, and then measures syncs that have nothing to
// do: each asked for by an annotation, and then those of an interval.
func syncNoop(ctx context.Context, b *bench) error {
	repo, err := b.prepare(ctx)
	if err != nil {
		return err
	}
	files, err := b.files(ctx)
	if err != nil {
		return err
	}
	if _, err := b.push(ctx, repo.Commit, "apps", files); err != nil {
		return err
	}
	if err := b.asked(ctx); err != nil {
		return err
	}
	return b.idle(ctx)
}

// asked measures syncs that a person asks for: from the request to the status
// that says that it was handled. That status is the one write.
func (b *bench) asked(ctx context.Context) error {
	m, err := b.meter(ctx)
	if err != nil {
		return err
	}
	var took []float64
	for range b.runs {
		ks := &kustomizev1.Kustomization{}
		begin := time.Now()
		if err := b.reconcile(ctx, ks); err != nil {
			return err
		}
		want := ks.Annotations["reconcile.fluxcd.io/requestedAt"]
		if err := stage.Until(ctx, time.Millisecond, "the sync to be handled", func() (bool, error) {
			err := b.Client.Get(ctx, client.ObjectKeyFromObject(ks), ks)
			return err == nil && ks.Status.LastHandledReconcileAt == want, err
		}); err != nil {
			return err
		}
		took = append(took, time.Since(begin).Seconds())
	}
	s, err := m.stop(ctx)
	if err != nil {
		return err
	}
	slices.Sort(took)
	r := &b.result
	r.ReadyP50, r.ReadyP99, r.ReadyAll = quantile(took, 0.5), quantile(took, 0.99), quantile(took, 1)
	r.More["asked_apiserver"], r.More["asked_writes"], r.More["asked_cpu_s"] = s.verbs, s.objects, round(s.cpu.Seconds())
	return nil
}

// idle measures syncs at an interval of a second, of source and Kustomization.
func (b *bench) idle(ctx context.Context) error {
	for _, o := range []client.Object{&sourcev1.GitRepository{}, &kustomizev1.Kustomization{}} {
		if err := b.Client.Get(ctx, types.NamespacedName{Namespace: stage.FluxNamespace, Name: "bench"}, o); err != nil {
			return err
		}
		before := o.DeepCopyObject().(client.Object)
		switch o := o.(type) {
		case *sourcev1.GitRepository:
			o.Spec.Interval.Duration = every
		case *kustomizev1.Kustomization:
			o.Spec.Interval.Duration = every
		}
		if err := b.Client.Patch(ctx, o, client.MergeFrom(before)); err != nil {
			return err
		}
	}
	time.Sleep(3 * every) // the change of the specs is handled, and its status written
	m, err := b.meter(ctx)
	if err != nil {
		return err
	}
	before, err := b.Git.Counts(ctx)
	if err != nil {
		return err
	}
	time.Sleep(quiet)
	s, err := m.stop(ctx)
	if err != nil {
		return err
	}
	b.record(s, (applied+made)*b.size)
	git, err := b.Git.Counts(ctx)
	if err != nil {
		return err
	}
	subtract(git, before)
	_, rss, _, err := b.Controller.Usage()
	if err != nil {
		return err
	}
	b.result.More["idle_s"], b.result.More["git_requests"], b.result.More["rss_after_mib"] = quiet.Seconds(), git, round(float64(rss)/(1<<20))
	b.result.More["objects"] = (applied + made) * b.size
	return nil
}

// gone waits until no app and no Secret of one is left.
func (b *bench) gone(ctx context.Context) error {
	return stage.Until(ctx, 20*time.Millisecond, "the apps to be gone", func() (bool, error) {
		var deployments appsv1.DeploymentList
		secrets := &metav1.PartialObjectMetadataList{}
		secrets.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
		for _, list := range []client.ObjectList{&deployments, secrets} {
			if err := b.Client.List(ctx, list, client.InNamespace(namespace)); err != nil {
				return false, fmt.Errorf("list: %w", err)
			}
		}
		return len(deployments.Items) == 0 && len(secrets.Items) == 1, nil // the token of the store stays
	})
}
