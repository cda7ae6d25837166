package stores

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// ErrReference says that something that a store refers to is missing, or has
// not what the store needs.
var ErrReference = errors.New("reference of the store")

// errReferent says that a reference means the namespace of the object that
// uses the store, and that none does at the moment.
var errReferent = errors.New("names no namespace, so it means that of each ExternalSecret")

// tokenLifetime is asked for in TokenRequests, unless the store says more: the
// least that every API server grants. A token is used to log in, at once.
const tokenLifetime = 10 * time.Minute

// references reads what a store refers to, for its provider.
type references struct {
	reader client.Reader // not a cache: values are read when needed and not kept
	writer client.Client // asks for tokens
	scope  scope
}

// Secret implements providers.References.
func (r *references) Secret(ctx context.Context, ref esv1.SecretKeySelector) (providers.Value, error) {
	namespace, err := r.scope.namespace("secretRef "+ref.Name, ref.Namespace)
	if err != nil {
		return providers.Value{}, err
	}
	b, err := r.key(ctx, &corev1.Secret{}, namespace, ref.Name, ref.Key)
	return providers.NewValue(b), err
}

// Keys implements providers.References.
func (r *references) Keys(ctx context.Context, ref esv1.SecretKeySelector) (map[string]providers.Value, error) {
	namespace, err := r.scope.namespace("secretRef "+ref.Name, ref.Namespace)
	if err != nil {
		return nil, err
	}
	secret := &corev1.Secret{}
	if err := r.get(ctx, secret, kindSecret, namespace, ref.Name); err != nil {
		return nil, err
	}
	all := make(map[string]providers.Value, len(secret.Data))
	for key, b := range secret.Data {
		all[key] = providers.NewValue(b)
	}
	return all, nil
}

// CA implements providers.References.
func (r *references) CA(ctx context.Context, ref esv1.CAProvider) ([]byte, error) {
	namespace, err := r.scope.namespace("caProvider", ref.Namespace)
	if err != nil {
		return nil, err
	}
	switch ref.Type {
	case esv1.CASecret:
		return r.key(ctx, &corev1.Secret{}, namespace, ref.Name, ref.Key)
	case esv1.CAConfigMap:
		return r.key(ctx, &corev1.ConfigMap{}, namespace, ref.Name, ref.Key)
	default:
		return nil, fmt.Errorf("caProvider.type: %w: %q is neither Secret nor ConfigMap", providers.ErrInvalid, ref.Type)
	}
}

// key reads one key of a Secret or ConfigMap.
func (r *references) key(ctx context.Context, obj client.Object, namespace, name, key string) ([]byte, error) {
	kind := kindSecret
	if _, ok := obj.(*corev1.ConfigMap); ok {
		kind = kindConfigMap
	}
	if err := r.get(ctx, obj, kind, namespace, name); err != nil {
		return nil, err
	}
	var data []byte
	var ok bool
	switch o := obj.(type) {
	case *corev1.Secret:
		data, ok = o.Data[key]
	case *corev1.ConfigMap:
		var text string
		if text, ok = o.Data[key]; ok {
			data = []byte(text)
		} else {
			data, ok = o.BinaryData[key]
		}
	}
	if !ok {
		return nil, fmt.Errorf("%w: %s %s/%s has no key %q: add it, or correct the reference", ErrReference, kind, namespace, name, key)
	}
	return data, nil
}

func (r *references) get(ctx context.Context, obj client.Object, kind, namespace, name string) error {
	err := r.reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, obj)
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%w: %s %s/%s does not exist: create it, or correct the reference", ErrReference, kind, namespace, name)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: %s %s/%s must not be read by the controller: give its ServiceAccount the right to", ErrReference, kind, namespace, name)
	case err != nil:
		return fmt.Errorf("read %s %s/%s: %w", kind, namespace, name, err)
	}
	return nil
}

// Token implements providers.References.
func (r *references) Token(ctx context.Context, ref esv1.ServiceAccountSelector, audiences []string, lifetime time.Duration) (providers.Value, time.Time, error) {
	namespace, err := r.scope.namespace("serviceAccountRef", ref.Namespace)
	if err != nil {
		return providers.Value{}, time.Time{}, err
	}
	if len(audiences) == 0 {
		// The API server would make a token that it accepts itself.
		return providers.Value{}, time.Time{}, fmt.Errorf("serviceAccountRef: %w: a token needs an audience: set serviceAccountRef.audiences", providers.ErrInvalid)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: ref.Name}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences:         audiences,
		ExpirationSeconds: new(int64(cmp.Or(lifetime, tokenLifetime).Seconds())),
	}}
	err = r.writer.SubResource("token").Create(ctx, account, request)
	switch {
	case apierrors.IsNotFound(err):
		return providers.Value{}, time.Time{}, fmt.Errorf("%w: ServiceAccount %s/%s does not exist: create it, or correct the reference", ErrReference, namespace, ref.Name)
	case apierrors.IsForbidden(err):
		return providers.Value{}, time.Time{}, fmt.Errorf("%w: the controller must not make tokens of ServiceAccount %s/%s: give its ServiceAccount create on serviceaccounts/token", ErrReference, namespace, ref.Name)
	case err != nil:
		return providers.Value{}, time.Time{}, fmt.Errorf("token of ServiceAccount %s/%s: %w", namespace, ref.Name, err)
	}
	return providers.NewValue([]byte(request.Status.Token)), request.Status.ExpirationTimestamp.Time, nil
}

// Annotations implements providers.References.
func (r *references) Annotations(ctx context.Context, ref esv1.ServiceAccountSelector) (map[string]string, error) {
	namespace, err := r.scope.namespace("serviceAccountRef", ref.Namespace)
	if err != nil {
		return nil, err
	}
	account := &corev1.ServiceAccount{}
	if err := r.get(ctx, account, kindServiceAccount, namespace, ref.Name); err != nil {
		return nil, err
	}
	return account.Annotations, nil
}
