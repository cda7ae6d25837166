package pull_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

func TestTemplate(t *testing.T) {
	b := start(t)
	canary := testenv.NewCanary(t)
	b.backend.set("db", `{"user":"ada","pass":"`+canary.Value()+`"}`)
	b.apply("metadata: {name: tmpl}\ndata: {file: \"u={{ .user }}\"}", &corev1.ConfigMap{})
	b.external("app", `
dataFrom: [{extract: {key: db}}]
target:
  template:
    type: kubernetes.io/basic-auth
    data: {username: "{{ .user }}", password: "{{ .pass }}"}
    metadata: {labels: {app: "{{ .user }}"}}
    templateFrom:
    - {configMap: {name: tmpl, items: [{key: file}]}}
    - {literal: "x: '{{ .user | upper }}'"}`)
	b.ready("app", "True")
	b.holds("app", fmt.Sprintf(`{"file":"u=ada","password":%q,"username":"ada","x":"ADA"}`, canary.Value()))
	if s := b.secret("app"); s.Type != corev1.SecretTypeBasicAuth || s.Labels["app"] != "ada" {
		t.Errorf("type %s, labels %v", s.Type, s.Labels)
	}
	for name, tc := range map[string]struct{ spec, want string }{
		"missing": {`dataFrom: [{extract: {key: db}}]
target: {template: {data: {a: "{{ .nope }}"}}}`, `spec.target.template.data[a]: invalid template: line 1: there is no value "nope"`},
		"label": {`dataFrom: [{extract: {key: db}}]
target: {template: {metadata: {labels: {a: "{{ .pass }} !"}}}}`, "spec.target.template.metadata.labels[a]"},
		"annotation": {`dataFrom: [{extract: {key: db}}]
target: {template: {metadata: {annotations: {"not a key": "{{ .pass }}"}}}}`, "metadata.annotations"},
		"source": {`dataFrom: [{extract: {key: db}}]
target: {template: {templateFrom: [{configMap: {name: none, items: []}}]}}`, `spec.target.template.templateFrom[0].configMap: template not found: ConfigMap "none" does not exist`},
	} {
		b.external(name, tc.spec)
		es := b.ready(name, "False/SecretSyncedError/")
		if message := es.GetConditions()[0].Message; !strings.Contains(message, tc.want) {
			t.Errorf("%s: got %q, want %q in it", name, message, tc.want)
		}
	}
	canary.NotInCluster(t, b.cp, b.key("app"))
	logs.Lock()
	defer logs.Unlock()
	canary.NotIn(t, "the log", logs.Bytes())
}
