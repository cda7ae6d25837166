package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

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

	doubtful bool // the snapshot may be older than the object: look again soon

	secrets SecretCache
	token   appToken
	passes  Passes
	modules map[string]*checkout // of submodules, by address and commit
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
	login    Login

	repository *repository
	since      time.Time // from when on a listing is new enough
	state      *state
}

// of names what, besides the commit, decides how the tree looks.
func (f fetching) of() string {
	of := fmt.Sprintf("%s %v\n", f.Spec.URL, f.Spec.RecurseSubmodules) + strings.Join(f.Spec.SparseCheckout, "\n")
	if f.Spec.Ignore != nil {
		of += "\n\n" + *f.Spec.Ignore
	}
	return of
}

func (f fetching) access() access {
	return access{timeout: timeout(f.GitRepository), insecure: f.insecure, proxy: f.proxy, size: f.size}
}

func (f fetching) ref() sourcev1.GitRepositoryRef {
	if f.Spec.Reference == nil {
		return sourcev1.GitRepositoryRef{}
	}
	return *f.Spec.Reference
}

// refresh returns what the repository holds now: with no request if the spec
// pins a commit that is there already, or another of the same repository has
// just asked; with one if nothing changed, and with two else.
func (s *state) refresh(ctx context.Context, f fetching) (Snapshot, error) {
	commit, isPinned, err := pinned(f.ref())
	if err != nil {
		return Snapshot{}, &refError{err}
	}
	if t := (target{hash: commit, name: f.ref().Branch}); isPinned && s.has(f, commit) && s.snapshot.Revision == t.revision() {
		return s.keep(f, t, s.checkout)
	}
	release, err := f.repository.take(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	defer release()
	listed, err := f.repository.recent(f.since)
	if err != nil {
		return Snapshot{}, err
	}
	if listed != nil {
		if t, err := choose(f.ref(), listed); err == nil {
			if c := s.found(f, t); c != nil {
				s.doubtful = f.doubtful(f.repository.asked)
				return s.keep(f, t, c)
			}
		}
	}
	s.doubtful = false
	return s.ask(ctx, f)
}

// ask asks the server.
func (s *state) ask(ctx context.Context, f fetching) (Snapshot, error) {
	if err := s.provider(ctx, &f); err != nil {
		return Snapshot{}, err
	}
	r, err := newRemote(f.Spec.URL, f.secret, f.access())
	if err != nil {
		return Snapshot{}, err
	}
	defer r.close()
	session, err := r.open()
	if err != nil {
		return Snapshot{}, err
	}
	defer session.Close()
	began := time.Now() //nolint:forbidigo // how old a listing is
	t, err := session.list(ctx, f.ref())
	if wrong := (*refError)(nil); err == nil || !errors.As(err, &wrong) {
		f.repository.remember(session.listed, began, time.Now(), err) //nolint:forbidigo // as above
	}
	if err != nil {
		return Snapshot{}, err
	}
	if c := s.found(f, t); c != nil {
		return s.keep(f, t, c)
	}
	next, err := s.fetch(ctx, session, f, t)
	if errors.Is(err, errGap) {
		s.checkout, f.repository.objects = nil, nil
		delete(f.repository.checkouts, f.of())
		return s.ask(ctx, f)
	}
	if err != nil {
		return Snapshot{}, err
	}
	f.repository.checkouts[f.of()] = next
	return s.keep(f, t, next)
}

// found returns the checkout of t, if it is here: from this object's last run,
// or from another's.
func (s *state) found(f fetching, t target) *checkout {
	if s.has(f, t.hash) {
		if t.tag.IsZero() {
			s.checkout.tag = nil // or its signature would go on counting
		}
		if s.checkout.hasTag(t.tag) {
			return s.checkout
		}
	}
	if c := f.repository.checkouts[f.of()]; c != nil && c.commit == t.hash && c.hasTag(t.tag) {
		return c
	}
	return nil
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

func (c *checkout) hasTag(tag plumbing.Hash) bool {
	if c.tag == nil {
		return tag.IsZero()
	}
	return c.tag.Hash == tag
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
	objects, err := s.objects(ctx, session, f, t, was)
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
	if err := s.submodules(ctx, f, next); err != nil {
		return nil, err
	}
	s.received = session.received
	ctrl.LoggerFrom(ctx).Info("fetched", "revision", t.revision(), "objects", s.received, "files", len(next.tree.files))
	return next, nil
}

// objects returns those of a commit: of a fetch that another repository of the
// same address has just made, or of one of its own.
func (s *state) objects(ctx context.Context, session *session, f fetching, t target, was *checkout) (*objects, error) {
	if r := f.repository; was == nil && r.objects != nil && r.commit == t.hash && t.tag.IsZero() {
		return r.objects, nil
	}
	found, err := session.fetch(ctx, t, was)
	if err == nil && was == nil { // or it is a part
		f.repository.lend(found, t.hash)
	}
	return found, err
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
	f := fetching{GitRepository: r, insecure: c.AllowHTTPCredentials, size: c.MaxGitSize, login: c.Login}
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
	f.state, f.repository, f.since = c.states.of(r), c.pool.of(f), since(f, time.Now()) //nolint:forbidigo // how old a listing may be
	return f, err
}

// supported refuses the fields that nothing here acts on.
func supported(r *sourcev1.GitRepository) error {
	for _, f := range []struct {
		set   bool
		field string
		way   string
	}{
		{r.Spec.Provider == sourcev1.GitProviderAWS, "spec.provider: aws", "make Git credentials for CodeCommit in IAM, and use generic with a Secret in spec.secretRef"},
		{r.Spec.ServiceAccountName != "" && r.Spec.Provider != sourcev1.GitProviderAzure, "spec.serviceAccountName", "use a Secret in spec.secretRef"},
	} {
		if f.set {
			return fmt.Errorf("%s is not supported: %s", f.field, f.way)
		}
	}
	return nil
}

// sortedSecret is equal for equal content. It is never shown.
func sortedSecret(c credentials) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(c)) {
		fmt.Fprintf(&b, "%q=%q\n", key, c[key])
	}
	return b.String()
}
