package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// generated are the manifests of one namespace: what asks AWS and Vault for
// credentials, what makes them up, and what pushes them. CLUSTER is the name of
// the ClusterGenerator.
const generated = `
apiVersion: generators.external-secrets.io/v1alpha1
kind: ECRAuthorizationToken
metadata: {name: registry}
spec:
  region: eu-central-1
  auth: {jwt: {serviceAccountRef: {name: puller}}}
---
apiVersion: generators.external-secrets.io/v1alpha1
kind: ECRAuthorizationToken
metadata: {name: stranger}
spec:
  region: eu-central-1
  auth: {jwt: {serviceAccountRef: {name: stranger}}}
---
apiVersion: generators.external-secrets.io/v1alpha1
kind: STSSessionToken
metadata: {name: session}
spec:
  region: eu-central-1
  auth:
    secretRef:
      accessKeyIDSecretRef: {name: credentials, key: id}
      secretAccessKeySecretRef: {name: credentials, key: secret}
---
apiVersion: generators.external-secrets.io/v1alpha1
kind: VaultDynamicSecret
metadata: {name: token}
spec:
  path: auth/token/create
  method: POST
  resultType: Auth
  parameters: {ttl: 30m, policies: [default]}
  provider:
    server: VAULT
    auth: {tokenSecretRef: {name: credentials, key: vault}}
---
apiVersion: generators.external-secrets.io/v1alpha1
kind: ClusterGenerator
metadata: {name: CLUSTER}
spec:
  kind: Password
  generator: {passwordSpec: {length: 30, symbols: 0}}
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: made}
spec:
  refreshInterval: 10h
  target:
    template:
      data:
        config.json: '{"auths":{ {{- .registry_proxy_endpoint | quote -}} :{"username":{{ .registry_username | quote }},"password":{{ .registry_password | quote }}}}}'
        session: '{{ .session_access_key_id }}:{{ .session_secret_access_key }}:{{ .session_session_token }}'
        token: '{{ .token_client_token }}'
        password: '{{ .password }}'
  dataFrom:
  - sourceRef: {generatorRef: {kind: ECRAuthorizationToken, name: registry}}
    rewrite: [{regexp: {source: '^(.*)$', target: 'registry_$1'}}]
  - sourceRef: {generatorRef: {kind: STSSessionToken, name: session}}
    rewrite: [{regexp: {source: '^(.*)$', target: 'session_$1'}}]
  - sourceRef: {generatorRef: {kind: VaultDynamicSecret, name: token}}
    rewrite: [{regexp: {source: '^(.*)$', target: 'token_$1'}}]
  - sourceRef: {generatorRef: {kind: ClusterGenerator, name: CLUSTER}}
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: refused}
spec:
  dataFrom:
  - sourceRef: {generatorRef: {kind: ECRAuthorizationToken, name: stranger}}
---
apiVersion: external-secrets.io/v1
kind: SecretStore
metadata: {name: vault}
spec:
  provider:
    vault: {server: VAULT, path: secret, auth: {tokenSecretRef: {name: credentials, key: vault}}}
---
apiVersion: external-secrets.io/v1alpha1
kind: PushSecret
metadata: {name: pushed}
spec:
  secretStoreRefs: [{name: vault}]
  selector: {generatorRef: {apiVersion: generators.external-secrets.io/v1alpha1, kind: ClusterGenerator, name: CLUSTER}}
  data: [{match: {secretKey: password, remoteRef: {remoteKey: NAMESPACE/made, property: password}}}]
`

