package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/source/pack"
)

// state is what is remembered of a repository from one run to the next. Only
// one run at a time touches it.
type state struct {
	uid      types.UID
	of       string // what the snapshot was made by: address, ignore rules
	snapshot Snapshot
	checkout *checkout // that the snapshot is of; nil before the first
	received int       // objects in the last pack
	verified string    // what was found of its signatures
	merged   *merged   // with spec.include; nil without

	secrets SecretCache
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
	signers  credentials // of spec.verify
	proxy    credentials
	insecure bool
	size     int64 // see Controller.MaxGitSize
}

// of names what, besides the commit, decides how the tree looks.
func (f fetching) of() string {
	of := f.Spec.URL + "\n" + strings.Join(f.Spec.SparseCheckout, "\n")
	if f.Spec.Ignore != nil {
		of += "\n\n" + *f.Spec.Ignore
	}
	return of
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
	r, err := newRemote(f.Spec.URL, f.secret, access{timeout: timeout(f.GitRepository), insecure: f.insecure, proxy: f.proxy, size: f.size})
	if err != nil {
		return Snapshot{}, err
	}
	defer r.close()
	commit, isPinned, err := pinned(f.ref())
	if err != nil {
		return Snapshot{}, &refError{err}
	}
	if t := (target{hash: commit, name: f.ref().Branch}); isPinned && s.has(f, commit) && s.snapshot.Revision == t.revision() {
		return s.keep(f, t, s.checkout)
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
	if s.has(f, found.hash) {
		if found.tag.IsZero() {
			s.checkout.tag = nil // or its signature would go on counting
		}
		if s.hasTag(found.tag) {
			return s.keep(f, found, s.checkout)
		}
	}
	next, err := s.fetch(ctx, session, f, found)
	if errors.Is(err, errGap) {
		s.checkout = nil
		return s.refresh(ctx, f)
	}
	if err != nil {
		return Snapshot{}, err
	}
	return s.keep(f, found, next)
}

// keep makes a checkout the newest one, if its signatures are as f wants them.
func (s *state) keep(f fetching, t target, c *checkout) (Snapshot, error) {
	s.verified = ""
	if v := f.Spec.Verification; v != nil {
		var err error
		if s.verified, err = c.verify(v.Mode, f.signers); err != nil {
			return Snapshot{}, err
		}
	}
	s.of, s.checkout, s.snapshot = f.of(), c, Snapshot{Revision: t.revision(), Tree: c.tree}
	return s.snapshot, nil
}

func (s *state) hasTag(tag plumbing.Hash) bool {
	if s.checkout.tag == nil {
		return tag.IsZero()
	}
	return s.checkout.tag.Hash == tag
}

// has reports whether the snapshot is of a commit, as f wants it.
func (s *state) has(f fetching, commit plumbing.Hash) bool {
	return s.checkout != nil && s.of == f.of() && s.checkout.commit == commit
}

// fetch gets and reads what s does not have of a commit.
func (s *state) fetch(ctx context.Context, session *session, f fetching, t target) (*checkout, error) {
	var was *checkout
	var tree *Tree
	if s.checkout != nil && s.of == f.of() {
		was, tree = s.checkout, s.checkout.tree
	}
	objects, err := session.fetch(ctx, t, was)
	if err != nil {
		return nil, gap(was, err)
	}
	next, err := read(objects, t.hash, selection{ignore: f.Spec.Ignore, sparse: f.Spec.SparseCheckout}, tree)
	if err != nil {
		return nil, gap(was, &treeError{err})
	}
	if !t.tag.IsZero() {
		if next.tag, err = object.GetTag(objects, t.tag); err != nil {
			return nil, gap(was, &treeError{fmt.Errorf("read tag %s: %w", t.name, err)})
		}
	}
	s.received = session.received
	ctrl.LoggerFrom(ctx).Info("fetched", "revision", t.revision(), "objects", s.received, "files", len(next.tree.files))
	return next, nil
}

// errGap says that what is here and what came do not make a whole: a
// .sourceignore that changed may want files that were never kept, and a server
// may send less than it should.
var errGap = errors.New("the new commit cannot be built on the old one")

func gap(was *checkout, err error) error {
	if was != nil && (errors.Is(err, plumbing.ErrObjectNotFound) || errors.Is(err, pack.ErrNoBase)) {
		return fmt.Errorf("%w: %w", errGap, err)
	}
	return err
}

// treeError is about what a repository holds.
type treeError struct{ err error }

func (e *treeError) Error() string { return e.err.Error() }
func (e *treeError) Unwrap() error { return e.err }

// fetching reads all that the spec refers to.
func (c *Controller) fetching(ctx context.Context, r *sourcev1.GitRepository) (fetching, error) {
	f := fetching{GitRepository: r, insecure: c.AllowHTTPCredentials, size: c.MaxGitSize}
	read := Secrets{Metadata: c.Metadata, Reader: c.Secrets, Namespace: r.Namespace, Cache: &c.states.of(r).secrets}
	var err error
	if f.secret, err = read.Get(ctx, "spec.secretRef", r.Spec.SecretRef); err != nil {
		return f, err
	}
	if f.proxy, err = read.Get(ctx, "spec.proxySecretRef", r.Spec.ProxySecretRef); err != nil {
		return f, err
	}
	if r.Spec.Verification != nil {
		f.signers, err = read.Get(ctx, "spec.verify.secretRef", &r.Spec.Verification.SecretRef)
	}
	return f, err
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
		{r.Spec.RecurseSubmodules, "spec.recurseSubmodules", "make a GitRepository of its own for each submodule"},
	} {
		if f.set {
			return fmt.Errorf("%s is not supported: %s", f.field, f.way)
		}
	}
	return nil
}
