package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// timeline prints what happens in the cluster as it happens, with the time
// since the act began.
type timeline struct {
	mu    sync.Mutex
	begin time.Time
	said  map[string]string // by object: what was last said of it
}

// act begins a new one.
func (l *timeline) act(title string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin = time.Now()
	fmt.Printf("\n%s\n", title)
}

// say prints one thing that happened.
func (l *timeline) say(what, how string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Printf("  %8s  %-44s %s\n", seconds(time.Since(l.begin)), what, how)
}

// see prints how an object is, if that is news.
func (l *timeline) see(o client.Object) {
	what, how := describe(o)
	if how == "" {
		return
	}
	l.mu.Lock()
	news := l.said[what] != how
	l.said[what] = how
	l.mu.Unlock()
	if news {
		l.say(what, how)
	}
}

// follow watches the kinds that the demo is about until ctx ends.
func (l *timeline) follow(ctx context.Context, c client.WithWatch) error {
	l.said = map[string]string{}
	secrets := &metav1.PartialObjectMetadataList{}
	secrets.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	for _, list := range []client.ObjectList{&sourcev1.GitRepositoryList{}, &kustomizev1.KustomizationList{}, &appsv1.DeploymentList{}, secrets} {
		w, err := c.Watch(ctx, list)
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		go func() {
			defer w.Stop()
			for event := range w.ResultChan() {
				if o, ok := event.Object.(client.Object); ok && event.Type != watch.Deleted && ctx.Err() == nil {
					l.see(o)
				}
			}
		}()
	}
	return nil
}

// describe names an object and says how it is; nothing for what does not
// matter here.
func describe(o client.Object) (what, how string) {
	name := o.GetNamespace() + "/" + o.GetName()
	switch o := o.(type) {
	case *sourcev1.GitRepository:
		if a := o.Status.Artifact; a != nil {
			how = "fetched " + short(a.Revision)
		}
		return "GitRepository " + o.Name, how
	case *kustomizev1.Kustomization:
		return "Kustomization " + o.Name, describeSync(o)
	case *appsv1.Deployment:
		if o.Status.ObservedGeneration != o.Generation || o.Status.UpdatedReplicas != *o.Spec.Replicas {
			return "Deployment " + name, ""
		}
		if o.Status.AvailableReplicas != *o.Spec.Replicas || o.Status.Replicas != *o.Spec.Replicas {
			return "Deployment " + name, ""
		}
		image := o.Spec.Template.Spec.Containers[0].Image
		return "Deployment " + name, fmt.Sprintf("%d of %d available, %s", o.Status.AvailableReplicas, *o.Spec.Replicas, image[strings.LastIndexByte(image, '/')+1:])
	case *metav1.PartialObjectMetadata:
		owner := metav1.GetControllerOf(o)
		if owner == nil {
			return "", ""
		}
		return "Secret " + name, fmt.Sprintf("written by %s, version %s", owner.Kind, o.ResourceVersion)
	default:
		return "", ""
	}
}

func describeSync(ks *kustomizev1.Kustomization) string {
	ready := apimeta.FindStatusCondition(ks.Status.Conditions, "Ready")
	switch {
	case ready == nil:
		return ""
	case ready.Status == metav1.ConditionTrue && ks.Status.ObservedGeneration == ks.Generation:
		return "applied and healthy, " + short(ks.Status.LastAppliedRevision)
	case ready.Status != metav1.ConditionTrue:
		return commitHash.ReplaceAllString(ready.Message, "$1")
	default:
		return ""
	}
}

// commitHash is one, of which seven digits are enough to read.
var commitHash = regexp.MustCompile(`\b([0-9a-f]{7})[0-9a-f]{33}\b`)

// short cuts the hash of a revision such as main@sha1:0123... to seven digits.
func short(revision string) string {
	i := strings.LastIndexByte(revision, ':')
	return revision[:min(len(revision), i+8)]
}
