package kustomization_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/lockstep-dev/lockstep/reconciler/kustomization"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// patch changes a Kustomization by a merge patch.
func (b *bench) patch(name, body string) {
	b.t.Helper()
	ks := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: name}}
	if err := b.Patch(b.t.Context(), ks, client.RawPatch(types.MergePatchType, []byte(body))); err != nil {
		b.t.Fatal(err)
	}
}

// says checks that a Kustomization is as wanted, and that its message names all
// of the words.
func (b *bench) says(name, want string, words ...string) {
	b.t.Helper()
	text := message(b.ready(name, want))
	for _, w := range words {
		if !strings.Contains(text, w) {
			b.t.Errorf("message: got %s, want it to name %s", text, w)
		}
	}
}

// events returns the messages of the events of a reason.
func (b *bench) events(reason string) (messages []string) {
	b.t.Helper()
	var list corev1.EventList
	if err := b.List(b.t.Context(), &list, client.InNamespace(b.ns)); err != nil {
		b.t.Fatal(err)
	}
	for _, e := range list.Items {
		if e.Reason == reason {
			messages = append(messages, e.Message)
		}
	}
	return messages
}

func TestPruneGuard(t *testing.T) {
	b := start(t)
	many := map[string]string{}
	for i := range 20 {
		many[fmt.Sprintf("c%02d.yaml", i)] = configMap(fmt.Sprintf("c%02d", i), "one")
	}
	few := map[string]string{"c00.yaml": configMap("c00", "two")}
	b.push("main@sha1:1", many)
	b.create("app", nil)
	b.ready("app", "True")

	b.push("main@sha1:2", few)
	b.says("app", "False/PruneHeld", "19 of the 20 objects", "lockstep.dev/allow-prune=main@sha1:2")
	if cm, err := b.configMap("c00"); err != nil || cm.Data["key"] != "two" {
		t.Errorf("what is there was not applied: %v, %v", cm.Data, err)
	}
	if b.gone("c19") {
		t.Error("an object was deleted")
	}
	b.push("main@sha1:empty", nil)
	b.says("app", "False/ArtifactFailed", "is empty")
	if b.gone("c00") || b.gone("c19") {
		t.Error("an empty source deletes")
	}
	b.push("main@sha1:2", few)
	b.ready("app", "False/PruneHeld")
	b.patch("app", `{"metadata":{"annotations":{"lockstep.dev/allow-prune":"main@sha1:2"}}}`)
	ks := b.ready("app", "True")
	if !b.gone("c19") || len(ks.Status.Inventory.Entries) != 1 {
		t.Errorf("the rest was not deleted: %d entries", len(ks.Status.Inventory.Entries))
	}
}

func TestClaims(t *testing.T) {
	b := start(t)
	b.push("main@sha1:1", map[string]string{"one/a.yaml": configMap("a", "one"), "two/a.yaml": configMap("a", "two"), "two/b.yaml": configMap("b", "two")})
	b.create("one", func(s *kustomizev1.KustomizationSpec) { s.Path = "one" })
	b.ready("one", "True")
	b.create("two", func(s *kustomizev1.KustomizationSpec) { s.Path = "two" })
	b.says("two", "False/ObjectClaimed", b.ns+"_a__ConfigMap", b.ns+"/one", b.ns+"/two")
	if cm, err := b.configMap("a"); err != nil || cm.Data["key"] != "one" || !b.gone("b") {
		t.Errorf("something was changed: %v, %v", cm.Data, err)
	}
	b.patch("one", `{"spec":{"path":"none"}}`)
	b.push("main@sha1:2", map[string]string{"none/c.yaml": configMap("c", "one"), "two/a.yaml": configMap("a", "two"), "two/b.yaml": configMap("b", "two")})
	b.ready("two", "True")
	if cm, err := b.configMap("a"); err != nil || cm.Data["key"] != "two" {
		t.Errorf("given up, and not taken: %v, %v", cm.Data, err)
	}
}

func TestFight(t *testing.T) {
	b := start(t)
	b.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "ours")})
	b.create("app", nil)
	b.ready("app", "True")
	for i := 0; len(b.events("DriftFight")) == 0; i++ {
		if i > 20 {
			t.Fatal("20 edits in a row, and no truce")
		}
		edit("a", "stubborn", setKey("theirs"))(b)
		deadline := time.Now().Add(time.Second)
		for !has("a", "ours")(b) && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(50 * time.Millisecond) // for the event
	}
	edit("a", "stubborn", setKey("theirs"))(b)
	if !stays(has("a", "theirs"))(b) {
		t.Error("it is put right in the truce")
	}
	if got := b.events("DriftFight"); !strings.Contains(got[0], "was changed by stubborn") {
		t.Errorf("event: got %s, want it to name the field manager", got[0])
	}
	b.push("main@sha1:2", map[string]string{"a.yaml": configMap("a", "newer")})
	eventually(t, 2*time.Second, "a new revision to be applied in the truce", func() bool { return has("a", "newer")(b) })
}

func TestDefinitionNeverEstablished(t *testing.T) {
	b := start(t)
	group := b.ns + ".example.org"
	crd := func(plural, kind string) string {
		return "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: " + plural + "." + group + "}\nspec:\n  group: " + group + "\n  scope: Namespaced\n  names: {kind: " + kind + ", plural: " + plural + ", shortNames: [same]}\n" +
			"  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]\n"
	}
	b.push("main@sha1:1", map[string]string{"first/a.yaml": crd("ones", "One")})
	b.create("first", func(s *kustomizev1.KustomizationSpec) { s.Path = "first" })
	b.ready("first", "True")
	b.push("main@sha1:2", map[string]string{"first/a.yaml": crd("ones", "One"), "second/crd.yaml": crd("twos", "One"), "second/two.yaml": "apiVersion: " + group + "/v2\nkind: Two\nmetadata: {name: x}\n", "second/b.yaml": configMap("b", "one")})
	b.create("second", func(s *kustomizev1.KustomizationSpec) { s.Path = "second" })
	b.says("second", "False/ReconciliationFailed", "Two")
	if b.gone("b") {
		t.Error("an object that has nothing to do with it was not applied")
	}
}

