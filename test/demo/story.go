package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// demo is the story, and what it remembers from act to act.
type demo struct {
	*stage.Stage
	timeline
	repo   *testenv.Repository
	values stage.Values
	newest string // commit
}

// patience is how long an act may take: fifty times what it needs.
const patience = 2 * time.Minute

// play tells the story.
func (d *demo) play(ctx context.Context) error {
	d.values = stage.Values{DBPassword: "db-" + rand.Text(), APIToken: "api-" + rand.Text(), Payment: "pay-" + rand.Text()}
	if err := d.PrepareFleet(ctx, d.values); err != nil {
		return err
	}
	if err := d.follow(ctx, d.Client); err != nil {
		return err
	}
	for _, act := range []func(context.Context) error{d.firstCommit, d.vaultChanges, d.nextCommit, d.editByHand, d.kill, d.leaks, d.table} {
		ctx, cancel := context.WithTimeout(ctx, patience)
		err := act(ctx)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// firstCommit pushes the example fleet and syncs it.
func (d *demo) firstCommit(ctx context.Context) error {
	d.act("1. A commit becomes running workloads and their secrets.")
	sealed, err := d.Seal(ctx, "production", "db-password", map[string]string{"password": d.values.DBPassword})
	if err != nil {
		return err
	}
	d.say("kubeseal", "sealed production/db-password for this cluster; its text is safe in Git")
	files, err := d.FleetFiles()
	if err != nil {
		return err
	}
	files["apps/production/myapp/db-password.yaml"] = sealed
	// The example reads Vault every hour; the audience is not that patient.
	const path = "apps/base/myapp/external-secret.yaml"
	files[path] = strings.Replace(files[path], "refreshInterval: 1h", "refreshInterval: 1s", 1)
	if d.repo, err = d.Git.Repository(ctx, "private/fleet.git"); err != nil {
		return err
	}
	if err := d.commit(ctx, "the fleet", files); err != nil {
		return err
	}
	if err := d.Ensure(ctx, stage.Source("fleet", d.repo.URL(), time.Minute), stage.Sync("production", "fleet", "./clusters/production")); err != nil {
		return err
	}
	return d.synced(ctx)
}

// commit pushes a commit with files, and starts the clock of the act anew: from
// here on it is ours.
func (d *demo) commit(ctx context.Context, message string, files map[string]string) error {
	hash, err := d.repo.Commit(ctx, message, files)
	if err != nil {
		return err
	}
	d.newest = hash
	d.mu.Lock()
	d.begin = time.Now()
	d.mu.Unlock()
	d.say("git push", fmt.Sprintf("%s %q; the clock starts", hash[:7], message))
	return nil
}

// synced waits until everything is as the newest commit says, and healthy.
func (d *demo) synced(ctx context.Context) error {
	return stage.Until(ctx, 20*time.Millisecond, "the fleet to be as in "+d.newest[:7], func() (bool, error) {
		for _, name := range []string{"production", "infrastructure", "stores", "apps"} {
			ks := &kustomizev1.Kustomization{}
			if err := d.Client.Get(ctx, types.NamespacedName{Namespace: stage.FluxNamespace, Name: name}, ks); err != nil {
				return false, client.IgnoreNotFound(err)
			}
			if !apimeta.IsStatusConditionTrue(ks.Status.Conditions, "Ready") || !strings.HasSuffix(ks.Status.LastAppliedRevision, d.newest) {
				return false, nil
			}
		}
		return true, nil
	})
}

// vaultChanges writes a new value into Vault and waits for the Secret.
func (d *demo) vaultChanges(ctx context.Context) error {
	d.act("2. The value changes in Vault. (Read every second here, so that you need not wait; every hour in the example.)")
	d.values.APIToken = "api-" + rand.Text()
	if err := d.PutAPIToken(ctx, d.values.APIToken); err != nil {
		return err
	}
	d.say("vault kv put secret/myapp/api", "a new token")
	if err := d.secretIs(ctx, "myapp-api", "API_TOKEN", d.values.APIToken); err != nil {
		return err
	}
	d.say("Secret production/myapp-api", "holds the new token")
	return nil
}

func (d *demo) secretIs(ctx context.Context, name, key, value string) error {
	return stage.Until(ctx, 20*time.Millisecond, "Secret production/"+name, func() (bool, error) {
		s := &corev1.Secret{}
		err := d.Client.Get(ctx, types.NamespacedName{Namespace: "production", Name: name}, s)
		return err == nil && string(s.Data[key]) == value, client.IgnoreNotFound(err)
	})
}

// nextCommit changes an image and asks for a reconcile, as flux does.
func (d *demo) nextCommit(ctx context.Context) error {
	d.act("3. A commit with a new image.")
	if err := d.image(ctx, "1.4.2", "1.4.3"); err != nil {
		return err
	}
	if err := d.reconcile(ctx); err != nil {
		return err
	}
	return d.synced(ctx)
}

// image commits another version of myapp.
func (d *demo) image(ctx context.Context, was, is string) error {
	const path = "apps/base/myapp/deployment.yaml"
	text, err := os.ReadFile(d.repo.Folder() + "/" + path)
	if err != nil {
		return err
	}
	next := strings.Replace(string(text), "myapp:"+was, "myapp:"+is, 1)
	if next == string(text) {
		return fmt.Errorf("%s has no image myapp:%s", path, was)
	}
	return d.commit(ctx, "myapp "+is, map[string]string{path: next})
}

// reconcile does what `flux reconcile source git fleet` does.
func (d *demo) reconcile(ctx context.Context) error {
	repo := &sourcev1.GitRepository{}
	if err := d.Client.Get(ctx, types.NamespacedName{Namespace: stage.FluxNamespace, Name: "fleet"}, repo); err != nil {
		return err
	}
	before := repo.DeepCopy()
	repo.Annotations = map[string]string{meta.ReconcileRequestAnnotation: time.Now().Format(time.RFC3339Nano)}
	if err := d.Client.Patch(ctx, repo, client.MergeFrom(before)); err != nil {
		return err
	}
	d.say("flux reconcile source git fleet", "asked to look now instead of at the next interval")
	return nil
}

// editByHand scales a Deployment and empties a Secret, and waits for both to
// be put right.
func (d *demo) editByHand(ctx context.Context) error {
	d.act("4. Someone edits objects by hand.")
	deployment := &appsv1.Deployment{}
	key := types.NamespacedName{Namespace: "production", Name: "myapp"}
	if err := d.Client.Get(ctx, key, deployment); err != nil {
		return err
	}
	before := deployment.DeepCopy()
	wanted := *deployment.Spec.Replicas
	*deployment.Spec.Replicas = 1
	if err := d.Client.Patch(ctx, deployment, client.MergeFrom(before)); err != nil {
		return err
	}
	d.say("kubectl scale deployment myapp", "1 replica instead of "+fmt.Sprint(wanted))
	for _, name := range []string{"db-password", "myapp-api"} {
		if err := d.Client.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "production", Name: name}}); err != nil {
			return err
		}
		d.say("kubectl delete secret "+name, "gone")
	}
	if err := stage.Until(ctx, 10*time.Millisecond, "the Deployment to be put right", func() (bool, error) {
		err := d.Client.Get(ctx, key, deployment)
		return err == nil && *deployment.Spec.Replicas == wanted, err
	}); err != nil {
		return err
	}
	d.say("Deployment production/myapp", "put right: "+fmt.Sprint(wanted)+" replicas")
	return errors.Join(
		d.secretIs(ctx, "db-password", "password", d.values.DBPassword),
		d.secretIs(ctx, "myapp-api", "API_TOKEN", d.values.APIToken),
		d.synced(ctx))
}

