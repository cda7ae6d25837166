package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-dev/lockstep/providers"
)

// secretSettings are the metadata of a PushSecret for Kubernetes.
type secretSettings struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// Write implements providers.Writer. A property is a key of the Secret; a
// value without one must be a JSON object of text. What is written is Opaque:
// Secrets of other types can give rights.
func (r *reader) Write(ctx context.Context, to providers.Target, v providers.Value, metadata json.RawMessage) error {
	settings, err := providers.DecodeMetadata[secretSettings](metadata)
	if err != nil {
		return err
	}
	if err := r.write(ctx, to, v, settings); err != nil {
		return fmt.Errorf("write Secret %s/%s: %w", r.namespace, to.Path, err)
	}
	return nil
}

func (r *reader) write(ctx context.Context, to providers.Target, v providers.Value, settings secretSettings) error {
	old, err := r.ours(ctx, to.Path)
	fresh := errors.Is(err, providers.ErrNotFound)
	if err != nil && !fresh {
		return err
	}
	if fresh {
		old = &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: metav1.ObjectMeta{Name: to.Path, Namespace: r.namespace}, Type: corev1.SecretTypeOpaque}
	}
	s := old.DeepCopy()
	if s.Data, err = data(old.Data, to, v); err != nil {
		return err
	}
	s.Labels, s.Annotations = merge(s.Labels, settings.Labels), merge(s.Annotations, settings.Annotations)
	s.Labels[providers.ManagedBy] = providers.ManagedByValue
	if fresh {
		where, err := r.path("")
		if err != nil {
			return err
		}
		return r.client.do(ctx, request{method: http.MethodPost, path: where, verb: "create", body: s}, nil)
	}
	if maps.EqualFunc(s.Data, old.Data, bytes.Equal) && maps.Equal(s.Labels, old.Labels) && maps.Equal(s.Annotations, merge(old.Annotations, nil)) {
		return nil
	}
	return r.put(ctx, s)
}

// put replaces a Secret as it was read: the API server refuses it if there is
// another by now.
func (r *reader) put(ctx context.Context, s *corev1.Secret) error {
	where, err := r.path(s.Name)
	if err != nil {
		return err
	}
	return r.client.do(ctx, request{method: http.MethodPut, path: where, verb: "update", body: s}, nil)
}

// data returns what a Secret is to hold.
func data(old map[string][]byte, to providers.Target, v providers.Value) (map[string][]byte, error) {
	if to.Property != "" {
		all := maps.Clone(old)
		if all == nil {
			all = map[string][]byte{}
		}
		all[to.Property] = bytes.Clone(v.Bytes())
		return all, nil
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(v.Bytes(), &values); err != nil || values == nil {
		// The error of the decoder may hold a part of the value.
		return nil, fmt.Errorf("%w: the value is no JSON object, which becomes the keys of a Secret: set a property", providers.ErrInvalid)
	}
	all := make(map[string][]byte, len(values))
	for key, raw := range values {
		var text string
		if json.Unmarshal(raw, &text) == nil {
			raw = []byte(text)
		}
		all[key] = raw // what is not text stays JSON
	}
	return all, nil
}

func merge(old, wanted map[string]string) map[string]string {
	all := maps.Clone(old)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, wanted)
	return all
}

// ours reads a Secret, and returns ErrForeign unless a Writer made it.
func (r *reader) ours(ctx context.Context, name string) (*corev1.Secret, error) {
	s, err := r.get(ctx, name)
	if err != nil {
		return nil, err
	}
	if s.Labels[providers.ManagedBy] != providers.ManagedByValue || (s.Type != corev1.SecretTypeOpaque && s.Type != "") {
		return nil, fmt.Errorf("%w: it has no label %s=%s, or is not Opaque: add the label to hand it over", providers.ErrForeign, providers.ManagedBy, providers.ManagedByValue)
	}
	return s, nil
}

// Delete implements providers.Writer.
func (r *reader) Delete(ctx context.Context, to providers.Target) error {
	s, err := r.ours(ctx, to.Path)
	if errors.Is(err, providers.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = r.remove(ctx, s, to.Property)
	}
	if err != nil && !errors.Is(err, providers.ErrNotFound) {
		return fmt.Errorf("delete Secret %s/%s: %w", r.namespace, to.Path, err)
	}
	return nil
}

func (r *reader) remove(ctx context.Context, s *corev1.Secret, key string) error {
	if key != "" {
		if _, there := s.Data[key]; !there {
			return nil
		}
		if delete(s.Data, key); len(s.Data) > 0 {
			return r.put(ctx, s)
		}
	}
	where, err := r.path(s.Name)
	if err != nil {
		return err
	}
	return r.client.do(ctx, request{method: http.MethodDelete, path: where, verb: "delete",
		body: metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &s.UID, ResourceVersion: &s.ResourceVersion}}}, nil)
}
