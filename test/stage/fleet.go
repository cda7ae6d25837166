package stage

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

// Values are the secrets of the fleet.
type Values struct {
	DBPassword string // sealed in Git
	APIToken   string // in Vault
	Payment    string // in AWS
}

// FleetFiles returns the files of examples/fleet by their paths.
func (s *Stage) FleetFiles() (map[string]string, error) {
	files := map[string]string{}
	root := filepath.Join(s.Root, "examples", "fleet")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		files[filepath.ToSlash(rel)] = string(data)
		return err
	})
	return files, err
}

// PrepareFleet puts into Vault, AWS and the cluster what the fleet needs and
// what is not in Git: the values themselves, the roles that may read them, and
// the one secret that a person brings.
func (s *Stage) PrepareFleet(ctx context.Context, v Values) error {
	if err := s.PutAPIToken(ctx, v.APIToken); err != nil {
		return err
	}
	roleID, secretID, err := s.Vault.AppRole(ctx, testenv.VaultRole{Name: "lockstep", Policy: testenv.Allow("secret/data/myapp/*"), TTL: time.Hour})
	if err != nil {
		return err
	}
	if _, err := s.AWS.Role(ctx, testenv.AWSRole{
		Name: "external-secrets", Subject: "system:serviceaccount:external-secrets:external-secrets",
		Allow: []testenv.AWSStatement{{Actions: []string{"secretsmanager:GetSecretValue"}, Resources: []string{"prod/*"}}},
	}); err != nil {
		return err
	}
	if _, err := s.AWS.PutSecret(ctx, Region, "prod/payment/provider", fmt.Sprintf(`{"PROVIDER":"stripe","API_KEY":%q}`, v.Payment)); err != nil {
		return err
	}
	return s.Ensure(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "external-secrets"}},
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "external-secrets", Name: "vault-approle"},
			StringData: map[string]string{"secret-id": secretID},
		},
		&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: FluxNamespace, Name: "cluster-config"},
			Data:       map[string]string{"CLUSTER_NAME": "production", "REGION": Region, "VAULT_ADDR": s.Vault.Address(), "VAULT_ROLE_ID": roleID},
		},
		s.GitCredentials(),
	)
}

// PutAPIToken changes the value in Vault.
func (s *Stage) PutAPIToken(ctx context.Context, token string) error {
	_, err := s.Vault.Put(ctx, "myapp/api", map[string]any{"user": "myapp", "token": token})
	return err
}

// GitCredentials is the Secret that the sources of a stage use.
func (s *Stage) GitCredentials() *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: FluxNamespace, Name: "git-credentials"},
		StringData: map[string]string{"username": s.Git.Username, "password": s.Git.Password, "ca.crt": string(s.Git.CA)},
	}
}

// Source is a GitRepository for branch main of url.
func Source(name, url string, interval time.Duration) *sourcev1.GitRepository {
	return &sourcev1.GitRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: FluxNamespace, Name: name},
		Spec: sourcev1.GitRepositorySpec{
			URL: url, Interval: metav1.Duration{Duration: interval}, Reference: &sourcev1.GitRepositoryRef{Branch: "main"},
			SecretRef: &meta.LocalObjectReference{Name: "git-credentials"},
		},
	}
}

// Sync is a Kustomization for a path of a source.
func Sync(name, source, path string) *kustomizev1.Kustomization {
	return &kustomizev1.Kustomization{
		ObjectMeta: metav1.ObjectMeta{Namespace: FluxNamespace, Name: name},
		Spec: kustomizev1.KustomizationSpec{
			Interval: metav1.Duration{Duration: 10 * time.Minute}, RetryInterval: &metav1.Duration{Duration: 30 * time.Second},
			SourceRef: kustomizev1.CrossNamespaceSourceReference{Kind: sourcev1.GitRepositoryKind, Name: source}, Path: path, Prune: true,
		},
	}
}

// Seal seals a Secret as a user does: with cmd/kubeseal and the controller's
// certificate. It returns the SealedSecret in YAML.
func (s *Stage) Seal(ctx context.Context, namespace, name string, data map[string]string) (string, error) {
	kubeseal, err := testenv.Command(ctx, "kubeseal")
	if err != nil {
		return "", err
	}
	cert, err := s.Controller.Certificate(ctx)
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.Controller.Logs(), "cert.pem")
	if err := os.WriteFile(file, cert, 0o600); err != nil {
		return "", err
	}
	manifest := fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: %s\nstringData:\n", name, namespace)
	for k, v := range data {
		manifest += fmt.Sprintf("  %s: %q\n", k, v)
	}
	cmd := exec.CommandContext(ctx, kubeseal, "--cert", file, "--format", "yaml")
	cmd.Stdin = bytes.NewBufferString(manifest)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubeseal: %w: %s", err, errs.String())
	}
	return out.String(), nil
}
