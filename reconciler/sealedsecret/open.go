package sealedsecret

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
)

// open returns the Secret that ss stands for, and the keys that opened it. It is
// all or nothing, and an error names every item that failed, and none of the
// values.
func (c *Controller) open(ctx context.Context, ss *bitnamiv1alpha1.SealedSecret) (*corev1.Secret, uses, error) {
	if ss.Spec.Template.MalformedMetadata {
		return nil, uses{}, errors.New("spec.template.metadata is no metadata: labels and annotations are texts, in quotes where they look like numbers")
	}
	secret, keys, err := c.content(ctx, ss)
	if err != nil {
		return nil, uses{}, err
	}
	secret.Namespace, secret.Name = ss.Namespace, ss.Name
	if err := c.permitted(secret); err != nil {
		return nil, uses{}, err
	}
	if ss.Spec.Template.Annotations[bitnamiv1alpha1.AnnotationSkipSetOwnerReferences] != "true" {
		secret.OwnerReferences = []metav1.OwnerReference{owner(ss)}
	}
	return secret, keys, nil
}

// Open returns the Secret that the controller would write for ss, if ring were
// its keys and nothing were forbidden: for recovery without a cluster.
func Open(ctx context.Context, ss *bitnamiv1alpha1.SealedSecret, ring *sealer.Keyring) (*corev1.Secret, error) {
	c := &Controller{Keys: ring, AcceptDeprecatedData: true, AllowPrivileged: true}
	secret, _, err := c.open(ctx, ss)
	return secret, err
}

// owner is the reference that Sealed Secrets sets.
func owner(ss *bitnamiv1alpha1.SealedSecret) metav1.OwnerReference {
	controller := true
	return metav1.OwnerReference{
		APIVersion: bitnamiv1alpha1.GroupVersion.String(),
		Kind:       bitnamiv1alpha1.SealedSecretKind,
		Name:       ss.Name,
		UID:        ss.UID,
		Controller: &controller,
	}
}

// failures are the items that could not be opened, by what is wrong with them.
type failures struct {
	causes  []string // in the order of their first item
	items   map[string][]string
	retired bool // a key that is retired would open one
	hybrid  bool // one is of envelope 2, which kubeseal does not write
}

func (f *failures) add(item string, err error) {
	cause := err.Error()
	if rest, ok := strings.CutPrefix(cause, sealer.ErrNoKey.Error()+": "); ok && errors.Is(err, sealer.ErrNoKey) {
		cause = rest
	}
	f.retired = f.retired || errors.Is(err, sealer.ErrRetired)
	f.hybrid = f.hybrid || errors.Is(err, sealer.ErrPlace) || errors.Is(err, sealer.ErrCluster) || errors.Is(err, sealer.ErrUnknownKey)
	if f.items == nil {
		f.items = map[string][]string{}
	}
	if _, ok := f.items[cause]; !ok {
		f.causes = append(f.causes, cause)
	}
	f.items[cause] = append(f.items[cause], item)
}

// err returns an error that names the items, the place that they were opened
// for, and what to do; nil if none failed.
func (f *failures) err(at sealer.Binding) error {
	if len(f.causes) == 0 {
		return nil
	}
	var parts []string
	for _, cause := range f.causes {
		parts = append(parts, fmt.Sprintf("no key could decrypt secret (%s): %s", listed(f.items[cause]), cause))
	}
	err := fmt.Errorf("%s; it is opened for %v: seal it again with: %s", strings.Join(parts, "; "), at, f.way(at))
	if f.retired {
		return retiredError{err}
	}
	return err
}

// listed names items, the first of many: the message is for people to read.
func listed(items []string) string {
	const most = 50
	if more := len(items) - most; more > 0 {
		return fmt.Sprintf("%s, and %d more", strings.Join(items[:most], ", "), more)
	}
	return strings.Join(items, ", ")
}

// retiredError is an error that is a sealer.ErrRetired too.
type retiredError struct{ error }

func (retiredError) Is(target error) bool { return target == sealer.ErrRetired }

// way is the command that seals again what failed.
func (f *failures) way(at sealer.Binding) string {
	if f.hybrid {
		return "lockstep seal set FILE ITEM"
	}
	return "kubeseal " + flags(at)
}

func flags(at sealer.Binding) string {
	switch at.Scope {
	case sealer.ClusterWide:
		return "--scope cluster-wide"
	case sealer.NamespaceWide:
		return fmt.Sprintf("--scope namespace-wide --namespace %s", at.Namespace)
	default:
		return fmt.Sprintf("--namespace %s --name %s", at.Namespace, at.Name)
	}
}
