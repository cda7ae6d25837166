package sealedsecret_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// A Secret that is there and not ours is neither overwritten nor owned, unless
// it says that it may be.
func TestForeignSecret(t *testing.T) {
	foreign := func(b *bench, annotations map[string]string) {
		b.create(&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "db", Annotations: annotations, Labels: map[string]string{"theirs": "yes"}},
			Data:       map[string][]byte{"password": []byte("theirs"), "more": []byte("theirs")},
		})
	}
	cases := map[string]struct {
		reason      string
		annotations map[string]string
		synced      string
		password    string
		more        bool // what else the Secret held is still there
		owned       bool
	}{
		"Foreign":           {"It must not be touched.", nil, "False", "theirs", true, false},
		"NotQuiteManaged":   {"Only \"true\" is true.", map[string]string{bitnamiv1alpha1.AnnotationManaged: "yes"}, "False", "theirs", true, false},
		"Managed":           {"It is replaced as a whole.", map[string]string{bitnamiv1alpha1.AnnotationManaged: "true"}, "True", "ours", false, true},
		"Patched":           {"It is added to, and stays theirs.", map[string]string{bitnamiv1alpha1.AnnotationPatch: "true"}, "True", "ours", true, false},
		"ManagedAndPatched": {"It is added to, and becomes ours.", map[string]string{bitnamiv1alpha1.AnnotationPatch: "true", bitnamiv1alpha1.AnnotationManaged: "true"}, "True", "ours", true, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			foreign(b, tc.annotations)
			b.run()
			ss := b.sealed("db", b.strict("db"), b.key(), "ours")
			b.create(ss)
			got := b.synced("db", tc.synced)
			s := b.secret("db")
			_, more := s.Data["more"]
			if string(s.Data["password"]) != tc.password || more != tc.more || metav1.IsControlledBy(s, ss) != tc.owned {
				t.Errorf("%s: password %s, the rest there %v, owned %v", tc.reason, s.Data["password"], more, metav1.IsControlledBy(s, ss))
			}
			if tc.synced == "True" {
				return
			}
			c := got.Status.Conditions[0]
			if c.Reason != bitnamiv1alpha1.ReasonUpdateFailed || !strings.Contains(c.Message, `Resource "db" already exists and is not managed by SealedSecret`) {
				t.Errorf("%s: condition %+v", tc.reason, c)
			}
			// What is in the way goes, and that is all it takes.
			if err := b.Delete(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			b.holds("db", "ours")
			b.synced("db", "True")
		})
	}
}

func TestRefused(t *testing.T) {
	cases := map[string]struct {
		change func(ss *bitnamiv1alpha1.SealedSecret)
		want   []string
	}{
		"DeprecatedData": {
			func(ss *bitnamiv1alpha1.SealedSecret) { ss.Spec.Data = []byte("x") }, []string{"deprecated 'data' field"},
		},
		"TokenType": {
			func(ss *bitnamiv1alpha1.SealedSecret) { ss.Spec.Template.Type = corev1.SecretTypeServiceAccountToken },
			[]string{"spec.template.type"},
		},
		"BootstrapToken": {
			func(ss *bitnamiv1alpha1.SealedSecret) { ss.Spec.Template.Type = corev1.SecretTypeBootstrapToken },
			[]string{"spec.template.type", "--allow-privileged-secrets"},
		},
		"SealingKey": {
			func(ss *bitnamiv1alpha1.SealedSecret) {
				ss.Spec.Template.Labels = map[string]string{bitnamiv1alpha1.LabelSealingKey: "active"}
			},
			[]string{"a sealing key is refused"},
		},
		"DataAndItems": {
			func(ss *bitnamiv1alpha1.SealedSecret) { ss.Spec.Data = []byte("AgBy3i4OJSWK") }, []string{"--accept-deprecated-v1-data"},
		},
		"NotBase64": {
			func(ss *bitnamiv1alpha1.SealedSecret) { ss.Spec.EncryptedData["broken"] = "!" }, []string{"(broken)", "not a sealed value"},
		},
		"CutOff": {
			func(ss *bitnamiv1alpha1.SealedSecret) { ss.Spec.EncryptedData["broken"] = "AgBy3i4OJSWK" }, []string{"(broken)", "cut off"},
		},
		"Template": {
			func(ss *bitnamiv1alpha1.SealedSecret) {
				ss.Spec.Template.Data = texts(map[string]string{"file": "{{ fail .password }}"})
			},
			[]string{"spec.template.data[file]"},
		},
		"BadItemName": {
			func(ss *bitnamiv1alpha1.SealedSecret) { ss.Spec.Template.Data = texts(map[string]string{"a b": "x"}) }, []string{"refuses", "data[a b]"},
		},
	}
	b := newBench(t)
	b.run()
	canary := testenv.NewCanary(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			name := strings.ToLower(name)
			ss := b.sealed(name, b.strict(name), b.key(), canary.Value())
			tc.change(ss)
			b.create(ss)
			c := b.synced(name, "False").Status.Conditions[0]
			for _, part := range tc.want {
				if !strings.Contains(c.Message, part) {
					t.Errorf("message %q has no %q", c.Message, part)
				}
			}
			if err := b.Get(t.Context(), client.ObjectKey{Namespace: b.ns, Name: name}, &corev1.Secret{}); client.IgnoreNotFound(err) != nil || err == nil {
				t.Errorf("there is a Secret: %v", err)
			}
		})
	}
	canary.NotInCluster(t, b.cp)
	canary.NotInFiles(t, b.cp.Logs())
}

