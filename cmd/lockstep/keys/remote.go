package keys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/cmd/internal/cluster"
	"github.com/lockstep-dev/lockstep/reconciler/reseal"
	"github.com/lockstep-dev/lockstep/reconciler/reseal/rewrite"
	"github.com/lockstep-dev/lockstep/sealer"
)

// remote has the controller seal again, through the API server: /v1/rotate. It
// implements reseal.Opener.
type remote struct {
	*cluster.Controller
	newest string            // fingerprint of the newest key
	keys   map[string]string // the key of values in the cluster whose object is on one alone
	bundle *sealer.Bundle    // nil if the controller publishes no keys of envelope 2
}

func (r *resealing) remote(ctx context.Context, objects []bitnamiv1alpha1.SealedSecret) (*remote, error) {
	c, err := r.Controller(ctx)
	if err != nil {
		return nil, err
	}
	text, found, err := c.Get(ctx, "/v1/cert.pem")
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errors.New("the controller publishes no certificate: is it one?")
	}
	cert, err := sealer.ParseCertificate(text)
	if err != nil {
		return nil, fmt.Errorf("the controller's certificate: %w", err)
	}
	newest, err := sealer.Fingerprint(cert.PublicKey)
	if err != nil {
		return nil, err
	}
	bundle, err := published(ctx, c)
	return &remote{Controller: c, newest: newest, keys: keysOf(objects), bundle: bundle}, err
}

// published returns the keys that the controller publishes; nil if it knows no
// envelope 2, or has no key of it yet.
func published(ctx context.Context, c *cluster.Controller) (*sealer.Bundle, error) {
	text, found, err := c.Get(ctx, "/v1/keys")
	if apierrors.IsServiceUnavailable(err) || err == nil && !found {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	bundle, err := sealer.ParseBundle(text)
	if err != nil {
		return nil, fmt.Errorf("the controller's keys: %w", err)
	}
	return bundle, nil
}

// look says of a value of envelope 2 what is public: whether it is on the newest
// key, and an error if it was sealed for others too. The controller does not
// know their keys.
func (r *remote) look(value string) (newest bool, err error) {
	if r.bundle == nil || !sealer.IsEnvelope2(value) {
		return false, nil
	}
	sealed, err := sealer.ParseSealed(value)
	if err != nil {
		return false, err
	}
	var others []string
	for _, a := range sealed.Addresses() {
		newest = newest || a.Key == r.bundle.Newest().ID
		if a.Cluster != r.bundle.Cluster() {
			others = append(others, "key "+a.String())
		}
	}
	if !newest && len(others) > 0 {
		return false, fmt.Errorf("%w: %s: seal it again here, with --cluster-keys and --recipient", sealer.ErrRecipients, strings.Join(others, ", "))
	}
	return newest, nil
}

// keysOf returns the key of every value of the objects that have one alone.
func keysOf(objects []bitnamiv1alpha1.SealedSecret) map[string]string {
	keys := map[string]string{}
	for i := range objects {
		uses := objects[i].Uses()
		if len(uses) != 1 || objects[i].Status.Target.Generation != objects[i].Generation {
			continue
		}
		for _, value := range objects[i].Spec.EncryptedData {
			keys[strings.TrimSpace(value)] = uses[0].Key
		}
	}
	return keys
}

// Reseal implements reseal.Opener. What the cluster knows to be on the newest
// key is left alone; what it does not know is sealed again.
func (r *remote) Reseal(ctx context.Context, at sealer.Binding, items []*rewrite.Item) []reseal.Result {
	results := make([]reseal.Result, len(items))
	wanted := map[string]string{}
	for i, item := range items {
		value := strings.TrimSpace(item.Value)
		results[i].From = r.keys[value]
		newest, err := r.look(value)
		if newest {
			results[i].From = r.newest
		}
		results[i].Err = err
		if results[i].From != r.newest && err == nil {
			wanted[item.Name] = value
		}
	}
	if len(wanted) == 0 {
		return results
	}
	values, err := r.rotate(ctx, at, wanted)
	for i, item := range items {
		if _, ok := wanted[item.Name]; !ok {
			continue
		}
		results[i].Err = err
		if err == nil {
			results[i].Next = values[item.Name]
		}
	}
	return results
}

func (r *remote) rotate(ctx context.Context, at sealer.Binding, items map[string]string) (map[string]string, error) {
	body, err := json.Marshal(map[string]any{
		"apiVersion": bitnamiv1alpha1.GroupVersion.String(), "kind": bitnamiv1alpha1.SealedSecretKind,
		"metadata": map[string]any{"namespace": at.Namespace, "name": nameOf(at), "annotations": annotationsOf(at.Scope)},
		"spec":     map[string]any{"encryptedData": items},
	})
	if err != nil {
		return nil, err
	}
	answer, err := r.Post(ctx, "/v1/rotate", "application/json", body)
	if err != nil {
		return nil, fmt.Errorf("the controller does not seal it again: does it open it? %w", err)
	}
	var ss bitnamiv1alpha1.SealedSecret
	if err := json.Unmarshal(answer, &ss); err != nil {
		return nil, errors.New("what the controller answers is no SealedSecret")
	}
	for name := range items {
		if ss.Spec.EncryptedData[name] == "" {
			return nil, fmt.Errorf("the controller's answer lacks the item %q", name)
		}
	}
	return ss.Spec.EncryptedData, nil
}

// nameOf is a name for what may have any: a SealedSecret is never without.
func nameOf(at sealer.Binding) string {
	if at.Name == "" {
		return "any"
	}
	return at.Name
}

func annotationsOf(scope sealer.Scope) map[string]string {
	switch scope {
	case sealer.ClusterWide:
		return map[string]string{bitnamiv1alpha1.AnnotationClusterWide: "true"}
	case sealer.NamespaceWide:
		return map[string]string{bitnamiv1alpha1.AnnotationNamespaceWide: "true"}
	default:
		return nil
	}
}