// TestGenerators asks a token-checking STS, ECR and Vault for credentials with
// the rights that the chart gives the controller.
func TestGenerators(t *testing.T) {
	s := shared.Get(t)
	ns := s.Cluster.Namespace(t)
	role, err := s.AWS.Role(t.Context(), testenv.AWSRole{Name: "puller-" + ns, Subject: "system:serviceaccount:" + ns + ":puller",
		Allow: []testenv.AWSStatement{{Actions: []string{"ecr:GetAuthorizationToken"}}}})
	if err != nil {
		t.Fatal(err)
	}
	credentials := generatorCredentials(t, s, ns)
	for _, name := range []string{"puller", "stranger"} {
		if err := s.Ensure(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name,
			Annotations: map[string]string{"eks.amazonaws.com/role-arn": role}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ensure(t.Context(), credentials); err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("CLUSTER", "password-"+ns, "VAULT", s.Vault.Address(), "NAMESPACE", ns, "metadata: {name: ", "metadata: {namespace: "+ns+", name: ").Replace(generated)
	text = strings.ReplaceAll(text, "{namespace: "+ns+", name: password-"+ns, "{name: password-"+ns)
	apply(t, s, text)
	t.Cleanup(func() {
		if err := s.Client.Delete(context.WithoutCancel(t.Context()), &genv1.ClusterGenerator{ObjectMeta: metav1.ObjectMeta{Name: "password-" + ns}}); err != nil {
			t.Error(err)
		}
	})

	es := &esv1.ExternalSecret{}
	eventually(t, enough, func() string { return notReady(t, s, es, key(ns, "made")) })
	if es.Status.RenewTime == nil {
		t.Error("status.renewTime: none, want one before the token of Vault ends")
	}
	secret := &corev1.Secret{}
	if err := s.Client.Get(t.Context(), key(ns, "made"), secret); err != nil {
		t.Fatal(err)
	}
	config, password := string(secret.Data["config.json"]), string(secret.Data["password"])
	if !strings.HasPrefix(config, `{"auths":{"https://123456789012.dkr.ecr.eu-central-1.amazonaws.com":{"username":"AWS","password":"`) || len(password) != 30 ||
		strings.Count(string(secret.Data["session"]), ":") != 2 || len(secret.Data["token"]) < 20 {
		t.Errorf("the Secret has %d keys, not what the generators give", len(secret.Data))
	}
	eventually(t, enough, func() string {
		refused := &esv1.ExternalSecret{}
		if err := s.Client.Get(t.Context(), key(ns, "refused"), refused); err != nil {
			return err.Error()
		}
		ready := apimeta.FindStatusCondition(refused.GetConditions(), "Ready")
		if ready == nil || ready.Status != metav1.ConditionFalse || !strings.Contains(ready.Message, `ECRAuthorizationToken "stranger": `) || !strings.Contains(ready.Message, "AWS STS") {
			return fmt.Sprintf("want STS to refuse another ServiceAccount; conditions: %+v", refused.Status.Conditions)
		}
		return ""
	})
	eventually(t, enough, func() string { return notReady(t, s, &esv1alpha1.PushSecret{}, key(ns, "pushed")) })
}

// TestVaultTokenIsMadeAnew has Vault make tokens that live for less than a minute,
// and sees that the Secret holds another before the first one ends.
func TestVaultTokenIsMadeAnew(t *testing.T) {
	s := shared.Get(t)
	ns := s.Cluster.Namespace(t)
	if err := s.Ensure(t.Context(), generatorCredentials(t, s, ns)); err != nil {
		t.Fatal(err)
	}
	apply(t, s, fmt.Sprintf(`apiVersion: generators.external-secrets.io/v1alpha1
kind: VaultDynamicSecret
metadata: {name: token, namespace: %[1]s}
spec:
  path: auth/token/create
  method: POST
  resultType: Auth
  parameters: {ttl: 45s, policies: [default]}
  provider: {server: %[2]q, auth: {tokenSecretRef: {name: credentials, key: vault}}}
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: token, namespace: %[1]s}
spec:
  refreshInterval: 10h
  dataFrom: [{sourceRef: {generatorRef: {kind: VaultDynamicSecret, name: token}}}]
`, ns, s.Vault.Address()))
	token := func() string {
		secret := &corev1.Secret{}
		if err := s.Client.Get(t.Context(), key(ns, "token"), secret); err != nil {
			return ""
		}
		return string(secret.Data["client_token"])
	}
	eventually(t, enough, func() string { return notReady(t, s, &esv1.ExternalSecret{}, key(ns, "token")) })
	first := token()
	eventually(t, 90*time.Second, func() string {
		if token() == first {
			return "the Secret has the first token still"
		}
		return ""
	})
	var left struct{ Data struct{ TTL int } }
	if err := s.Vault.Call(t.Context(), http.MethodPost, "auth/token/lookup", map[string]string{"token": first}, &left); err != nil || left.Data.TTL <= 0 {
		t.Errorf("the first token when there was another: %v, %d seconds left, want some", err, left.Data.TTL)
	}
}

// generatorCredentials are an access key of AWS, and a token of Vault that may
// make others and write what is pushed.
func generatorCredentials(t *testing.T, s *stage.Stage, ns string) *corev1.Secret {
	t.Helper()
	user, err := s.AWS.User(t.Context(), "session-"+ns)
	if err != nil {
		t.Fatal(err)
	}
	policy := fmt.Sprintf(`path "auth/token/create" { capabilities = ["update"] }
path "secret/+/%s/*" { capabilities = ["create", "read", "update"] }`, ns)
	token, err := s.Vault.Token(t.Context(), testenv.VaultRole{Name: "maker-" + ns, Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "credentials"},
		StringData: map[string]string{"id": user.ID, "secret": user.Secret, "vault": token}}
}