// An immutable Secret is made, and a change of it says why it cannot be.
func TestImmutable(t *testing.T) {
	b := newBench(t)
	b.run()
	ss := b.sealed("db", b.strict("db"), b.key(), "one")
	immutable := true
	ss.Spec.Template.Immutable = &immutable
	b.create(ss)
	next := b.synced("db", "True")
	if s := b.secret("db"); s.Immutable == nil || !*s.Immutable {
		t.Error("the Secret is not immutable")
	}
	next.Spec.EncryptedData = b.sealed("db", b.strict("db"), b.key(), "two").Spec.EncryptedData
	if err := b.Update(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	c := b.synced("db", "False").Status.Conditions[0]
	if c.Reason != bitnamiv1alpha1.ReasonUpdateFailed || !strings.Contains(c.Message, "the target Secret is immutable") {
		t.Errorf("condition is %+v", c)
	}
	if err := b.Delete(t.Context(), b.secret("db")); err != nil {
		t.Fatal(err)
	}
	b.holds("db", "two")
	b.synced("db", "True")
}

// A refusal of the API server is repeated without the values.
func TestRefusedByServer(t *testing.T) {
	b := newBench(t)
	b.run()
	canary := testenv.NewCanary(t)
	ss := b.sealed("db", b.strict("db"), b.key(), canary.Value())
	ss.Spec.Template.Type = corev1.SecretTypeDockerConfigJson
	ss.Spec.Template.Data = texts(map[string]string{corev1.DockerConfigJsonKey: "{{ .password }}"}) // no JSON
	b.create(ss)
	c := b.synced("db", "False").Status.Conditions[0]
	if c.Reason != bitnamiv1alpha1.ReasonUpdateFailed || !strings.Contains(c.Message, "Invalid: see data[.dockerconfigjson]") {
		t.Errorf("condition is %+v", c)
	}
	canary.NotInCluster(t, b.cp)
}

// A value that was sealed for elsewhere is refused by name, with one Event,
// and the good Secret that is there stays as it is.
func TestSealedForElsewhere(t *testing.T) {
	cases := map[string]struct {
		at   func(b *bench) sealer.Binding
		want []string // parts of the message
	}{
		"Namespace": {
			at:   func(*bench) sealer.Binding { return sealer.Binding{Namespace: "elsewhere", Name: "db"} },
			want: []string{"(password)", `name "db", scope strict`, "kubeseal --namespace", "--name db"},
		},
		"Name": {
			at:   func(b *bench) sealer.Binding { return b.strict("web") },
			want: []string{"(password)", `name "db"`, "another namespace, name or scope"},
		},
		"Scope": {
			at: func(b *bench) sealer.Binding {
				return sealer.Binding{Namespace: b.ns, Scope: sealer.NamespaceWide}
			},
			want: []string{"scope strict"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.run()
			canary := testenv.NewCanary(t)
			b.create(b.sealed("db", b.strict("db"), b.key(), "good"))
			good := b.synced("db", "True")
			before := b.secret("db")

			good.Spec = b.sealed("db", tc.at(b), b.key(), canary.Value()).Spec
			if err := b.Update(t.Context(), good); err != nil {
				t.Fatal(err)
			}
			c := b.synced("db", "False").Status.Conditions[0]
			if c.Reason != bitnamiv1alpha1.ReasonUnsealFailed {
				t.Errorf("reason is %q", c.Reason)
			}
			for _, part := range append(tc.want, b.ns) {
				if !strings.Contains(c.Message, part) {
					t.Errorf("message %q has no %q", c.Message, part)
				}
			}
			settle()
			if after := b.secret("db"); after.ResourceVersion != before.ResourceVersion {
				t.Error("the good Secret was written")
			}
			if diff := cmp.Diff([]string{"Normal Unsealed x1", "Warning ErrUnsealFailed x1"}, b.events("db")); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			canary.NotInCluster(t, b.cp)
		})
	}
}
