package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// vaultStore makes a SecretStore that is named as a mount of Vault, with a
// token, and bench/app-0 and so on in it.
func (b *bench) vaultStore(ctx context.Context, mount string, keys int) error {
	token, err := b.Vault.Token(ctx, testenv.VaultRole{Name: "bench-" + mount, Policy: testenv.Allow(mount + "/data/bench/*")})
	if err != nil {
		return err
	}
	for i := range keys {
		if err := b.vaultSecret(ctx, mount, i); err != nil {
			return err
		}
	}
	store := &esv1.SecretStore{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: mount}}
	store.Spec.Provider = &esv1.SecretStoreProvider{Vault: &esv1.VaultProvider{
		Server: b.Vault.Address(), Path: &mount, Version: esv1.VaultKVv2, CABundle: b.Vault.CA,
		Auth: &esv1.VaultAuth{TokenSecretRef: &esv1.SecretKeySelector{Name: "token-" + mount, Key: "token"}},
	}}
	return b.Ensure(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "token-" + mount}, StringData: map[string]string{"token": token}},
		store)
}

// vaultSecret puts one secret into a mount.
func (b *bench) vaultSecret(ctx context.Context, mount string, i int) error {
	in := map[string]any{"data": map[string]any{"token": fmt.Sprintf("value-of-app-%d", i), "user": "app", "host": "db"}}
	return b.Vault.Call(ctx, "POST", fmt.Sprintf("%s/data/bench/app-%d", mount, i), in, nil)
}

// serviceAccount is who the pods of the benchmark are.
const serviceAccount = "bench"

// awsStore makes a SecretStore of Secrets Manager with a role for the
// ServiceAccount, and one more that it takes on, and bench/app-0 and so on.
func (b *bench) awsStore(ctx context.Context, name string, keys int) error {
	first, err := b.AWS.Role(ctx, testenv.AWSRole{Name: "bench-web", Subject: "system:serviceaccount:" + namespace + ":" + serviceAccount,
		Allow: []testenv.AWSStatement{{Actions: []string{"sts:AssumeRole"}, Resources: []string{"*"}}}})
	if err != nil {
		return err
	}
	second, err := b.AWS.Role(ctx, testenv.AWSRole{Name: "bench-read", Principals: []string{"arn:aws:sts::*:assumed-role/bench-web/*"},
		Allow: []testenv.AWSStatement{{Actions: []string{"secretsmanager:*"}, Resources: []string{"*"}}}})
	if err != nil {
		return err
	}
	for i := range keys {
		if _, err := b.AWS.PutSecret(ctx, stage.Region, fmt.Sprintf("bench/app-%d", i), fmt.Sprintf(`{"token":"value-of-app-%d"}`, i)); err != nil {
			return err
		}
	}
	store := &esv1.SecretStore{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	store.Spec.Provider = &esv1.SecretStoreProvider{AWS: &esv1.AWSProvider{
		Service: "SecretsManager", Region: stage.Region, Role: second,
		Auth: esv1.AWSAuth{JWT: &esv1.AWSAuthJWT{ServiceAccountRef: &esv1.ServiceAccountSelector{Name: serviceAccount}}},
	}}
	return b.Ensure(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: serviceAccount, Annotations: map[string]string{"eks.amazonaws.com/role-arn": first}}},
		store)
}
