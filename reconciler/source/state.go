package source

import (
	"context"
	"fmt"
	"sync"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// state is what is remembered of a repository from one run to the next. Only
// one run at a time touches it.
type state struct {
	uid      types.UID
	of       string // what the snapshot was made by: address, ignore rules
	snapshot Snapshot
	hash     string // of the snapshot's commit

	secretVersion string
	secret        credentials
}

type states struct {
	mu  sync.Mutex
	all map[types.NamespacedName]*state
}

func (s *states) of(r *sourcev1.GitRepository) *state {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[types.NamespacedName]*state{}
	}
	key := client.ObjectKeyFromObject(r)
	if s.all[key] == nil || s.all[key].uid != r.UID {
		s.all[key] = &state{uid: r.UID}
	}
	return s.all[key]
}

func (s *states) forget(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, key)
}

// fetching is all that decides what a fetch brings.
type fetching struct {
	*sourcev1.GitRepository
	secret   credentials
	insecure bool
}

// of names what, besides the commit, decides how the tree looks.
func (f fetching) of() string {
	if f.Spec.Ignore == nil {
		return f.Spec.URL
	}
	return f.Spec.URL + "\n" + *f.Spec.Ignore
}

func (f fetching) ref() sourcev1.GitRepositoryRef {
	if f.Spec.Reference == nil {
		return sourcev1.GitRepositoryRef{}
	}
	return *f.Spec.Reference
}

// refresh returns what the repository holds now: with no request if the spec
// pins a commit that is there already, with one if nothing changed, and with
// two else.
func (s *state) refresh(ctx context.Context, f fetching) (Snapshot, error) {
	r, err := newRemote(f.Spec.URL, f.secret, timeout(f.GitRepository), f.insecure)
	if err != nil {
		return Snapshot{}, err
	}
	defer r.close()
	commit, isPinned, err := pinned(f.ref())
	if err != nil {
		return Snapshot{}, &refError{err}
	}
	if isPinned && s.of == f.of() && s.hash == commit.String() && s.snapshot.Revision == (target{hash: commit, name: f.ref().Branch}).revision() {
		return s.snapshot, nil
	}
	session, err := r.open()
	if err != nil {
		return Snapshot{}, err
	}
	defer session.Close()
	found, err := session.list(ctx, f.ref())
	if err != nil {
		return Snapshot{}, err
	}
	if s.of == f.of() && s.hash == found.hash.String() {
		s.snapshot.Revision = found.revision()
		return s.snapshot, nil
	}
	objects, err := session.fetch(ctx, found)
	if err != nil {
		return Snapshot{}, err
	}
	tree, err := read(objects, found.hash, f.Spec.Ignore, s.snapshot.Tree)
	if err != nil {
		return Snapshot{}, &treeError{err}
	}
	s.of, s.hash, s.snapshot = f.of(), found.hash.String(), Snapshot{Revision: found.revision(), Tree: tree}
	return s.snapshot, nil
}

// treeError is about what a repository holds.
type treeError struct{ err error }

func (e *treeError) Error() string { return e.err.Error() }

// credentials returns the values of the Secret that the spec names. They are
// read when the Secret's metadata changes, and then once.
func (c *Controller) credentials(ctx context.Context, r *sourcev1.GitRepository) (credentials, error) {
	if r.Spec.SecretRef == nil {
		return nil, nil
	}
	key := client.ObjectKey{Namespace: r.Namespace, Name: r.Spec.SecretRef.Name}
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := c.Metadata.Get(ctx, key, m)
	if apierrors.IsNotFound(err) {
		return nil, reconciler.Wait(reasonAuthentication, 0, fmt.Errorf("spec.secretRef: the Secret %s does not exist: create it", key))
	}
	if err != nil {
		return nil, fmt.Errorf("look up Secret %s: %w", key, err)
	}
	s, version := c.states.of(r), string(m.UID)+"/"+m.ResourceVersion
	if s.secretVersion == version {
		return s.secret, nil
	}
	var secret corev1.Secret
	if err := c.Secrets.Get(ctx, key, &secret); err != nil {
		return nil, reconciler.Temporary(reasonAuthentication, fmt.Errorf("read Secret %s: %w", key, err))
	}
	s.secretVersion, s.secret = version, secret.Data
	return s.secret, nil
}

// supported refuses the fields that nothing here acts on.
func supported(r *sourcev1.GitRepository) error {
	for _, f := range []struct {
		set   bool
		field string
		way   string
	}{
		{r.Spec.Provider != "" && r.Spec.Provider != sourcev1.GitProviderGeneric, "spec.provider", "use generic, with a Secret in spec.secretRef"},
		{r.Spec.ServiceAccountName != "", "spec.serviceAccountName", "use a Secret in spec.secretRef"},
		{r.Spec.Verification != nil, "spec.verify", "remove it: signatures are not checked"},
		{r.Spec.ProxySecretRef != nil, "spec.proxySecretRef", "set HTTPS_PROXY for the controller"},
		{r.Spec.RecurseSubmodules, "spec.recurseSubmodules", "make a GitRepository of its own for each submodule"},
		{len(r.Spec.Include) > 0, "spec.include", "use a Kustomization for each repository"},
		{len(r.Spec.SparseCheckout) > 0, "spec.sparseCheckout", "use spec.ignore"},
	} {
		if f.set {
			return fmt.Errorf("%s is not supported: %s", f.field, f.way)
		}
	}
	return nil
}
