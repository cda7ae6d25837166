package reseal

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
)

// Annotations of a key Secret by which lockstep keys retire asks the controller,
// which holds what Git does, whether a GitRepository needs the key; and in which
// the controller answers with an Answer in JSON.
const (
	AnnotationAsked    = "lockstep.dev/retire-asked"
	AnnotationAnswered = "lockstep.dev/retire-answered"
)

// Answer is what the controller knows of the GitRepositories and one key.
type Answer struct {
	Asked string `json:"asked"` // the value of AnnotationAsked that it answers

	// Needs are the values that only this key opens, by GitRepository, file,
	// object and item, and the GitRepositories that are yet to be fetched: the
	// first few, and how many there are more.
	Needs string `json:"needs,omitempty"`

	// Unseen is what could not be looked at: GitRepositories of which nothing
	// was ever fetched, and files that are no manifests.
	Unseen string `json:"unseen,omitempty"`
}

// AnswerOf returns the answer in the annotations of a key Secret to what was
// asked, and whether it is there.
func AnswerOf(secret metav1.Object, asked string) (answer Answer, ok bool) {
	err := json.Unmarshal([]byte(secret.GetAnnotations()[AnnotationAnswered]), &answer)
	return answer, err == nil && answer.Asked == asked
}

// answers registers what answers them.
func (c *Controller) answers(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("retire").
		WithOptions(reconciler.Options(1)). // each looks at all values
		For(&corev1.Secret{}, builder.OnlyMetadata, builder.WithPredicates(predicate.NewPredicateFuncs(c.unanswered))).
		Complete(reconcile.Func(c.answer))
}

func (c *Controller) unanswered(o client.Object) bool {
	asked := o.GetAnnotations()[AnnotationAsked]
	if o.GetNamespace() != c.Namespace || asked == "" {
		return false
	}
	_, ok := AnswerOf(o, asked)
	return !ok
}

// notYet is how long to wait for the keys to be loaded.
const notYet = time.Second

// answer looks at all GitRepositories for values of one key.
func (c *Controller) answer(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if !c.Ring.Loaded() {
		return reconcile.Result{RequeueAfter: notYet}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	secret := &corev1.Secret{}
	if err := c.Secrets.Get(ctx, req.NamespacedName, secret); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !c.unanswered(secret) {
		return reconcile.Result{}, nil
	}
	key, err := keys.Parse(secret)
	if err != nil {
		return reconcile.Result{}, reconcile.TerminalError(err)
	}
	behind, blind, err := c.look(ctx, []string{key.Fingerprint})
	if err != nil {
		return reconcile.Result{}, err
	}
	text, err := json.Marshal(Answer{Asked: secret.Annotations[AnnotationAsked], Needs: some(behind), Unseen: some(blind)})
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("write answer: %w", err)
	}
	before := secret.DeepCopy()
	metav1.SetMetaDataAnnotation(&secret.ObjectMeta, AnnotationAnswered, string(text))
	if err := c.Client.Patch(ctx, secret, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("answer whether a sealing key may be retired: %w", err)
	}
	return reconcile.Result{}, nil
}
