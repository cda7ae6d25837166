package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	sigsyaml "sigs.k8s.io/yaml"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/cmd/internal/manifest"
	"github.com/lockstep-dev/lockstep/sealer"
)

// mergeInto seals one Secret into a SealedSecret that is there, under its name.
// Of the file only what is new or another changes: comments, order and form
// stay. The new file comes into the place of the old at once.
func (s *sealing) mergeInto(in io.Reader) error {
	path := s.options.mergeInto
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	asJSON, err := sigsyaml.YAMLToJSON(text)
	if err != nil {
		return fmt.Errorf("--merge-into %s: %w", path, err)
	}
	into, err := parseSealed(asJSON)
	if err != nil {
		return fmt.Errorf("--merge-into %s: %w", path, err)
	}
	if into.Kind != bitnamiv1alpha1.SealedSecretKind {
		return fmt.Errorf("--merge-into %s: it holds kind %q, not a SealedSecret", path, into.Kind)
	}
	from, err := s.sealedFor(in, into)
	if err != nil {
		return err
	}
	merged := merge(into, from)
	if s.flags.Changed("format") && isJSON(text) != (s.format == "json") {
		return s.rewrite(merged) // asked for the other form
	}
	next, err := edited(text, into, from)
	if err != nil {
		return s.rewrite(merged)
	}
	got := &bitnamiv1alpha1.SealedSecret{}
	if err := sigsyaml.Unmarshal(next, got); err != nil || !equality.Semantic.DeepEqual(got, merged) {
		return s.rewrite(merged) // what was edited must say what was meant
	}
	return manifest.ReplaceFile(path, next, 0o644)
}

func isJSON(text []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) }

// rewrite writes the whole file anew, as the genuine kubeseal does.
func (s *sealing) rewrite(ss *bitnamiv1alpha1.SealedSecret) error {
	var out bytes.Buffer
	if err := write(&out, s.format, ss); err != nil {
		return err
	}
	return manifest.ReplaceFile(s.options.mergeInto, out.Bytes(), 0o644)
}

// sealedFor seals the Secret of the input for the name, namespace and scope of
// a SealedSecret.
func (s *sealing) sealedFor(in io.Reader, into *bitnamiv1alpha1.SealedSecret) (*bitnamiv1alpha1.SealedSecret, error) {
	secrets, err := manifest.Secrets(in)
	if err != nil {
		return nil, err
	}
	if len(secrets) != 1 {
		return nil, fmt.Errorf("--merge-into takes one Secret, and the input holds %d", len(secrets))
	}
	secret := secrets[0]
	secret.Name, secret.Namespace = into.Name, into.Namespace
	if !s.flags.Changed("scope") && manifest.ScopeOf(secret) == sealer.Strict {
		s.scope.Scope = manifest.ScopeOf(into) // or the new items would not open beside the old
	}
	from, err := s.secret(secret)
	if err != nil {
		return nil, err
	}
	if was, is := manifest.ScopeOf(into), manifest.ScopeOf(from); was != is {
		return nil, fmt.Errorf("--merge-into %s: it was sealed with scope %s, and the new items would have %s: use --scope %s", s.options.mergeInto, was, is, was)
	}
	return from, nil
}

// merge returns into with the items, annotations and labels of from.
func merge(into, from *bitnamiv1alpha1.SealedSecret) *bitnamiv1alpha1.SealedSecret {
	into = into.DeepCopy()
	into.Spec.EncryptedData = above(into.Spec.EncryptedData, from.Spec.EncryptedData)
	into.Spec.Template.Annotations = above(into.Spec.Template.Annotations, from.Spec.Template.Annotations)
	into.Spec.Template.Labels = above(into.Spec.Template.Labels, from.Spec.Template.Labels)
	return into
}

func above[M ~map[string]string](below, on M) M {
	if below == nil {
		below = M{}
	}
	maps.Copy(below, on)
	return below
}

// maxEdits is how many items are set one by one, each with a look at the whole
// file: with more, the object is larger than the API server takes.
const maxEdits = 1000

// edited does in the text what merge does.
func edited(text []byte, into, from *bitnamiv1alpha1.SealedSecret) ([]byte, error) {
	if len(from.Spec.EncryptedData) > maxEdits {
		return nil, manifest.ErrEdit
	}
	for _, part := range []struct {
		path      []string
		was, will map[string]string
	}{
		{[]string{"spec", "encryptedData"}, nil, from.Spec.EncryptedData},
		{[]string{"spec", "template", "metadata", "annotations"}, into.Spec.Template.Annotations, from.Spec.Template.Annotations},
		{[]string{"spec", "template", "metadata", "labels"}, into.Spec.Template.Labels, from.Spec.Template.Labels},
	} {
		for _, name := range slices.Sorted(maps.Keys(part.will)) {
			if was, ok := part.was[name]; ok && was == part.will[name] {
				continue
			}
			roots, err := manifest.Roots(text)
			if err != nil || len(roots) == 0 {
				return nil, manifest.ErrEdit
			}
			if text, err = manifest.Set(text, roots[0], append(slices.Clone(part.path), name), part.will[name]); err != nil {
				return nil, err
			}
		}
	}
	return text, nil
}
