package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// syncLarge applies one Kustomization of size objects for the first time, and
// measures from its creation to Ready.
func syncLarge(ctx context.Context, b *bench) error {
	files := map[string]string{}
	for i := range b.size {
		files[fmt.Sprintf("app-0/part-%d.yaml", i/100)] += fmt.Sprintf(syncConfigMap, fmt.Sprintf("app-%d", i)) + "---\n"
	}
	if err := b.syncRepository(ctx, files); err != nil {
		return err
	}
	m, err := b.meter(ctx)
	if err != nil {
		return err
	}
	r, err := b.readies(ctx, 1)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := b.Client.Create(ctx, syncKustomization(0)); err != nil {
		return err
	}
	if err := r.wait(ctx); err != nil {
		return err
	}
	took := time.Since(begin).Seconds()
	time.Sleep(2 * time.Second) // for the events and the audit log
	s, err := m.stop(ctx)
	if err != nil {
		return err
	}
	b.record(s, b.size)
	b.times([]float64{took})
	b.result.More["requests_beside_the_objects"] = perKustomization(s) - float64(b.size)
	return nil
}

// A monorepo has so many files and commits for each path that is synced: 200
// paths make 20,000 files and 5,000 commits.
const (
	monorepoFiles   = 100
	monorepoCommits = 25
)

// syncMonorepo syncs size paths of one repository, and measures from a commit
// that touches one of them to its object.
func syncMonorepo(ctx context.Context, b *bench) error {
	files := map[string]string{}
	for i := range b.size {
		files[fmt.Sprintf("app-%d/app.yaml", i)] = fmt.Sprintf(syncConfigMap, fmt.Sprintf("app-%d", i))
		for j := range monorepoFiles - 1 {
			files[fmt.Sprintf("src-%d/%d.txt", i, j)] = fmt.Sprintf("file %d of %d\n", j, i)
		}
	}
	repo, err := b.Git.Repository(ctx, "private/sync.git")
	if err != nil {
		return err
	}
	if _, err := repo.Commit(ctx, "all", files); err != nil {
		return err
	}
	if err := history(ctx, repo.Folder(), b.size*monorepoCommits); err != nil {
		return err
	}
	if _, err := repo.Git(ctx, "push", "--force", "origin", "HEAD"); err != nil {
		return err
	}
	if err := b.syncSource(ctx, repo.URL()); err != nil {
		return err
	}
	if err := b.syncCreated(ctx); err != nil {
		return err
	}
	var took []float64
	for run := range b.runs {
		seconds, err := b.commitToApplied(ctx, repo, run)
		if err != nil {
			return err
		}
		took = append(took, seconds)
	}
	slices.Sort(took)
	b.times(took)
	_, rss, peak, err := b.Controller.Usage()
	if err != nil {
		return err
	}
	b.result.More["rss_mib"], b.result.RSSPeak = round(float64(rss)/(1<<20)), round(float64(peak)/(1<<20))
	b.result.More["files"], b.result.More["commits"] = b.size*monorepoFiles, b.size*monorepoCommits
	return nil
}

// commitToApplied changes the file of one path, and returns how many seconds
// passed until its object was changed.
func (b *bench) commitToApplied(ctx context.Context, repo *testenv.Repository, run int) (float64, error) {
	name, value := fmt.Sprintf("app-%d", run%b.size), fmt.Sprintf("run-%d", run)
	text := strings.Replace(fmt.Sprintf(syncConfigMap, name), "ours", value, 1)
	if _, err := repo.Commit(ctx, value, map[string]string{name + "/app.yaml": text}); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := b.ask(ctx); err != nil {
		return 0, err
	}
	err := stage.Until(ctx, 2*time.Millisecond, "the commit to be applied", func() (bool, error) {
		cm := &corev1.ConfigMap{}
		err := b.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, cm)
		return err == nil && cm.Data["key"] == value, err
	})
	return time.Since(begin).Seconds(), err
}

// history adds commits to a clone, each of which changes one file.
func history(ctx context.Context, clone string, commits int) error {
	var script bytes.Buffer
	for i := range commits {
		fmt.Fprintf(&script, "commit HEAD\ncommitter bench <bench@example.com> %d +0000\ndata 1\nc\n", 1_700_000_000+i)
		if i == 0 {
			script.WriteString("from HEAD^0\n")
		}
		text := fmt.Sprintf("commit %d\n", i)
		fmt.Fprintf(&script, "M 100644 inline history.txt\ndata %d\n%s\n", len(text), text)
	}
	cmd := exec.CommandContext(ctx, "git", "-C", clone, "fast-import", "--quiet", "--force")
	cmd.Stdin = &script
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git fast-import: %w: %s", err, out)
	}
	cmd = exec.CommandContext(ctx, "git", "-C", clone, "reset", "--quiet", "--hard", "HEAD")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git reset: %w: %s", err, out)
	}
	return nil
}

// ask asks for a fetch, as a webhook does.
func (b *bench) ask(ctx context.Context) error {
	source := &sourcev1.GitRepository{}
	if err := b.Client.Get(ctx, types.NamespacedName{Namespace: stage.FluxNamespace, Name: "sync"}, source); err != nil {
		return err
	}
	before := source.DeepCopy()
	source.SetAnnotations(map[string]string{meta.ReconcileRequestAnnotation: time.Now().Format(time.RFC3339Nano)})
	return b.Client.Patch(ctx, source, client.MergeFrom(before))
}

// syncRepository makes a repository with files, and its source.
func (b *bench) syncRepository(ctx context.Context, files map[string]string) error {
	repo, err := b.Git.Repository(ctx, "private/sync.git")
	if err != nil {
		return err
	}
	if _, err := repo.Commit(ctx, "all", files); err != nil {
		return err
	}
	return b.syncSource(ctx, repo.URL())
}

func (b *bench) syncSource(ctx context.Context, url string) error {
	source := stage.Source("sync", url, 10*time.Minute)
	source.Spec.Timeout = &metav1.Duration{Duration: time.Minute} // without one, Flux's controller needs the default of its own definition
	return b.Ensure(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, b.GitCredentials(), source)
}

// creators is how many Kustomizations are created at once, so that it is the
// controller that is measured and not the client.
const creators = 16

// create makes the Kustomizations of all folders.
func (b *bench) create(ctx context.Context) error {
	var group errgroup.Group
	group.SetLimit(creators)
	for i := range b.size {
		group.Go(func() error { return b.Client.Create(ctx, syncKustomization(i)) })
	}
	return group.Wait()
}

// syncCreated creates all Kustomizations and waits until they are Ready.
func (b *bench) syncCreated(ctx context.Context) error {
	r, err := b.readies(ctx, b.size)
	if err != nil {
		return err
	}
	if err := b.create(ctx); err != nil {
		return err
	}
	return r.wait(ctx)
}
