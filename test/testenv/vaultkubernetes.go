package testenv

import (
	"context"
	"fmt"
	"net/http"

	authenticationv1 "k8s.io/api/authentication/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// reviewer is the ServiceAccount, in the namespace default, as which Vault
// asks the API server whose a token is.
const reviewer = "vault-reviewer"

// VaultSubject is the ServiceAccount that a role of Vault's is for.
type VaultSubject struct {
	Namespace, Name string
	// Audience that its tokens must have. Empty: that of the API server.
	Audience string
}

// KubernetesRole makes a role of the auth method at kubernetes, or replaces it,
// for a ServiceAccount of cp.
func (v *Vault) KubernetesRole(ctx context.Context, cp *ControlPlane, r VaultRole, subject VaultSubject) error {
	token, err := cp.reviewerToken(ctx)
	if err != nil {
		return err
	}
	if err := v.Call(ctx, http.MethodPost, "auth/kubernetes/config", map[string]any{
		"kubernetes_host": cp.Issuer(), "kubernetes_ca_cert": string(cp.CA()),
		"token_reviewer_jwt": token, "disable_local_ca_jwt": true,
	}, nil); err != nil {
		return err
	}
	in, err := v.settings(ctx, r)
	if err != nil {
		return err
	}
	in["bound_service_account_names"] = []string{subject.Name}
	in["bound_service_account_namespaces"] = []string{subject.Namespace}
	if subject.Audience != "" {
		in["audience"] = subject.Audience
	}
	return v.Call(ctx, http.MethodPost, "auth/kubernetes/role/"+r.Name, in, nil)
}

// reviewerToken returns a token that may review tokens for as long as the
// certificates of cp last.
func (c *ControlPlane) reviewerToken(ctx context.Context) (string, error) {
	if _, err := c.Token(ctx, metav1.NamespaceDefault, reviewer); err != nil { // makes the account
		return "", err
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: reviewer},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:auth-delegator"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: metav1.NamespaceDefault, Name: reviewer}},
	}
	_, err := c.Client.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("testenv: let %s review tokens: %w", reviewer, err)
	}
	seconds := int64(validity.Seconds())
	answer, err := c.Client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).CreateToken(ctx, reviewer,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("testenv: token of %s: %w", reviewer, err)
	}
	return answer.Status.Token, nil
}
