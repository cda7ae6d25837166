// Package external keeps what others publish as ExternalArtifacts: for each,
// the files of the archive that its status names, checked by their digest.
package external

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/source"
)

// +kubebuilder:rbac:groups=source.toolkit.fluxcd.io,resources=externalartifacts,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// Controller fetches the artifacts of ExternalArtifacts. It writes nothing to
// them: their status is their publisher's. What fails is told by Events, and
// by those that use the artifact.
type Controller struct {
	source.Deps

	once   sync.Once
	client *http.Client
	mu     sync.Mutex
	told   map[types.NamespacedName]string // the failure that was told last
}

// timeout is how long a download may take; spec has no field for it.
const timeout = time.Minute

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	a := &sourcev1.ExternalArtifact{}
	err := c.Client.Get(ctx, req.NamespacedName, a)
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("read object: %w", err)
	}
	if err != nil || !a.DeletionTimestamp.IsZero() {
		c.tell(req.NamespacedName, "")
		c.Store.Delete(sourcev1.ExternalArtifactKind, req.Namespace, req.Name)
		return reconcile.Result{}, nil
	}
	if a.Status.Artifact == nil {
		return reconcile.Result{}, nil // its publisher will say
	}
	has, ok := c.Store.Get(sourcev1.ExternalArtifactKind, req.Namespace, req.Name)
	if ok && has.Revision == a.Status.Artifact.Revision && has.Digest == a.Status.Artifact.Digest {
		return reconcile.Result{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	snapshot, err := c.fetch(ctx, a.Status.Artifact)
	if err == nil {
		c.tell(req.NamespacedName, "")
		c.Store.Put(sourcev1.ExternalArtifactKind, req.Namespace, req.Name, snapshot)
		return reconcile.Result{}, nil
	}
	err = fmt.Errorf("revision %s: %w", a.Status.Artifact.Revision, err)
	if c.tell(req.NamespacedName, err.Error()) {
		c.Recorder.Event(a, corev1.EventTypeWarning, meta.ArtifactFailedReason, err.Error())
	}
	c.Store.Fail(sourcev1.ExternalArtifactKind, req.Namespace, req.Name, err)
	return reconcile.Result{}, err
}

// tell reports whether a failure is news.
func (c *Controller) tell(key types.NamespacedName, failure string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told == nil {
		c.told = map[types.NamespacedName]string{}
	}
	news := c.told[key] != failure
	c.told[key] = failure
	if failure == "" {
		delete(c.told, key)
	}
	return news
}

// fetch downloads an artifact and reads it if it has the digest that it should.
func (c *Controller) fetch(ctx context.Context, a *meta.Artifact) (source.Snapshot, error) {
	sum, want, err := digest(a.Digest)
	if err != nil {
		return source.Snapshot{}, err
	}
	u, err := url.Parse(a.URL)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return source.Snapshot{}, errors.New("status.artifact.url is not an http address")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return source.Snapshot{}, errors.New("status.artifact.url is not an http address")
	}
	resp, err := c.http().Do(r)
	if err != nil {
		return source.Snapshot{}, fmt.Errorf("%s does not answer: %w", u.Host, plain(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return source.Snapshot{}, fmt.Errorf("%s answers %d %s", u.Host, resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	limited := io.LimitReader(resp.Body, source.MaxArchive+1)
	files, err := source.Extract(io.TeeReader(limited, sum))
	if err != nil {
		return source.Snapshot{}, errors.Join(ctx.Err(), err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		return source.Snapshot{}, errors.New("what was downloaded has not the digest of status.artifact.digest: nothing of it is used")
	}
	ignore := "" // its publisher has left out what is to be left out
	tree, err := files.Tree(&ignore)
	return source.Snapshot{Revision: a.Revision, Digest: a.Digest, Tree: tree, Origin: a.Metadata["org.opencontainers.image.revision"]}, err
}

// digest returns how to compute a digest, and what it should be.
func digest(text string) (hash.Hash, string, error) {
	algorithm, want, _ := strings.Cut(text, ":")
	var sum hash.Hash
	switch algorithm {
	case "sha256":
		sum = sha256.New()
	case "sha384":
		sum = sha512.New384()
	case "sha512":
		sum = sha512.New()
	default:
		return nil, "", fmt.Errorf("status.artifact.digest: %q is no digest that proves a content: publish it as sha256, sha384 or sha512", algorithm)
	}
	if len(want) != 2*sum.Size() {
		return nil, "", fmt.Errorf("status.artifact.digest: a %s has %d digits", algorithm, 2*sum.Size())
	}
	return sum, strings.ToLower(want), nil
}

// http speaks to publishers: without credentials, following no redirects, and
// not to the metadata service of a cloud.
func (c *Controller) http() *http.Client {
	c.once.Do(func() {
		dialer := &net.Dialer{Timeout: 10 * time.Second, Control: refuseLinkLocal}
		c.client = &http.Client{
			Transport:     &http.Transport{DialContext: dialer.DialContext, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	})
	return c.client
}

var errLinkLocal = errors.New("link-local addresses and those of metadata services are refused")

// awsIPv6 is the metadata service of AWS, which is not link-local.
var awsIPv6 = netip.MustParseAddr("fd00:ec2::254")

func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("read an address: %w", err)
	}
	if ip := at.Addr().Unmap(); ip.IsLinkLocalUnicast() || ip == awsIPv6 {
		return errLinkLocal
	}
	return nil
}

// plain takes the address, which may hold a token, out of an error.
func plain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// SetupWithManager registers c with mgr.
func (c *Controller) SetupWithManager(mgr ctrl.Manager) error {
	workers := c.Workers
	if workers == 0 {
		workers = 4
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("externalartifact").
		WithOptions(reconciler.Options(workers)).
		For(&sourcev1.ExternalArtifact{}, builder.WithPredicates(published())).
		Complete(c)
}

// published lets through artifacts that are new.
func published() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		was, is := e.ObjectOld.(*sourcev1.ExternalArtifact).Status.Artifact, e.ObjectNew.(*sourcev1.ExternalArtifact).Status.Artifact
		same := was != nil && is != nil && was.Digest == is.Digest && was.Revision == is.Revision && was.URL == is.URL
		return !same || !e.ObjectNew.GetDeletionTimestamp().IsZero()
	}}
}
