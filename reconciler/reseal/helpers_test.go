package reseal_test

import (
	"testing"

	"github.com/fluxcd/pkg/apis/meta"
	"sigs.k8s.io/yaml"
)

func ref(name string) *meta.LocalObjectReference { return &meta.LocalObjectReference{Name: name} }

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}