// kill ends the controller in the middle of a sync and starts it again.
func (d *demo) kill(ctx context.Context) error {
	d.act("5. The controller is killed in the middle of a sync, and started again.")
	if err := d.image(ctx, "1.4.3", "1.4.4"); err != nil {
		return err
	}
	if err := d.reconcile(ctx); err != nil {
		return err
	}
	if err := stage.Until(ctx, time.Millisecond, "the sync to begin", func() (bool, error) {
		repo := &sourcev1.GitRepository{}
		err := d.Client.Get(ctx, types.NamespacedName{Namespace: stage.FluxNamespace, Name: "fleet"}, repo)
		return err == nil && repo.Status.Artifact != nil && strings.HasSuffix(repo.Status.Artifact.Revision, d.newest), err
	}); err != nil {
		return err
	}
	d.Controller.Kill()
	d.say("kill -9", "the controller is gone")
	if err := d.Controller.Start(ctx); err != nil {
		return err
	}
	d.say("controller", "started again; it waits for the lease of the one that was killed (15 s)")
	if err := d.synced(ctx); err != nil {
		return err
	}
	return d.asInGit(ctx)
}

// asInGit checks that nothing is missing, left over or different.
func (d *demo) asInGit(ctx context.Context) error {
	var deployments appsv1.DeploymentList
	if err := d.Client.List(ctx, &deployments); err != nil {
		return err
	}
	want := map[string]string{
		"production/myapp": "myapp:1.4.4 x3", "production/payment-service": "payment-service:2.0.1 x2",
		"ingress-nginx/ingress-nginx": "", "cert-manager/cert-manager": "",
	}
	for _, dep := range deployments.Items {
		name := dep.Namespace + "/" + dep.Name
		image := dep.Spec.Template.Spec.Containers[0].Image
		is := fmt.Sprintf("%s x%d", image[strings.LastIndexByte(image, '/')+1:], *dep.Spec.Replicas)
		wanted, ok := want[name]
		if !ok || wanted != "" && wanted != is {
			return fmt.Errorf("deployment %s is %s, want %q", name, is, wanted)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		return fmt.Errorf("deployments are missing: %v", want)
	}
	if err := errors.Join(
		d.secretIs(ctx, "db-password", "password", d.values.DBPassword),
		d.secretIs(ctx, "myapp-api", "API_TOKEN", d.values.APIToken),
		d.secretIs(ctx, "payment-provider", "API_KEY", d.values.Payment)); err != nil {
		return err
	}
	d.say("checked", "every Deployment and Secret is as in Git, Vault and AWS; nothing is left over")
	return nil
}

// leaks looks for the secret values where they must not be.
func (d *demo) leaks(ctx context.Context) error {
	d.act("6. The secret values are nowhere but in their Secrets.")
	metrics, err := d.Controller.MetricsText(ctx)
	if err != nil {
		return err
	}
	for _, s := range []struct{ name, value string }{{"db-password", d.values.DBPassword}, {"myapp-api", d.values.APIToken}, {"payment-provider", d.values.Payment}} {
		canary := testenv.CanaryOf(s.value)
		found, err := canary.InCluster(ctx, d.Cluster, types.NamespacedName{Namespace: "production", Name: s.name})
		if err != nil {
			return err
		}
		for _, dir := range []string{d.Controller.Logs(), d.repo.Folder(), d.Cluster.Logs(), d.Git.Logs()} {
			files, err := canary.InFiles(dir)
			if err != nil {
				return err
			}
			found = append(found, files...)
		}
		if canary.In([]byte(metrics)) {
			found = append(found, "the metrics")
		}
		if len(found) > 0 {
			return fmt.Errorf("the value of Secret production/%s is in %s", s.name, strings.Join(found, ", "))
		}
		d.say("Secret production/"+s.name, "its value is in no other object, event, log, metric or file, nor in Git")
	}
	return nil
}

// table shows the state of everything as the client does.
func (d *demo) table(ctx context.Context) error {
	path, err := testenv.Command(ctx, "lockstep")
	if err != nil {
		return err
	}
	d.act("7. lockstep get --all-namespaces")
	cmd := exec.CommandContext(ctx, path, "get", "--all-namespaces", "--kubeconfig", d.Cluster.Kubeconfig())
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("lockstep get: %w: %s", err, out)
	}
	fmt.Println()
	for line := range bytes.Lines(out) {
		fmt.Printf("  %s", line)
	}
	_, rss, peak, err := d.Controller.Usage()
	if err != nil {
		return err
	}
	fmt.Printf("\n  The controller holds %d MiB of memory (%d MiB at most).\n", rss>>20, peak>>20)
	return nil
}
