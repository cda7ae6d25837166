// Package texts reads the templates that templateFrom names.
package texts

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/externalsecrets/template"
)

// ErrSource says that something that templateFrom names is missing.
var ErrSource = errors.New("template not found")

// Read reads what templateFrom names, out of namespace only. A nil t has none.
func Read(ctx context.Context, reader client.Reader, namespace string, t *esv1.Template) ([]template.Source, error) {
	if t == nil {
		return nil, nil
	}
	get := func(kind, name string) (map[string]string, error) {
		return texts(ctx, reader, kind, client.ObjectKey{Namespace: namespace, Name: name})
	}
	var all []template.Source
	for i := range t.TemplateFrom {
		from := &t.TemplateFrom[i]
		base := template.Source{
			Field:  fmt.Sprintf("%s.templateFrom[%d]", template.Field, i),
			Target: from.Target,
			Decode: func(value []byte) ([]byte, error) { return fetch.Decode(from.ValuesDecodingStrategy, value) },
		}
		for _, ref := range []struct {
			kind string
			ref  *esv1.TemplateRef
		}{{"ConfigMap", from.ConfigMap}, {"Secret", from.Secret}} {
			if ref.ref == nil {
				continue
			}
			found, err := source(get, base, ref.kind, ref.ref)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
		if from.Literal != nil {
			literal := base
			literal.Field, literal.Text = base.Field+".literal", *from.Literal
			all = append(all, literal)
		}
	}
	return all, nil
}

// source reads the items of one ConfigMap or Secret.
func source(get func(kind, name string) (map[string]string, error), base template.Source, kind string, ref *esv1.TemplateRef) ([]template.Source, error) {
	field := fmt.Sprintf("%s.%s", base.Field, strings.ToLower(kind[:1])+kind[1:])
	texts, err := get(kind, ref.Name)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%s: %w: %s %q does not exist: create it, or correct the name", field, ErrSource, kind, ref.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: read %s %q: %w", field, kind, ref.Name, err)
	}
	var all []template.Source
	for i, item := range ref.Items {
		s := base
		s.Field = fmt.Sprintf("%s.items[%d]", field, i)
		text, ok := texts[item.Key]
		if !ok {
			return nil, fmt.Errorf("%s: %w: %s %q has no key %q: add it, or correct the key", s.Field, ErrSource, kind, ref.Name, item.Key)
		}
		s.Text = text
		if item.TemplateAs != esv1.TemplateAsKeysAndValues {
			s.Key = item.Key
		}
		all = append(all, s)
	}
	return all, nil
}

func texts(ctx context.Context, reader client.Reader, kind string, key client.ObjectKey) (map[string]string, error) {
	if kind == "ConfigMap" {
		cm := &corev1.ConfigMap{}
		err := reader.Get(ctx, key, cm)
		return cm.Data, err
	}
	secret := &corev1.Secret{}
	if err := reader.Get(ctx, key, secret); err != nil {
		return nil, err
	}
	texts := make(map[string]string, len(secret.Data))
	for k, v := range secret.Data {
		texts[k] = string(v)
	}
	return texts, nil
}

// Names returns what templateFrom names: Kind/name of each.
func Names(t *esv1.Template) (names []string) {
	if t == nil {
		return nil
	}
	for i := range t.TemplateFrom {
		if ref := t.TemplateFrom[i].ConfigMap; ref != nil {
			names = append(names, "ConfigMap/"+ref.Name)
		}
		if ref := t.TemplateFrom[i].Secret; ref != nil {
			names = append(names, "Secret/"+ref.Name)
		}
	}
	return names
}
