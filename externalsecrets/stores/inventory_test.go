package stores_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/providers/fake"
	"github.com/lockstep-dev/lockstep/providers/gcp"
	"github.com/lockstep-dev/lockstep/providers/kubernetes"
	realvault "github.com/lockstep-dev/lockstep/providers/vault"
	"github.com/lockstep-dev/lockstep/providers/webhook"
)

// Outcomes of a store: it can be used, the service does not answer, which at
// nowhere is as good, or what follows is refused.
const (
	valid   = "True/Valid/store validated"
	tried   = "False/ValidationFailed/"
	refused = "False/InvalidStoreConfiguration/"
	missing = "False/InvalidProviderConfig/"

	nowhere = "https://127.0.0.1:1"
)

// Parts of specs: ways in that need no service, and references.
const (
	awsKeys  = "auth: {secretRef: {accessKeyIDSecretRef: {name: all, key: id}, secretAccessKeySecretRef: {name: all, key: secret}, sessionTokenSecretRef: {name: all, key: token}}}"
	awsIRSA  = "auth: {jwt: {serviceAccountRef: {name: default, audiences: [sts.amazonaws.com]}}}"
	vaultTo  = "server: '" + nowhere + "', path: secret, "
	vaultKey = "auth: {tokenSecretRef: {name: all, key: token}}"
)

