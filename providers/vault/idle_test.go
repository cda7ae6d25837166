package vault_test

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/vault"
)

// TestIdleSettings has two settings of which one counts. External Secrets
// passes over the other in silence; here it is told, and the store works.
func TestIdleSettings(t *testing.T) {
	r, plain, _, secure := recorders(t)
	token, key, account := selector("app", "key"), selector("app", "key"), selector("app", "")
	user := map[string]any{"username": "u", "secretRef": key}
	identity := map[string]any{"serviceAccountRef": account, "clusterLocation": "europe-west3", "clusterName": "c", "clusterProjectID": "team"}
	access := map[string]any{"accessKeyIDSecretRef": selector("app", "id"), "secretAccessKeySecretRef": selector("app", "secret")}
	accountKey := map[string]any{"secretAccessKeySecretRef": selector("app", "json")}
	cases := map[string]struct {
		settings map[string]any // besides server and path; auth is below
		auth     map[string]any
		ambient  bool
		sent     string // shows what counts
		told     string // fields, after spec.provider.vault.
	}{
		"None":           {auth: map[string]any{"tokenSecretRef": token}, sent: `"app"`},
		"Authority":      {settings: map[string]any{"server": secure, "caBundle": r.Authority, "caProvider": map[string]string{"type": "Secret", "name": "none", "key": "k"}}, sent: "/v1/secret/data/app", told: "caProvider"},
		"TokenFirst":     {auth: map[string]any{"tokenSecretRef": token, "userPass": user, "ldap": user}, sent: `"app"`, told: "auth.ldap auth.userPass"},
		"AppRoleFirst":   {auth: map[string]any{"appRole": map[string]any{"roleId": "r", "roleRef": key, "secretRef": key}, "userPass": user}, sent: "auth/approle/login", told: "auth.appRole.roleRef auth.userPass"},
		"LDAPFirst":      {auth: map[string]any{"userPass": user, "ldap": user}, sent: "auth/ldap/login", told: "auth.userPass"},
		"Kubernetes":     {auth: map[string]any{"kubernetes": map[string]any{"role": "r", "serviceAccountRef": account, "secretRef": key}}, sent: "token-of-app", told: "auth.kubernetes.secretRef"},
		"JWT":            {auth: map[string]any{"jwt": map[string]any{"secretRef": selector("app", "token"), "kubernetesServiceAccountToken": map[string]any{"serviceAccountRef": account}}}, sent: "token-in-app", told: "auth.jwt.kubernetesServiceAccountToken"},
		"IAM":            {auth: map[string]any{"iam": map[string]any{"vaultRole": "r", "jwt": map[string]any{"serviceAccountRef": account}, "secretRef": access}}, sent: "AssumeRoleWithWebIdentity", told: "auth.iam.secretRef"},
		"IAMExternalID":  {auth: map[string]any{"iam": map[string]any{"vaultRole": "r", "secretRef": access, "externalID": "e"}}, sent: "auth/aws/login", told: "auth.iam.externalID"},
		"GCPKey":         {auth: map[string]any{"gcp": map[string]any{"role": "r", "secretRef": accountKey, "workloadIdentity": identity, "serviceAccountRef": account}}, sent: "app@team", told: "auth.gcp.workloadIdentity auth.gcp.serviceAccountRef"},
		"GCPPlaces":      {auth: map[string]any{"gcp": map[string]any{"role": "r", "secretRef": accountKey, "location": "europe-west3", "projectID": "team"}}, sent: "app@team", told: "auth.gcp.location auth.gcp.projectID"},
		"GCPWorkload":    {auth: map[string]any{"gcp": map[string]any{"role": "r", "workloadIdentity": identity, "serviceAccountRef": account, "location": "us-east1", "projectID": "other"}}, sent: "signJwt", told: "auth.gcp.serviceAccountRef auth.gcp.location auth.gcp.projectID"},
		"GCPAsMachine":   {auth: map[string]any{"gcp": map[string]any{"role": "r", "serviceAccountRef": account}}, ambient: true, sent: "/computeMetadata/", told: "auth.gcp.serviceAccountRef"},
		"GCPStandsIn":    {auth: map[string]any{"gcp": map[string]any{"role": "r", "workloadIdentity": map[string]any{"serviceAccountRef": account, "clusterName": "c"}, "location": "europe-west3", "projectID": "team"}}, sent: "projects/team/locations/europe-west3"},
		"ExpirationUsed": {auth: map[string]any{"jwt": map[string]any{"kubernetesServiceAccountToken": map[string]any{"serviceAccountRef": account, "expirationSeconds": 7200}}}, sent: "2h0m0s"},
	}
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(plain, "http://"))
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			settings := map[string]any{"server": plain, "path": "secret"}
			maps.Copy(settings, tc.settings)
			if tc.auth != nil {
				settings["auth"] = tc.auth
			}
			config := store(t, settings, r)
			config.Ambient = tc.ambient
			ctx, heard := providers.Listen(t.Context())
			sent, err := r.trace(t, func(_ context.Context, c providers.Config) (providers.Reader, error) { return r.open(plain)(ctx, c) }, config)
			if err != nil || !strings.Contains(sent, tc.sent) {
				t.Errorf("%v, and sent was, without %q:\n%s", err, tc.sent, sent)
			}
			wantTold(t, heard, "spec.provider.vault.", tc.told)
		})
	}
}

// wantTold fails t unless the fields were warned of, and nothing else.
func wantTold(t *testing.T, heard *providers.Warnings, at, fields string) {
	t.Helper()
	var told []string
	for _, warning := range heard.All() {
		field, why, _ := strings.Cut(strings.TrimPrefix(warning, at), ": it makes no difference: ")
		if !strings.Contains(why, "remove") {
			t.Errorf("%q has no way out", warning)
		}
		told = append(told, field)
	}
	if got := strings.Join(told, " "); got != fields {
		t.Errorf("told of %q, want %q", got, fields)
	}
}

// TestIdleSettingsOfOpenBao are told in its words.
func TestIdleSettingsOfOpenBao(t *testing.T) {
	r, _, _, secure := recorders(t)
	ctx, heard := providers.Listen(t.Context())
	_, err := vault.OpenBao(ctx, openBao(t, map[string]any{"server": secure, "path": "secret", "caBundle": r.Authority, "caProvider": map[string]string{"type": "Secret", "name": "none", "key": "k"}}, r))
	must(t, err)
	wantTold(t, heard, "spec.provider.openBao.", "caProvider")
}
