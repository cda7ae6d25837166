package detect

import (
	"encoding/base64"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// made puts a credential together, so that no scanner finds it in this file.
func made(parts ...string) string { return strings.Join(parts, "") }

func TestScanFinds(t *testing.T) {
	random := made("q8Zr", "T5vN", "x2Lw", "9KdP", "s7Hb", "3YmC")
	key := made("-----BEGIN RSA PRIVATE", " KEY-----\n") + strings.Repeat("MIIEpAIBAAKCAQEA1c7+9z5Pad7OejecsQ0buzVXk5h9Vwj3q\n", 4) + made("-----END RSA PRIVATE", " KEY-----\n")
	for name, tc := range map[string]struct {
		text Text
		rule string
	}{
		"a provider's shape":      {Text{"id", made("AKIA", "QYLPMN5H", "HHFPZAM2")}, "aws-access-token"},
		"whatever its name":       {Text{"greeting", made("ghp_", "R4nd0mQ8ZrT5vNx2Lw9KdPs7Hb3YmCaBcDeF")}, "github-pat"},
		"by its name":             {Text{"API_KEY", random}, "generic-api-key"},
		"in lower case":           {Text{"db-password", random}, "generic-api-key"},
		"in a file":               {Text{"app.properties", "a=b\nclient.secret=" + random + "\n"}, "generic-api-key"},
		"in a JSON document":      {Text{"config.json", "{\n\"token\": \"" + random + "\"\n}"}, "generic-api-key"},
		"a private key":           {Text{"tls.key", key}, "private-key"},
		"a password in a URL":     {Text{"DATABASE", made("postgres://app:", "s3cr9tQ8Zr", "@db:5432/app")}, URLPassword},
		"an argument":             {Text{"", "--api-token=" + random}, "generic-api-key"},
		"an age key":              {Text{"x", made("AGE-SECRET-", "KEY-1", strings.Repeat("QPZRY9X8GF", 5), "2TVDW0S3")}, "age-secret-key"},
		"next to letters of ours": {Text{"größe", "İ=1 " + made("AKIA", "QYLPMN5H", "HHFPZAM2")}, "aws-access-token"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Scan([]Text{{"harmless", "yes"}, tc.text, {"other", "no"}}, nil)
			if diff := cmp.Diff([]Finding{{1, tc.rule}}, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if got := Scan([]Text{tc.text}, []string{tc.rule, leastTelling}); len(got) != 0 {
				t.Errorf("with the rule off: got %v, want none", got)
			}
		})
	}
}

// harmless are values as manifests have them.
var harmless = []Text{
	{"", ""}, {"key", "one"}, {"KEY", "value"}, {"replicas", "3"}, {"LOG_LEVEL", "debug"}, {"JAVA_OPTS", "-Xmx512m -XX:+UseG1GC"},
	{"POSTGRES_USER", "app"}, {"POSTGRES_PASSWORD_FILE", "/run/secrets/postgres-password"}, {"PASSWORD", "$(DB_PASSWORD)"},
	{"DATABASE_URL", "postgres://$(DB_USER):$(DB_PASSWORD)@db:5432/app"}, {"DATABASE_URL", "postgres://user:${PASSWORD}@db/app"},
	{"DATABASE_URL", "postgres://user:password@db/app"}, {"BROKER", "amqp://rabbitmq:5672/"}, {"URL", "https://example.org/a:b@c"},
	{"API_KEY", "${API_KEY}"}, {"TOKEN", "changeme"}, {"SECRET_NAME", "my-app-credentials"}, {"secretName", "wildcard-example-org-tls"},
	{"AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"}, {"TOKEN_URL", "https://login.example.org/oauth2/token"}, {"kms-key", "alias/lockstep"},
	{"IMAGE", "example.org/web@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
	{"", "--tls-private-key-file=/etc/tls/tls.key"}, {"", "--token-ttl=24h"}, {"", "--authentication-token-webhook=true"}, {"", "--secret-name=app"},
	{"", "--cookie-secret-file=/etc/proxy/cookie"}, {"", "--client-id=lockstep"}, {"ISSUER", "https://accounts.example.org"},
	{"ca.crt", "-----BEGIN CERTIFICATE-----\nMIIBdzCCAR2gAwIBAgIBADAKBggqhkjOPQQDAjAjMSEwHwYDVQQDDBhrM3Mtc2Vy\n-----END CERTIFICATE-----\n"},
	{"known_hosts", "github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"},
	{"id_ed25519.pub", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@example.org"},
	{"nginx.conf", "server {\n  listen 443 ssl;\n  ssl_certificate_key /etc/tls/tls.key;\n  proxy_set_header Authorization $http_authorization;\n}\n"},
	{"prometheus.yml", "scrape_configs:\n- job_name: nodes\n  bearer_token_file: /var/run/secrets/kubernetes.io/serviceaccount/token\n  relabel_configs:\n  - source_labels: [__meta_kubernetes_pod_name]\n"},
	{"Corefile", ".:53 {\n  errors\n  health\n  kubernetes cluster.local in-addr.arpa ip6.arpa\n}\n"},
	{"uuid", "4be0643f-1d98-573b-97cd-ca98a65347dd"}, {"GIT_COMMIT", "2f0c1f4d5b6a7988f0e1d2c3b4a5968778695a4b"},
}

func TestScanLetsPass(t *testing.T) {
	for _, f := range Scan(harmless, nil) {
		t.Errorf("%v is taken for a credential by rule %s", harmless[f.Text], f.Rule)
	}
}

// TestRules checks that every rule can be used, and has a name of its own.
func TestRules(t *testing.T) {
	set := load()
	names := map[string]bool{}
	for _, r := range set.rules {
		if names[r.ID] || !Known(r.ID) {
			t.Errorf("rule %q: there twice, or not known", r.ID)
		}
		names[r.ID] = true
		if n := r.regex.get().NumSubexp(); r.Group > n {
			t.Errorf("rule %s: group %d of %d", r.ID, r.Group, n)
		}
		for _, k := range r.Keywords {
			if lower(k) != k || k == "" {
				t.Errorf("rule %s: keyword %q is never found", r.ID, k)
			}
		}
		for _, a := range r.Allow {
			for _, p := range a.patterns {
				p.get()
			}
		}
	}
	if len(names) < 200 {
		t.Errorf("%d rules, want all of gitleaks", len(names))
	}
	if Known("no-such-rule") {
		t.Error("a rule is known that there is not")
	}
}

// TestIdleMemory checks that compiled rules do not stay.
func TestIdleMemory(t *testing.T) {
	p := &load().rules[0].regex
	p.get()
	for deadline := time.Now().Add(30 * time.Second); p.compiled.Value() != nil; {
		if time.Now().After(deadline) {
			t.Fatal("a compiled rule outlives its use")
		}
		runtime.GC()
	}
	if p.get() == nil {
		t.Error("it cannot be used again")
	}
}

func BenchmarkScan(b *testing.B) {
	dashboard := strings.Repeat(`{"datasource":{"type":"prometheus","uid":"P1809F7CD0C75ACF3"},"targets":[{"expr":"sum(rate(apiserver_request_total[5m]))","legendFormat":"{{verb}}","refId":"A"}],"key":"value","title":"Requests"},`+"\n", 500)
	for name, texts := range map[string][]Text{
		"harmless":  harmless,
		"100KiB":    {{"dashboard.json", dashboard}},
		"random1MB": {{"blob", base64.StdEncoding.EncodeToString([]byte(strings.Repeat("lockstep ", 80000)))}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Scan(texts, nil)
			}
		})
	}
}