// inventory has every field of a SecretStore of the providers that are served,
// and what comes of it.
var inventory = map[string]struct{ spec, want string }{
	"provider-other":   {"provider: {azurekv: {vaultUrl: 'https://v'}}", refused + `spec.provider: invalid reference: there is no provider "azurekv" here, only aws, fake, gcpsm`},
	"retries":          {"retrySettings: {maxRetries: 2, retryInterval: 10ms}, provider: {fake: {data: []}}", valid},
	"refresh-seconds":  {"refreshInterval: 60, provider: {fake: {data: []}}", valid},
	"refresh-duration": {"refreshInterval: 5m, provider: {fake: {data: []}}", valid},
	"conditions":       {"conditions: [{namespaces: [a]}], provider: {fake: {data: []}}", refused + "spec.conditions"},

	"aws-keys":         {"provider: {aws: {service: SecretsManager, region: eu-central-1, " + awsKeys + "}}", valid},
	"aws-parameters":   {"provider: {aws: {service: ParameterStore, region: eu-central-1, prefix: /a/, " + awsKeys + "}}", valid},
	"aws-certificates": {"provider: {aws: {service: CertificateManager, region: eu-central-1, " + awsKeys + "}}", refused + "spec.provider.aws.service"},
	"aws-region":       {"provider: {aws: {service: SecretsManager, region: nowhere, " + awsKeys + "}}", refused + "spec.provider.aws.region"},
	"aws-irsa":         {"provider: {aws: {service: SecretsManager, region: eu-central-1, " + awsIRSA + "}}", refused + "spec.provider.aws.auth.jwt.serviceAccountRef: invalid reference: ServiceAccount \"default\" has no annotation eks.amazonaws.com/role-arn"},
	"aws-role":         {"provider: {aws: {service: SecretsManager, region: eu-central-1, role: 'arn:aws:iam::1:role/r', additionalRoles: ['arn:aws:iam::1:role/q'], externalID: e, sessionTags: [{key: k, value: v}], transitiveTagKeys: [k], " + awsKeys + "}}", tried},
	"aws-tags":         {"provider: {aws: {service: SecretsManager, region: eu-central-1, role: 'arn:aws:iam::1:role/r', sessionTagsPolicy: Custom, customSessionTags: {k: v}, " + awsKeys + "}}", tried},
	"aws-tags-alone":   {"provider: {aws: {service: SecretsManager, region: eu-central-1, sessionTagsPolicy: Simple, " + awsKeys + "}}", refused + "spec.provider.aws.sessionTagsPolicy"},
	"aws-deletion":     {"provider: {aws: {service: SecretsManager, region: eu-central-1, secretsManager: {forceDeleteWithoutRecovery: true, recoveryWindowInDays: 0}, " + awsKeys + "}}", valid},
	"aws-ambient":      {"provider: {aws: {service: SecretsManager, region: eu-central-1}}", refused + "spec.provider.aws.auth"},
	"aws-missing":      {"provider: {aws: {service: SecretsManager, region: eu-central-1, auth: {secretRef: {accessKeyIDSecretRef: {name: none, key: id}, secretAccessKeySecretRef: {name: all, key: secret}}}}}", missing + "spec.provider.aws.auth.secretRef.accessKeyIDSecretRef"},
	"aws-elsewhere":    {"provider: {aws: {service: SecretsManager, region: eu-central-1, auth: {secretRef: {accessKeyIDSecretRef: {name: all, key: id, namespace: kube-system}, secretAccessKeySecretRef: {name: all, key: secret}}}}}", refused + "spec.provider.aws.auth.secretRef.accessKeyIDSecretRef"},

	"vault-token":       {"provider: {vault: {" + vaultTo + "version: v2, namespace: team, readYourWrites: true, forwardInconsistent: true, headers: {X-Team: a}, checkAndSet: {required: true}, " + vaultKey + "}}", valid},
	"vault-approle":     {"provider: {vault: {" + vaultTo + "version: v1, auth: {namespace: root, appRole: {path: approle, roleId: r, secretRef: {name: all, key: secret}}}}}", tried},
	"vault-approle-ref": {"provider: {vault: {" + vaultTo + "auth: {appRole: {roleRef: {name: all, key: id}, secretRef: {name: all, key: secret}}}}}", tried},
	"vault-kubernetes":  {"provider: {vault: {" + vaultTo + "auth: {kubernetes: {mountPath: kubernetes, role: r, serviceAccountRef: {name: default}}}}}", tried},
	"vault-kube-secret": {"provider: {vault: {" + vaultTo + "auth: {kubernetes: {role: r, secretRef: {name: all}}}}}", tried},
	"vault-kube-own":    {"provider: {vault: {" + vaultTo + "auth: {kubernetes: {role: r}}}}", refused + "spec.provider.vault.auth.kubernetes: invalid reference: set serviceAccountRef or secretRef; the controller's own token is never sent"},
	"vault-ldap":        {"provider: {vault: {" + vaultTo + "auth: {ldap: {path: ldap, username: u, secretRef: {name: all, key: secret}}}}}", tried},
	"vault-userpass":    {"provider: {vault: {" + vaultTo + "auth: {userPass: {path: userpass, username: u, secretRef: {name: all, key: secret}}}}}", tried},
	"vault-jwt":         {"provider: {vault: {" + vaultTo + "auth: {jwt: {path: jwt, role: r, kubernetesServiceAccountToken: {serviceAccountRef: {name: default}, audiences: [vault], expirationSeconds: 600}}}}}", tried},
	"vault-jwt-short":   {"provider: {vault: {" + vaultTo + "auth: {jwt: {role: r, kubernetesServiceAccountToken: {serviceAccountRef: {name: default}, expirationSeconds: 60}}}}}", refused + "spec.provider.vault.auth.jwt.kubernetesServiceAccountToken.expirationSeconds"},
	"vault-two-ways":    {"provider: {vault: {" + vaultTo + "auth: {tokenSecretRef: {name: all, key: token}, userPass: {username: u, secretRef: {name: all, key: secret}}}}}", valid + "; spec.provider.vault.auth.userPass: it makes no difference: auth.tokenSecretRef counts; remove one of them"},
	"vault-cas-v1":      {"provider: {vault: {" + vaultTo + "version: v1, checkAndSet: {required: true}, " + vaultKey + "}}", refused + "spec.provider.vault.checkAndSet.required"},
	"vault-jwt-secret":  {"provider: {vault: {" + vaultTo + "auth: {jwt: {role: r, secretRef: {name: all, key: token}}}}}", tried},
	"vault-cert":        {"provider: {vault: {" + vaultTo + "auth: {cert: {path: cert, vaultRole: r, clientCert: {name: all, key: id}, secretRef: {name: all, key: secret}}}}}", refused + "spec.provider.vault.auth.cert"},
	"vault-tls":         {"provider: {vault: {" + vaultTo + "tls: {certSecretRef: {name: all, key: id}, keySecretRef: {name: all, key: secret}}, " + vaultKey + "}}", refused + "spec.provider.vault.tls"},
	"vault-ca":          {"provider: {vault: {" + vaultTo + "caBundle: YQ==, " + vaultKey + "}}", refused + "spec.provider.vault.caBundle"},
	"vault-ca-provider": {"provider: {vault: {" + vaultTo + "caProvider: {type: Secret, name: all, key: id}, " + vaultKey + "}}", refused + "spec.provider.vault.caProvider"},
	"vault-headers":     {"provider: {vault: {" + vaultTo + "headers: {X-Vault-Token: t}, " + vaultKey + "}}", refused + "spec.provider.vault.headers"},
	"vault-server":      {"provider: {vault: {server: nowhere, " + vaultKey + "}}", refused + "spec.provider.vault.server"},
	"vault-auth":        {"provider: {vault: {" + vaultTo + "auth: {}}}", refused + "spec.provider.vault.auth"},

	"gcp-key":        {"provider: {gcpsm: {projectID: team, location: europe-west3, secretVersionSelectionPolicy: LatestOrFetch, auth: {secretRef: {secretAccessKeySecretRef: {name: all, key: id}}}}}", refused + "spec.provider.gcpsm.auth.secretRef"},
	"gcp-workload":   {"provider: {gcpsm: {projectID: team, auth: {workloadIdentity: {serviceAccountRef: {name: default}, clusterLocation: europe-west3, clusterName: c, clusterProjectID: team}}}}", tried},
	"gcp-federation": {"provider: {gcpsm: {projectID: team, auth: {workloadIdentityFederation: {serviceAccountRef: {name: default}, audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k', gcpServiceAccountEmail: a@b.iam.gserviceaccount.com}}}}", tried},
	"gcp-pool":       {"provider: {gcpsm: {projectID: team, auth: {workloadIdentityFederation: {serviceAccountRef: {name: default}, audience: other}}}}", refused + "spec.provider.gcpsm.auth.workloadIdentityFederation.audience"},
	"gcp-ambient":    {"provider: {gcpsm: {projectID: team}}", refused + "spec.provider.gcpsm.auth"},
	"gcp-project":    {"provider: {gcpsm: {projectID: 'No Project', auth: {secretRef: {secretAccessKeySecretRef: {name: all, key: id}}}}}", refused + "spec.provider.gcpsm.projectID"},

	"kubernetes-token":   {"provider: {kubernetes: {server: {url: '" + nowhere + "'}, remoteNamespace: default, auth: {token: {bearerToken: {name: all, key: token}}}}}", valid},
	"kubernetes-account": {"provider: {kubernetes: {server: {url: '" + nowhere + "'}, auth: {serviceAccount: {name: default, audiences: [other]}}}}", valid},
	"kubernetes-cert":    {"provider: {kubernetes: {server: {url: '" + nowhere + "'}, auth: {cert: {clientCert: {name: all, key: id}, clientKey: {name: all, key: secret}}}}}", refused + "spec.provider.kubernetes.auth.cert"},
	"kubernetes-config":  {"provider: {kubernetes: {authRef: {name: all, key: id}}}", refused + "spec.provider.kubernetes.authRef"},
	"kubernetes-none":    {"provider: {kubernetes: {server: {url: '" + nowhere + "'}}}", refused + "spec.provider.kubernetes"},

	"webhook":          {"provider: {webhook: {method: POST, url: '" + nowhere + "/{{ .remoteRef.key }}', headers: {A: '{{ .s.token }}'}, body: '{}', timeout: 5s, result: {jsonPath: $.a}, secrets: [{name: s, secretRef: {name: all, key: token}}]}}", valid},
	"webhook-ntlm":     {"provider: {webhook: {url: '" + nowhere + "', auth: {ntlm: {usernameSecret: {name: all, key: id}, passwordSecret: {name: all, key: secret}}}}}", valid},
	"webhook-host":     {"provider: {webhook: {url: 'https://{{ .remoteRef.key }}/'}}", refused + "spec.provider.webhook.url"},
	"webhook-method":   {"provider: {webhook: {url: '" + nowhere + "', method: DELETE}}", refused + "spec.provider.webhook.method"},
	"webhook-jsonpath": {"provider: {webhook: {url: '" + nowhere + "', result: {jsonPath: '$['}}}", refused + "spec.provider.webhook.result.jsonPath"},

	"fake":       {"provider: {fake: {data: [{key: a, value: b, version: v1}], validationResult: 0}}", valid},
	"fake-error": {"provider: {fake: {data: [], validationResult: 2}}", tried},
}