func TestGroupDown(t *testing.T) {
	b := start(t)
	down := "down-" + b.ns + ".example.org"
	service := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": map[string]any{"name": "v1." + down},
		"spec": map[string]any{
			"group": down, "version": "v1", "groupPriorityMinimum": int64(100), "versionPriority": int64(100), "insecureSkipTLSVerify": true,
			"service": map[string]any{"namespace": b.ns, "name": "nobody"},
		},
	}}
	if err := b.Create(t.Context(), service); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Delete(context.WithoutCancel(t.Context()), service); err != nil {
			t.Error(err)
		}
	})
	b.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "one"), "thing.yaml": "apiVersion: " + down + "/v1\nkind: Thing\nmetadata: {name: x}\n"})
	b.create("app", func(s *kustomizev1.KustomizationSpec) {
		s.RetryInterval = &metav1.Duration{Duration: 500 * time.Millisecond}
	})
	b.says("app", "False/ReconciliationFailed", "Thing")
	if b.gone("a") {
		t.Error("the rest was not applied")
	}
	// What was applied in the group before is not forgotten.
	b.push("main@sha1:2", map[string]string{"a.yaml": configMap("a", "two")})
	ks := b.ready("app", "False/PruneFailed")
	if n := len(ks.Status.Inventory.Entries); n != 2 {
		t.Errorf("inventory: %d entries, want that of the group too", n)
	}
	if !has("a", "two")(b) {
		t.Error("the rest was not applied")
	}
	b.patch("app", `{"spec":{"deletionPolicy":"Orphan"}}`)
}

func TestNamespaceBeingDeleted(t *testing.T) {
	b := start(t)
	name := b.ns + "-going"
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	held := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "held", Finalizers: []string{"example.org/held"}}}
	for _, o := range []client.Object{ns, held} {
		if err := b.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Delete(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	b.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "one"), "ns.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + "}\n"})
	b.create("app", func(s *kustomizev1.KustomizationSpec) { s.TargetNamespace = name })
	b.says("app", "False/ReconciliationFailed", name, "is being deleted")
	held.Finalizers = nil
	if err := b.Update(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	b.ready("app", "True")
	if err := b.Get(t.Context(), client.ObjectKey{Namespace: name, Name: "a"}, &corev1.ConfigMap{}); err != nil {
		t.Errorf("in the namespace made again: %v", err)
	}
}

func TestPlaintextSecret(t *testing.T) {
	canary := testenv.NewCanary(t)
	files := map[string]string{
		"app/a.yaml": configMap("a", "one"),
		"app/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {password: " + canary.Value() + "}\n",
	}
	cases := map[string]struct {
		reason  string
		set     kustomization.Plaintext
		ready   string
		events  int
		applied bool
	}{
		"Refuse":      {"Nothing of the revision is applied.", kustomization.Plaintext{}, "False/PlaintextSecret", 1, false},
		"Warn":        {"It is applied, and told.", kustomization.Plaintext{Policy: kustomization.Warn}, "True", 1, true},
		"Allow":       {"It is applied.", kustomization.Plaintext{Policy: kustomization.Allow}, "True", 0, true},
		"AllowedHere": {"The platform's owner has allowed it for this one.", kustomization.Plaintext{AllowIn: []string{"other", "NS/app"}}, "True", 0, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := start(t, func(b *bench) {
				for i, in := range tc.set.AllowIn {
					tc.set.AllowIn[i] = strings.Replace(in, "NS", b.ns, 1)
				}
				b.ctrl.Plaintext = tc.set
			})
			b.push("main@sha1:1", files)
			b.create("app", func(s *kustomizev1.KustomizationSpec) { s.Path = "app" })
			ks := b.ready("app", tc.ready)
			if got := !b.gone("a"); got != tc.applied {
				t.Errorf("%s applied: got %v, want %v", tc.reason, got, tc.applied)
			}
			eventually(t, 2*time.Second, "the events", func() bool { return len(b.events("PlaintextSecret")) == tc.events })
			told := append(b.events("PlaintextSecret"), message(ks))
			for _, text := range told[:tc.events] {
				if !strings.Contains(text, "Secret/"+b.ns+"/db") || !strings.Contains(text, `"password"`) || !strings.Contains(text, "app/s.yaml") {
					t.Errorf("%s: want object, key and file named", text)
				}
			}
			if strings.Contains(fmt.Sprint(told, ks.Status), canary.Value()) {
				t.Error("the value is repeated")
			}
		})
	}
}

func TestDefaultServiceAccount(t *testing.T) {
	b := start(t, func(b *bench) { b.ctrl.DefaultServiceAccount = "deployer" })
	b.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "one")})
	b.create("app", nil)
	b.says("app", "False/ReconciliationFailed", "system:serviceaccount:"+b.ns+":deployer")
	var rights []client.Object
	for _, doc := range []string{
		"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: deployer}\n",
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: deployer}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}\nsubjects: [{kind: ServiceAccount, name: deployer, namespace: " + b.ns + "}]\n",
	} {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			t.Fatal(err)
		}
		o.SetNamespace(b.ns)
		rights = append(rights, o)
	}
	for _, o := range rights {
		if err := b.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	b.ready("app", "True")
}
