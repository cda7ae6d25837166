package apply

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// TestExplainSecret refuses a Secret with an error that repeats a value, as
// the API server does.
func TestExplainSecret(t *testing.T) {
	const value = "hunter2-of-the-canary"
	refused := apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "s", field.ErrorList{field.Invalid(field.NewPath("data", "key"), value, "must be shorter")})
	err := explain(schema.GroupKind{Kind: "Secret"}, refused)
	if strings.Contains(err.Error(), value) || !strings.Contains(err.Error(), "data.key") {
		t.Errorf("got %q, want the field and not the value", err)
	}
	if !apierrors.IsInvalid(err) || errors.Unwrap(err) != nil {
		t.Error("the class is to be kept, the text not")
	}
	if other := explain(schema.GroupKind{Kind: "ConfigMap"}, refused); !strings.Contains(other.Error(), value) {
		t.Errorf("of another kind: got %q, want the server's words", other)
	}
}

func TestTakenOver(t *testing.T) {
	const update, apply = metav1.ManagedFieldsOperationUpdate, metav1.ManagedFieldsOperationApply
	for name, tc := range map[string]struct {
		manager, subresource string
		operation            metav1.ManagedFieldsOperationType
		want                 bool
	}{
		"kubectl, client side":     {manager: "kubectl-client-side-apply", operation: update, want: true},
		"kubectl, server side":     {manager: "kubectl", operation: apply, want: true},
		"Helm":                     {manager: "helm", operation: update, want: true},
		"ours, by update":          {manager: FieldManager, operation: update, want: true},
		"before server-side apply": {manager: "before-first-apply", operation: update, want: true},
		"Flux":                     {manager: FieldManager, operation: apply},
		"an edit that shall last":  {manager: "flux-client-side-apply", operation: apply},
		"the status":               {manager: "kubectl-edit", subresource: "status", operation: update},
		"another controller":       {manager: "kube-controller-manager", operation: update},
		"listed, by update":        {manager: "robot-7", operation: update, want: true},
		"listed, by apply":         {manager: "robot", operation: apply, want: true},
		"listed, its status":       {manager: "robot", subresource: "status", operation: update},
	} {
		entry := metav1.ManagedFieldsEntry{Manager: tc.manager, Subresource: tc.subresource, Operation: tc.operation, FieldsV1: &metav1.FieldsV1{}}
		if got := (Managers{"robot"}).takenOver(entry); got != tc.want {
			t.Errorf("%s: got %t, want %t", name, got, tc.want)
		}
	}
}
