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
		{s.Decryption != nil, "decryption"},
		{s.KubeConfig != nil, "kubeConfig"},
		{s.Force, "force"},
		{len(s.HealthCheckExprs) > 0, "healthCheckExprs"},
		{len(s.BuildMetadata) > 0, "buildMetadata"},
		{s.IgnoreMissingComponents, "ignoreMissingComponents"},
		{len(s.Ignore) > 0, "ignore"},
		{s.DeletionPolicy == kustomizev1.DeletionPolicyWaitForTermination, "deletionPolicy: " + kustomizev1.DeletionPolicyWaitForTermination},
		{s.SourceRef.Kind != "GitRepository", "sourceRef.kind: " + s.SourceRef.Kind},
	} {
		if f.set {
			return reconciler.Final(reasonUnsupported, fmt.Errorf("spec.%s is not supported by this version: remove it; nothing was changed", f.name))
		}
	}
	for i, d := range s.DependsOn {
		if d.ReadyExpr != "" {
			return reconciler.Final(reasonUnsupported, fmt.Errorf("spec.dependsOn[%d].readyExpr is not supported by this version: remove it; nothing was changed", i))
		}
	}
	return nil
}
