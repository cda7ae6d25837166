package reseal

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/reseal/forge"
	"github.com/lockstep-dev/lockstep/reconciler/source"
	"github.com/lockstep-dev/lockstep/sealer"
)

func mergeFrom(before client.Object) client.Patch { return client.MergeFrom(before) }

// open finds the repository of a Reseal and what it takes to push to it.
func (c *Controller) open(ctx context.Context, r *lockstepv1alpha1.Reseal) (*work, error) {
	if err := c.allowed(r); err != nil {
		return nil, reconciler.Final(reasonNotAllowed, err)
	}
	w := &work{Controller: c, reseal: r, git: &sourcev1.GitRepository{}}
	for i, text := range r.Spec.Recipients {
		recipient, err := sealer.ParseRecipient(text, sealer.ClusterID{})
		if err != nil {
			return nil, reconciler.Final(reasonInvalid, fmt.Errorf("spec.recipients[%d]: %w", i, err))
		}
		w.recipients = append(w.recipients, recipient)
	}
	key := client.ObjectKey{Namespace: cmp.Or(r.Spec.SourceRef.Namespace, r.Namespace), Name: r.Spec.SourceRef.Name}
	if err := c.Client.Get(ctx, key, w.git); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, reconciler.Wait(reasonSource, 0, fmt.Errorf("spec.sourceRef: the GitRepository %s does not exist: create it", key))
		}
		return nil, err
	}
	if w.branch = cmp.Or(r.Spec.Branch, branchOf(w.git)); w.branch == "" {
		return nil, reconciler.Final(reasonInvalid, fmt.Errorf("spec.branch is missing, and the GitRepository %s names no branch either", key))
	}
	secret, err := c.credentials(ctx, r, w.git)
	if err != nil {
		return nil, err
	}
	w.repository, err = source.OpenRepository(w.git, secret, c.AllowHTTPCredentials)
	return w, err
}

// allowed refuses what is for the platform owner alone.
func (c *Controller) allowed(r *lockstepv1alpha1.Reseal) error {
	if r.Namespace == c.Namespace {
		return nil
	}
	if r.Spec.Retire {
		return fmt.Errorf("spec.retire is about the keys of all: it is allowed in namespace %q only", c.Namespace)
	}
	if ns := r.Spec.SourceRef.Namespace; ns != "" && ns != r.Namespace {
		return fmt.Errorf("spec.sourceRef: namespace %q is not the object's own: that is allowed in namespace %q only", ns, c.Namespace)
	}
	return nil
}

func branchOf(g *sourcev1.GitRepository) string {
	ref := g.Spec.Reference
	switch {
	case ref == nil:
		return "master" // Flux's default
	case ref.Branch != "":
		return ref.Branch
	case strings.HasPrefix(ref.Name, "refs/heads/"):
		return strings.TrimPrefix(ref.Name, "refs/heads/")
	case ref.Commit != "" || ref.Tag != "" || ref.SemVer != "" || ref.Name != "":
		return ""
	default:
		return "master"
	}
}

func (c *Controller) credentials(ctx context.Context, r *lockstepv1alpha1.Reseal, g *sourcev1.GitRepository) (map[string][]byte, error) {
	switch {
	case r.Spec.SecretRef != nil:
		return c.secret(ctx, "spec.secretRef", r.Namespace, r.Spec.SecretRef.Name)
	case g.Spec.SecretRef != nil:
		return c.secret(ctx, "spec.secretRef of the GitRepository", g.Namespace, g.Spec.SecretRef.Name)
	default:
		return nil, nil
	}
}

func (c *Controller) secret(ctx context.Context, field, namespace, name string) (map[string][]byte, error) {
	var secret corev1.Secret
	key := client.ObjectKey{Namespace: namespace, Name: name}
	if err := c.Secrets.Get(ctx, key, &secret); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, reconciler.Wait(reasonCredentials, again, fmt.Errorf("%s: the Secret %s does not exist: create it", field, key))
		}
		return nil, fmt.Errorf("read Secret %s: %w", key, err)
	}
	return secret.Data, nil
}

// signer returns nil if commits are not to be signed.
func (w *work) signer(ctx context.Context) (signer, error) {
	ref := w.reseal.Spec.Commit.SigningKey
	if ref == nil {
		return nil, nil
	}
	secret, err := w.secret(ctx, "spec.commit.signingKey", w.reseal.Namespace, ref.Name)
	if err != nil {
		return nil, err
	}
	s, err := newSigner(secret, w.now())
	if err != nil {
		return nil, reconciler.Wait(reasonCredentials, again, err)
	}
	return s, nil
}

func (w *work) forge(ctx context.Context) (*forge.Client, error) {
	spec := w.reseal.Spec.PullRequest
	secret, err := w.secret(ctx, "spec.pullRequest.secretRef", w.reseal.Namespace, spec.SecretRef.Name)
	if err != nil {
		return nil, err
	}
	token := strings.TrimSpace(string(secret["token"]))
	if token == "" {
		return nil, reconciler.Wait(reasonCredentials, again, fmt.Errorf("spec.pullRequest.secretRef: the Secret %s/%s has no token", w.reseal.Namespace, spec.SecretRef.Name))
	}
	api, err := forge.New(forge.Kind(spec.Forge), w.git.Spec.URL, spec.API, token, w.AllowHTTPCredentials)
	if err != nil {
		return nil, reconciler.Final(reasonInvalid, err)
	}
	return api, nil
}

// known returns where each sealed value is in the cluster.
func (c *Controller) known(ctx context.Context) (map[string]sealer.Binding, error) {
	var all bitnamiv1alpha1.SealedSecretList
	if err := c.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list SealedSecrets: %w", err)
	}
	return Known(all.Items), nil
}

// Known returns where each sealed value is in the cluster, for ByManifest.
func Known(all []bitnamiv1alpha1.SealedSecret) map[string]sealer.Binding {
	known := map[string]sealer.Binding{}
	for i := range all {
		for _, value := range all[i].Spec.EncryptedData {
			known[strings.TrimSpace(value)] = bindingOf(&all[i])
		}
	}
	return known
}

func bindingOf(ss *bitnamiv1alpha1.SealedSecret) sealer.Binding {
	at := sealer.Binding{Namespace: ss.Namespace, Name: ss.Name}
	switch {
	case ss.Annotations[bitnamiv1alpha1.AnnotationClusterWide] == "true":
		at.Scope = sealer.ClusterWide
	case ss.Annotations[bitnamiv1alpha1.AnnotationNamespaceWide] == "true":
		at.Scope = sealer.NamespaceWide
	}
	return at
}
