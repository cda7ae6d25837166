package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-dev/lockstep/providers"
)

// names are what Secrets and namespaces are called; they become part of a URL.
var names = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// Open checks the settings and finds out who reads.
func Open(ctx context.Context, config providers.Config) (providers.Reader, error) {
	p := config.Provider.Kubernetes
	if p == nil {
		return nil, fmt.Errorf("spec.provider.kubernetes: %w: it is missing", providers.ErrInvalid)
	}
	namespace := p.RemoteNamespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	if !names.MatchString(namespace) {
		return nil, fmt.Errorf("spec.provider.kubernetes.remoteNamespace: %w: %q is no namespace", providers.ErrInvalid, namespace)
	}
	c, err := newClient(ctx, config)
	if err != nil {
		return nil, err
	}
	return &reader{client: c, namespace: namespace}, nil
}

// reader is one namespace.
type reader struct {
	client    *client
	namespace string
}

// path is where the API has a Secret, or with an empty name all of them.
func (r *reader) path(name string) (string, error) {
	where := "/api/v1/namespaces/" + r.namespace + "/secrets"
	if name == "" {
		return where, nil
	}
	if !names.MatchString(name) {
		return "", fmt.Errorf("remoteRef.key %q: %w: no Secret can be called so", name, providers.ErrInvalid)
	}
	return where + "/" + name, nil
}

// get reads a Secret. The empty resourceVersion asks for the newest.
func (r *reader) get(ctx context.Context, name string) (*corev1.Secret, error) {
	if name == "" {
		return nil, fmt.Errorf("remoteRef.key: %w: it is empty", providers.ErrInvalid)
	}
	where, err := r.path(name)
	if err != nil {
		return nil, err
	}
	s := &corev1.Secret{}
	if err := r.client.do(ctx, request{method: http.MethodGet, path: where, verb: "get"}, s); err != nil {
		return nil, err
	}
	if s.Kind != "Secret" || s.Name != name {
		return nil, r.client.stranger() // it must not pass for a Secret that is empty
	}
	return s, nil
}

// Read implements providers.Reader. The value is a JSON object of the Secret's
// keys. What is not text is in it as it is, so that a key of it is the same
// bytes; as a whole such an object is no JSON for others.
func (r *reader) Read(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	if ref.Version != "" {
		return providers.Value{}, fmt.Errorf("remoteRef.version %q: %w: a Secret keeps no versions; leave it empty", ref.Version, providers.ErrInvalid)
	}
	s, err := r.get(ctx, ref.Path)
	if err != nil {
		return providers.Value{}, fmt.Errorf("read Secret %s/%s: %w", r.namespace, ref.Path, err)
	}
	defer wipe(s)
	return providers.NewValue(object(s.Data)), nil
}

func wipe(s *corev1.Secret) {
	for _, value := range s.Data {
		clear(value)
	}
}

// pageSize is how many Secrets one request lists, without their values.
const pageSize = 500

// Find implements providers.Finder. Tags are labels.
func (r *reader) Find(ctx context.Context, q providers.Query) ([]string, error) {
	if q.Path != "" {
		return nil, fmt.Errorf("find.path: %w: a namespace has no folders; use find.name or find.tags", providers.ErrInvalid)
	}
	where, err := r.path("")
	if err != nil {
		return nil, err
	}
	query := url.Values{"limit": {fmt.Sprint(pageSize)}}
	if len(q.Tags) > 0 {
		query.Set("labelSelector", metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: q.Tags}))
	}
	var found []string
	for {
		page, err := r.list(ctx, where, query)
		if err != nil {
			return nil, fmt.Errorf("find Secrets in namespace %s: %w", r.namespace, err)
		}
		for i := range page.Items {
			if name := page.Items[i].Name; q.Name == nil || q.Name.MatchString(name) {
				found = append(found, name)
			}
		}
		if page.Continue == "" {
			slices.Sort(found)
			return found, nil
		}
		query.Set("continue", page.Continue)
	}
}

func (r *reader) list(ctx context.Context, where string, query url.Values) (*metav1.PartialObjectMetadataList, error) {
	page := &metav1.PartialObjectMetadataList{}
	if err := r.client.do(ctx, request{method: http.MethodGet, path: where, query: query, verb: "list", metadata: true}, page); err != nil {
		return nil, err
	}
	if !strings.HasSuffix(page.Kind, "List") {
		return nil, r.client.stranger() // it must not pass for a list that is empty
	}
	return page, nil
}

// Metadata implements providers.MetadataReader: labels and annotations.
func (r *reader) Metadata(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	s, err := r.get(ctx, ref.Path)
	if err != nil {
		return providers.Value{}, fmt.Errorf("read the metadata of Secret %s/%s: %w", r.namespace, ref.Path, err)
	}
	defer wipe(s)
	orEmpty := func(m map[string]string) map[string]string {
		if m == nil {
			return map[string]string{}
		}
		return m
	}
	text, _ := json.Marshal(map[string]map[string]string{ //nolint:errchkjson // maps of strings always have a form as JSON
		"labels": orEmpty(s.Labels), "annotations": orEmpty(s.Annotations)})
	return providers.NewValue(text), nil
}
