package kustomization

import (
	"fmt"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// reasonUnsupported is the condition reason of a field that this version does
// not have yet.
const reasonUnsupported = "UnsupportedField"

// supported refuses what would otherwise be ignored in silence.
func supported(ks *kustomizev1.Kustomization) error {
	s := &ks.Spec
	for _, f := range []struct {
		set  bool
		name string
	}{
		{s.KubeConfig != nil && s.KubeConfig.SecretRef == nil, "kubeConfig.configMapRef"},
	} {
		if f.set {
			return reconciler.Final(reasonUnsupported, fmt.Errorf("spec.%s is not supported by this version: remove it; nothing was changed", f.name))
		}
	}
	return nil
}
