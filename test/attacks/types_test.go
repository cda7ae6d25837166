package attacks

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/test/stage"
)

// escalation is a way to have a Secret that Kubernetes gives rights to.
type escalation struct {
	kind        corev1.SecretType
	annotations map[string]string
	more        string              // of the template, in YAML
	policy      esv1.CreationPolicy // of creation; "" is Owner
	exists      bool                // a Secret of that type, of someone else
}

const (
	tokenType     = corev1.SecretTypeServiceAccountToken
	bootstrapType = corev1.SecretTypeBootstrapToken
)

// escalations are what the advisories of others had, and what is left when
// only the type in the template is looked at.
var escalations = map[string]escalation{
	"token":              {kind: tokenType},
	"token-named":        {kind: tokenType, annotations: map[string]string{corev1.ServiceAccountNameKey: "default"}},
	"token-rendered":     {kind: tokenType, annotations: map[string]string{corev1.ServiceAccountNameKey: "{{ .text }}"}},
	"token-with-uid":     {kind: tokenType, annotations: map[string]string{corev1.ServiceAccountNameKey: "default", corev1.ServiceAccountUIDKey: "{{ .text }}"}},
	"token-from-literal": {kind: tokenType, more: "templateFrom: [{target: Annotations, literal: 'kubernetes.io/service-account.name: default'}]"},
	"token-orphan":       {kind: tokenType, annotations: map[string]string{corev1.ServiceAccountNameKey: "default"}, policy: esv1.CreateOrphan},
	"token-merged":       {kind: tokenType, annotations: map[string]string{corev1.ServiceAccountNameKey: "default"}, policy: esv1.CreateOrMerge},
	"token-existing":     {kind: tokenType, annotations: map[string]string{corev1.ServiceAccountNameKey: "admin"}, policy: esv1.CreateMerge, exists: true},
	"token-existing-or":  {kind: tokenType, annotations: map[string]string{corev1.ServiceAccountNameKey: "admin"}, policy: esv1.CreateOrMerge, exists: true},
	"bootstrap":          {kind: bootstrapType},
	"bootstrap-orphan":   {kind: bootstrapType, policy: esv1.CreateOrphan},
	"bootstrap-existing": {kind: bootstrapType, policy: esv1.CreateMerge, exists: true},
}

// TestK5PrivilegedTypes tries each by an ExternalSecret, a ClusterExternalSecret
// and a SealedSecret: no Secret is made, and one that is there stays.
func TestK5PrivilegedTypes(t *testing.T) {
	s := shared.Get(t)
	ns := s.Cluster.Namespace(t)
	referents(t, s, ns, "mine", "plain")
	if _, err := s.Vault.Put(t.Context(), ns+"/read", map[string]any{"text": "default"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Ensure(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "admin"}}); err != nil {
		t.Fatal(err)
	}
	made := map[string]conditioned{}
	for name, e := range escalations {
		for prefix, by := range map[string]func(*testing.T, *stage.Stage, string, string, escalation) conditioned{"es": byExternal, "ces": byCluster, "ss": bySealed} {
			name := ns + "-" + prefix + "-" + name
			if e.exists {
				e.there(t, s, ns, name)
			}
			made[name] = by(t, s, ns, name, e)
		}
	}
	if len(made) < 36 {
		t.Errorf("%d cases, want 12 for each of 3 kinds", len(made))
	}
	for name, o := range made {
		t.Run(strings.TrimPrefix(name, ns+"-"), func(t *testing.T) {
			message := settled(t, s, o, "False").Message
			secret := &corev1.Secret{}
			err := s.Client.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, secret)
			switch {
			case client.IgnoreNotFound(err) != nil:
				t.Fatal(err)
			case err != nil: // there is none
			case secret.Labels["theirs"] == "", secret.Annotations[corev1.ServiceAccountNameKey] == "admin", len(secret.Data["text"]) > 0, len(secret.OwnerReferences) > 0:
				t.Errorf("Secret of type %s was made or changed: %v", secret.Type, secret.ObjectMeta)
			}
			if !strings.Contains(message, "spec.target.") && !strings.Contains(message, "spec.template.type") && !strings.Contains(message, "already exists and is not managed") {
				t.Errorf("%q does not name the field", message)
			}
		})
	}
}

// there makes a Secret of someone else.
func (e escalation) there(t *testing.T, s *stage.Stage, ns, name string) {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: map[string]string{"theirs": "yes"}, Annotations: map[string]string{corev1.ServiceAccountNameKey: "default"}}, Type: e.kind}
	if err := s.Ensure(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
}

// spec is that of an ExternalSecret. One that adds to a Secret names no type.
func (e escalation) spec(t *testing.T, ns, target string) esv1.ExternalSecretSpec {
	t.Helper()
	es := &esv1.ExternalSecret{}
	fill(t, es, fmt.Sprintf("spec: {secretStoreRef: {name: mine}, target: {template: {%s}}, data: [{secretKey: text, remoteRef: {key: %s/read, property: text}}]}", e.more, ns))
	es.Spec.Target.Name, es.Spec.Target.CreationPolicy = target, e.policy
	es.Spec.Target.Template.Metadata.Annotations = e.annotations
	if !e.exists {
		es.Spec.Target.Template.Type = e.kind
	}
	return es.Spec
}

func byExternal(t *testing.T, s *stage.Stage, ns, name string, e escalation) conditioned {
	t.Helper()
	es := &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: e.spec(t, ns, name)}
	if err := s.Ensure(t.Context(), es); err != nil {
		t.Fatal(err)
	}
	return es
}

func byCluster(t *testing.T, s *stage.Stage, ns, name string, e escalation) conditioned {
	t.Helper()
	ces := &esv1.ClusterExternalSecret{ObjectMeta: metav1.ObjectMeta{Name: name}}
	ces.Spec.Namespaces, ces.Spec.ExternalSecretSpec = []string{ns}, e.spec(t, ns, name)
	if err := s.Ensure(t.Context(), ces); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Client.Delete(context.WithoutCancel(t.Context()), ces) })
	return &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
}

// sealed is a SealedSecret of an item text.
func sealed(t *testing.T, s *stage.Stage, ns, name string, e escalation) *bitnamiv1alpha1.SealedSecret {
	t.Helper()
	text, err := s.Seal(t.Context(), ns, name, map[string]string{"text": "default"})
	if err != nil {
		t.Fatal(err)
	}
	ss := &bitnamiv1alpha1.SealedSecret{}
	fill(t, ss, text)
	ss.Spec.Template.Type, ss.Spec.Template.Annotations = e.kind, e.annotations
	return ss
}

func bySealed(t *testing.T, s *stage.Stage, ns, name string, e escalation) conditioned {
	t.Helper()
	ss := sealed(t, s, ns, name, e)
	if e.policy != "" {
		ss.Spec.Template.Annotations = map[string]string{bitnamiv1alpha1.AnnotationPatch: "true"}
	}
	if err := s.Ensure(t.Context(), ss); err != nil {
		t.Fatal(err)
	}
	return ss
}
