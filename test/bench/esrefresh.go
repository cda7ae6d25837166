package main

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// Sizes of the two ExternalSecrets of es-refresh.
const (
	awsKeys    = 10
	vaultItems = 3
)

// esRefresh measures what one refresh costs: of ten keys in AWS with a
// ServiceAccount's role and one role more, and of three items of one path of
// Vault with a ServiceAccount's login.
func esRefresh(ctx context.Context, b *bench) error {
	if err := b.awsStore(ctx, "aws", awsKeys); err != nil {
		return err
	}
	if err := b.kubernetesStore(ctx, "vault"); err != nil {
		return err
	}
	every := b.intervalOr(5 * time.Second)
	inAWS := external("in-aws", "aws", "app-0", every)
	inAWS.Spec.Data = nil
	for i := range awsKeys {
		inAWS.Spec.Data = append(inAWS.Spec.Data, esv1.ExternalSecretData{SecretKey: fmt.Sprintf("key-%d", i), RemoteRef: esv1.RemoteRef{Key: fmt.Sprintf("bench/app-%d", i), Property: "token"}})
	}
	inVault := external("in-vault", "vault", "app-0", every)
	for _, property := range []string{"user", "host"}[:vaultItems-1] {
		inVault.Spec.Data = append(inVault.Spec.Data, esv1.ExternalSecretData{SecretKey: property, RemoteRef: esv1.RemoteRef{Key: "bench/app-0", Property: property}})
	}
	ready, err := b.awaitExternal(ctx, "")
	if err != nil {
		return err
	}
	defer ready.stop()
	for _, es := range []*esv1.ExternalSecret{inAWS, inVault} {
		if err := b.Client.Create(ctx, es); err != nil {
			return err
		}
	}
	if _, err := ready.all(ctx, 2); err != nil {
		return err
	}
	return b.perRefresh(ctx, every)
}

// perRefresh watches runs intervals, and divides what they cost.
func (b *bench) perRefresh(ctx context.Context, every time.Duration) error {
	for _, reset := range []func(context.Context) error{b.AWS.ResetCounts, b.Vault.ResetCounts} {
		if err := reset(ctx); err != nil {
			return err
		}
	}
	m, err := b.meter(ctx)
	if err != nil {
		return err
	}
	time.Sleep(time.Duration(b.runs) * every)
	s, err := m.stop(ctx)
	if err != nil {
		return err
	}
	b.record(s, 2)
	connections, err := b.Vault.Connections(ctx)
	if err != nil {
		return err
	}
	reads, more := s.provider["secretsmanager:BatchGetSecretValue"], b.result.More
	vault := s.provider["GET secret/data"]
	more["aws_refreshes"], more["vault_refreshes"] = reads, vault
	more["aws_calls_per_refresh"] = perRead(sum(s.provider, "secretsmanager:", "sts:"), reads)
	more["vault_calls_per_refresh"] = perRead(sum(s.provider, "GET ", "POST ", "PUT ", "LIST "), vault)
	more["vault_connections"], more["tokens_minted"] = connections, s.objects["create serviceaccounts/token"]
	if reads == 0 || vault == 0 {
		return fmt.Errorf("nothing was refreshed in %d intervals of %s: %v", b.runs, every, s.provider)
	}
	return nil
}

func perRead(calls, reads int) float64 { return round(float64(calls) / float64(max(reads, 1))) }

// kubernetesStore makes a SecretStore of Vault that a ServiceAccount logs in
// to, with one secret in it.
func (b *bench) kubernetesStore(ctx context.Context, name string) error {
	role := testenv.VaultRole{Name: "bench-pod", Policy: testenv.Allow("secret/data/bench/*"), TTL: time.Hour}
	subject := testenv.VaultSubject{Namespace: namespace, Name: serviceAccount, Audience: "vault"}
	if err := b.Vault.KubernetesRole(ctx, b.Cluster, role, subject); err != nil {
		return err
	}
	if err := b.vaultSecret(ctx, "secret", 0); err != nil {
		return err
	}
	mount := "secret"
	store := &esv1.SecretStore{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	store.Spec.Provider = &esv1.SecretStoreProvider{Vault: &esv1.VaultProvider{
		Server: b.Vault.Address(), Path: &mount, Version: esv1.VaultKVv2, CABundle: b.Vault.CA,
		Auth: &esv1.VaultAuth{Kubernetes: &esv1.VaultKubernetesAuth{
			Path: "kubernetes", Role: role.Name, ServiceAccountRef: &esv1.ServiceAccountSelector{Name: serviceAccount, Audiences: []string{"vault"}},
		}},
	}}
	return b.Ensure(ctx, store)
}