func TestInventory(t *testing.T) {
	b := startWith(t, providers.Registry{
		esv1.ProviderAWS: aws.New(aws.Endpoints{SecretsManager: nowhere, ParameterStore: nowhere, STS: nowhere}), esv1.ProviderVault: realvault.Open,
		esv1.ProviderGCP:        gcp.New(gcp.Endpoints{SecretManager: "127.0.0.1:1", STS: nowhere, IAM: nowhere, IdentityBinding: nowhere}),
		esv1.ProviderKubernetes: kubernetes.Open, esv1.ProviderWebhook: webhook.Open, esv1.ProviderFake: fake.Open,
	})
	b.apply("metadata: {name: all, namespace: NS}\nstringData: {id: i, secret: s, token: t}", &corev1.Secret{})
	account := &corev1.ServiceAccount{}
	account.Name, account.Namespace = "default", b.ns
	if err := b.Create(t.Context(), account); err != nil && !strings.Contains(err.Error(), "already exists") {
		t.Fatal(err)
	}
	made := map[string]*esv1.SecretStore{}
	for name, tc := range inventory {
		made[name] = &esv1.SecretStore{}
		b.apply("metadata: {name: "+name+", namespace: NS}\nspec: {"+tc.spec+"}", made[name])
	}
	for name, tc := range inventory {
		t.Run(name, func(t *testing.T) {
			inner := *b
			inner.t = t
			inner.status(made[name], tc.want)
			if tc.want == valid && made[name].Status.Capabilities == "" {
				t.Error("no capabilities")
			}
		})
	}
}
