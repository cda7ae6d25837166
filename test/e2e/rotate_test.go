package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// TestRotation rotates the sealing key all the way: a new key, a commit with
// what is sealed again, its sync, and the old key retired. Meanwhile a prober
// sees every SealedSecret open, and kill -9 hits the controller right after the
// new key is there.
func TestRotation(t *testing.T) {
	s := startStage(t)
	const ns = "rotated"
	namespace(t, s, ns, stage.FluxNamespace)
	if err := lockstepv1alpha1.AddToScheme(s.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	canary := testenv.NewCanary(t)
	repo, err := s.Git.Repository(t.Context(), "fleet/rotated.git")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	const objects = 5
	for i := range objects {
		name := fmt.Sprintf("s%d", i)
		text, err := s.Seal(t.Context(), ns, name, map[string]string{"password": canary.Value(), "user": canary.Value()})
		if err != nil {
			t.Fatal(err)
		}
		files["apps/"+name+".yaml"] = "# " + name + ", by hand\n" + text
	}
	before, err := repo.Commit(t.Context(), "secrets", files)
	if err != nil {
		t.Fatal(err)
	}
	git := &lockstepv1alpha1.Reseal{Spec: lockstepv1alpha1.ResealSpec{
		SourceRef: lockstepv1alpha1.SourceReference{Name: "rotated", Namespace: stage.FluxNamespace}, Paths: []string{"apps"}, Retire: true,
	}}
	git.Namespace, git.Name = stage.SystemNamespace, "rotated"
	if err := s.Ensure(t.Context(), s.GitCredentials(), stage.Source("rotated", repo.URL(), time.Minute), stage.Sync("rotated", "rotated", "./apps"), git); err != nil {
		t.Fatal(err)
	}
	eventually(t, enough, func() string { return allSynced(t.Context(), s, ns, objects) })
	eventually(t, enough, func() string { return notReady(t, s, &lockstepv1alpha1.Reseal{}, client.ObjectKeyFromObject(git)) })

	stop := probe(t, s, ns, objects)
	secret, err := keys.NewSecret(keys.Template{Namespace: stage.SystemNamespace, Prefix: "sealed-secrets-key", Size: 2048, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	s.Controller.Kill()
	if err := s.Controller.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	newest, err := keys.Parse(secret)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*enough, func() string { return rotated(t, s, git, newest.Fingerprint) })
	if looks := stop(); looks < 10 {
		t.Errorf("the prober looked %d times only", looks)
	}
	if wrong := allSynced(t.Context(), s, ns, objects); wrong != "" {
		t.Error(wrong)
	}
	for _, args := range [][]string{{"fetch", "--quiet", "origin", "main"}, {"reset", "--quiet", "--hard", "origin/main"}} {
		if _, err := repo.Git(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := repo.Git(t.Context(), "rev-list", "--count", before+"..HEAD"); err != nil || n != "1" {
		t.Errorf("%s commits were made, %v", n, err)
	}
	if stat, err := repo.Git(t.Context(), "diff", "--shortstat", before, "HEAD"); err != nil || !strings.Contains(stat, "5 files changed, 10 insertions(+), 10 deletions(-)") {
		t.Errorf("the commit has %s, %v", stat, err)
	}
	noLeak(t, s, canary, secretsOf(ns, objects)...)
}

// startStage starts one for this test alone: it retires keys, and kills.
func startStage(t *testing.T) *stage.Stage {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real servers; not under -short")
	}
	s, err := stage.Start(t.Context(), stage.Options{WithoutAWS: true, Args: []string{"--key-size=2048"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Controller.Tail(30))
		}
		s.Stop()
	})
	return s
}

// allSynced returns which SealedSecret is not opened.
func allSynced(ctx context.Context, s *stage.Stage, ns string, objects int) string {
	var all bitnamiv1alpha1.SealedSecretList
	if err := s.Client.List(ctx, &all, client.InNamespace(ns)); err != nil {
		return err.Error()
	}
	if len(all.Items) != objects {
		return fmt.Sprintf("there are %d SealedSecrets", len(all.Items))
	}
	for _, ss := range all.Items {
		if c := ss.Status.Conditions; len(c) == 0 || c[0].Type != bitnamiv1alpha1.Synced || c[0].Status != corev1.ConditionTrue {
			return fmt.Sprintf("%s is %+v", ss.Name, c)
		}
	}
	return ""
}

// probe looks at all SealedSecrets and their Secrets until it is stopped, and
// fails the test as soon as one is not there or not opened.
func probe(t *testing.T, s *stage.Stage, ns string, objects int) (stop func() int64) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	var looks atomic.Int64
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			var secrets corev1.SecretList
			wrong := allSynced(ctx, s, ns, objects)
			if err := s.Client.List(ctx, &secrets, client.InNamespace(ns)); err == nil && wrong == "" && len(secrets.Items) != objects {
				wrong = fmt.Sprintf("there are %d Secrets", len(secrets.Items))
			}
			if ctx.Err() != nil {
				return
			}
			if wrong != "" {
				t.Errorf("during the rotation: %s", wrong)
				return
			}
			looks.Add(1)
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return func() int64 { cancel(); <-ended; return looks.Load() }
}

// rotated returns what is missing for the rotation to be over.
func rotated(t *testing.T, s *stage.Stage, reseal *lockstepv1alpha1.Reseal, newest string) string {
	t.Helper()
	if err := s.Client.Get(t.Context(), client.ObjectKeyFromObject(reseal), reseal); err != nil {
		return err.Error()
	}
	if status := reseal.Status; status.Key != newest || len(status.Needed) > 0 || len(status.Retired) != 1 {
		return fmt.Sprintf("the Reseal is %+v", status)
	}
	return notReady(t, s, &lockstepv1alpha1.Reseal{}, client.ObjectKeyFromObject(reseal))
}

func secretsOf(ns string, objects int) []client.ObjectKey {
	var all []client.ObjectKey
	for i := range objects {
		all = append(all, key(ns, fmt.Sprintf("s%d", i)))
	}
	return all
}
