// Package template makes the content of a Secret out of values and the
// templates of an ExternalSecret. It is pure: no clock but that of its time
// limit, no network, no files, and the same input always gives the same output.
package template

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
)

// Limits of one Render.
const (
	// maxOutput in bytes, of all that is rendered. A Secret cannot hold more:
	// corev1.MaxSecretSize.
	maxOutput = corev1.MaxSecretSize

	// timeLimit is far above what a template for a Secret needs, which is
	// microseconds, and short enough that a loop without end holds up nobody.
	timeLimit = 2 * time.Second
)

// Field is the path of the template in an ExternalSecret.
const Field = "spec.target.template"

// Errors of Render. Their text names fields and keys, never values nor what
// was rendered.
var (
	ErrInvalid = errors.New("invalid template") // it can never work as written
	ErrLimit   = errors.New("template limit")   // it takes too long, or makes too much
)

// A Source is one text of an entry of templateFrom, read by the caller.
type Source struct {
	Field  string // path of the item, for errors
	Key    string // key that the result gets; "" if the text makes a YAML map
	Text   string
	Target string // Data, Annotations or Labels, in any case; "" is Data
	Decode func(value []byte) ([]byte, error)
}

// Output is the content of a Secret. It has no name, owner or immutability:
// templates must not reach those.
type Output struct {
	Type        corev1.SecretType
	Data        map[string][]byte
	Labels      map[string]string
	Annotations map[string]string
	Finalizers  []string
}

// Render makes the content of a Secret. A nil t takes values as they are.
// Template.data wins over sources, and those over values, which are used only
// with mergePolicy Merge or if there is no template at all.
func Render(ctx context.Context, t *esv1.Template, sources []Source, values map[string][]byte) (*Output, error) {
	out := &Output{Data: map[string][]byte{}, Labels: map[string]string{}, Annotations: map[string]string{}, Type: corev1.SecretTypeOpaque}
	if t == nil {
		maps.Copy(out.Data, values)
		return out, nil
	}
	if err := Check(t); err != nil {
		return nil, err
	}
	if t.Type != "" {
		out.Type = t.Type
	}
	if t.MergePolicy == esv1.MergePolicyMerge || len(t.Data) == 0 && len(t.TemplateFrom) == 0 {
		maps.Copy(out.Data, values)
	}
	out.Finalizers = slices.Clone(t.Metadata.Finalizers)

	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	e := newEngine(ctx, values)
	for _, s := range sources {
		if err := e.source(out, s); err != nil {
			return nil, err
		}
	}
	return out, e.spec(out, t)
}

// Escalates reports whether Kubernetes turns a Secret of a type into credentials
// of its own: to write one is to have rights that nobody gave.
func Escalates(kind corev1.SecretType) bool {
	return kind == corev1.SecretTypeServiceAccountToken || kind == corev1.SecretTypeBootstrapToken
}

// Check refuses what no Secret of an ExternalSecret may be. It needs no values,
// so that none are asked for in vain. A nil t is good.
func Check(t *esv1.Template) error {
	if t == nil {
		return nil
	}
	if t.EngineVersion != "" && t.EngineVersion != "v2" {
		return fmt.Errorf("%s.engineVersion: %w: %q is not supported: use v2", Field, ErrInvalid, t.EngineVersion)
	}
	if Escalates(t.Type) {
		return fmt.Errorf("%s.type: %w: %q is not allowed: use Opaque", Field, ErrInvalid, t.Type)
	}
	return nil
}

// spec renders what the template itself holds.
func (e *engine) spec(out *Output, t *esv1.Template) error {
	for _, key := range slices.Sorted(maps.Keys(t.Data)) {
		field := fmt.Sprintf("%s.data[%s]", Field, key)
		text, err := e.render(field, t.Data[key])
		if err == nil {
			err = put(out, field, "", key, []byte(text))
		}
		if err != nil {
			return err
		}
	}
	for target, m := range map[string]map[string]string{
		esv1.TemplateTargetAnnotations: t.Metadata.Annotations,
		esv1.TemplateTargetLabels:      t.Metadata.Labels,
	} {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			field := fmt.Sprintf("%s.metadata.%s[%s]", Field, strings.ToLower(target), key)
			text, err := e.render(field, m[key])
			if err == nil {
				err = put(out, field, target, key, []byte(text))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// source renders one text of templateFrom.
func (e *engine) source(out *Output, s Source) error {
	text, err := e.render(s.Field, s.Text)
	if err != nil {
		return err
	}
	made := map[string]string{s.Key: text}
	if s.Key == "" {
		made = nil
		if err := yaml.Unmarshal([]byte(text), &made); err != nil {
			// The parser's message quotes what was rendered.
			return fmt.Errorf("%s: %w: it must render a YAML map of strings, and does not", s.Field, ErrInvalid)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(made)) {
		value := []byte(made[key])
		if s.Decode != nil {
			if value, err = s.Decode(value); err != nil {
				return fmt.Errorf("%s: %w: the value of key %q: %w", s.Field, ErrInvalid, key, err)
			}
		}
		if err := put(out, s.Field, s.Target, key, value); err != nil {
			return err
		}
	}
	return nil
}

// put stores a rendered value where target says: nowhere else can a template
// write.
func put(out *Output, field, target, key string, value []byte) error {
	switch strings.ToLower(target) {
	case "", "data":
		// The rule is that of Secrets too; the message quotes no value, and a
		// key is not one.
		if problems := validation.IsConfigMapKey(key); len(problems) > 0 {
			return fmt.Errorf("%s: %w: %q cannot be a key of a Secret", field, ErrInvalid, key)
		}
		out.Data[key] = value
	case "annotations":
		if !utf8.Valid(value) {
			return fmt.Errorf("%s: %w: what it renders is not text, as annotation %q must be: encode it, with b64enc for instance", field, ErrInvalid, key)
		}
		out.Annotations[key] = string(value)
	case "labels":
		if problems := validation.IsValidLabelValue(string(value)); len(problems) > 0 {
			return fmt.Errorf("%s: %w: what it renders cannot be the value of label %q: at most 63 letters, digits, '-', '_' and '.'", field, ErrInvalid, key)
		}
		out.Labels[key] = string(value)
	default:
		return fmt.Errorf("%s: %w: target %q is none of Data, Annotations and Labels", field, ErrInvalid, target)
	}
	return nil
}
