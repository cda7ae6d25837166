package fetch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Fits returns ErrTooLarge if data is more than a Secret can hold: the error
// names the Secret, the largest value of data and where it comes from, and both
// sizes in bytes. results are those that data was made of, with a template or
// without.
func (p *Plan) Fits(secret string, data map[string][]byte, results map[Read]Result) error {
	total := 0
	for _, value := range data {
		total += len(value)
	}
	if total <= corev1.MaxSecretSize {
		return nil
	}
	key := slices.MaxFunc(slices.Sorted(maps.Keys(data)), func(a, b string) int { return cmp.Compare(len(data[a]), len(data[b])) })
	return fmt.Errorf("%s: %w: Secret %q would have %d bytes, of which the value of key %q is %d, and %d are allowed: take less of it with property, or split it among several ExternalSecrets; the Secret stays as it is",
		p.origin(key, results), ErrTooLarge, secret, total, key, len(data[key]), corev1.MaxSecretSize)
}

// origin says where the value of a key comes from, the last that gives it: that
// one wins.
func (p *Plan) origin(key string, results map[Read]Result) string {
	if _, ok := p.rendered[key]; ok {
		return fmt.Sprintf("spec.target.template.data[%s]", key)
	}
	for _, i := range slices.Backward(p.items) {
		values, err := i.values(results[i.read])
		if _, ok := values[key]; err != nil || !ok {
			continue
		}
		if i.read.Generator.Kind != "" {
			return i.field
		}
		return fmt.Sprintf("%s: secret %s of %s %q", i.field, i.read, i.read.Store.Kind, i.read.Store.Name)
	}
	return "spec.target.template.templateFrom"
}
