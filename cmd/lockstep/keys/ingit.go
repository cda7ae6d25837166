package keys

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/reseal"
)

// inGit refuses if a GitRepository of the cluster holds values that one of the
// chosen keys sealed. The controller says so, which holds what Git does; it is
// asked only if there is any.
func (r *retiring) inGit(ctx context.Context, out io.Writer, kube client.Client, chosen []pair) error {
	if r.leave {
		return nil
	}
	some, err := synced(ctx, kube)
	if err != nil || !some {
		return err
	}
	var refused []error
	for _, p := range chosen {
		if p.Retired {
			continue
		}
		answer, err := ask(ctx, kube, p.secret)
		switch {
		case err != nil:
			refused = append(refused, fmt.Errorf("%s may be needed by a GitRepository: %w; --leave-values-in-git retires it all the same", short(p.Fingerprint), err))
		case answer.Needs != "":
			refused = append(refused, fmt.Errorf("%s is needed by %s: seal that again first, with lockstep reseal or a Reseal, or give it up with --leave-values-in-git", short(p.Fingerprint), answer.Needs))
		case answer.Unseen != "":
			fmt.Fprintf(out, "Not looked at: %s.\n", answer.Unseen)
		}
	}
	return errors.Join(refused...)
}

// synced says whether there is a GitRepository.
func synced(ctx context.Context, kube client.Client) (bool, error) {
	repositories := &metav1.PartialObjectMetadataList{}
	repositories.SetGroupVersionKind(sourcev1.GroupVersion.WithKind(sourcev1.GitRepositoryKind + "List"))
	if err := kube.List(ctx, repositories, client.Limit(1)); err != nil {
		if apimeta.IsNoMatchError(err) {
			return false, nil
		}
		return false, fmt.Errorf("list GitRepositories: %w", err)
	}
	return len(repositories.Items) > 0, nil
}

// How long the controller may take to answer: it opens what is not in the
// cluster, with each key; and how often to look.
var (
	answerTimeout = 5 * time.Minute //nolint:gochecknoglobals // shorter in tests
	answerPoll    = 500 * time.Millisecond
)

var errNoAnswer = errors.New("the controller does not say, though it was asked: is it running, in this namespace, and as new as this command?")

// ask asks the controller whether a GitRepository needs the key of a Secret, and
// leaves secret as it is then.
func ask(ctx context.Context, kube client.Client, secret *corev1.Secret) (answer reseal.Answer, err error) {
	asked := rand.Text()
	before := secret.DeepCopy()
	metav1.SetMetaDataAnnotation(&secret.ObjectMeta, reseal.AnnotationAsked, asked)
	if err := kube.Patch(ctx, secret, client.MergeFrom(before)); err != nil {
		return answer, fmt.Errorf("ask the controller: %w", err)
	}
	err = wait.PollUntilContextTimeout(ctx, answerPoll, answerTimeout, true, func(ctx context.Context) (bool, error) {
		if err := kube.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
			return false, err
		}
		var ok bool
		answer, ok = reseal.AnswerOf(secret, asked)
		return ok, nil
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		return answer, errNoAnswer
	}
	return answer, err
}
