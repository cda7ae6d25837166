package attacks

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// ways are how a reference that names no namespace can mean an object: by its
// name, or by the label that all of the same name have.
var ways = map[reflect.Type]map[string]func(name string) any{
	reflect.TypeFor[esv1.SecretStoreRef](): {"Name": func(name string) any { return esv1.SecretStoreRef{Name: name} }},
	reflect.TypeFor[esv1.GeneratorRef]():   {"Name": func(name string) any { return esv1.GeneratorRef{Kind: genv1.FakeKind, Name: name} }},
	reflect.TypeFor[esv1.TemplateRef](): {"Name": func(name string) any {
		return esv1.TemplateRef{Name: name, Items: []esv1.TemplateRefItem{{Key: "text"}}}
	}},
	reflect.TypeFor[esv1.Target](): {"Name": func(name string) any { return esv1.Target{Name: name} }},
	reflect.TypeFor[esv1alpha1.PushSecretSecret](): {
		"Name":  func(name string) any { return esv1alpha1.PushSecretSecret{Name: name} },
		"Label": func(name string) any { return esv1alpha1.PushSecretSecret{Selector: labelled(name)} },
	},
	reflect.TypeFor[esv1alpha1.PushSecretStoreRef](): {
		"Name":  func(name string) any { return esv1alpha1.PushSecretStoreRef{Name: name} },
		"Label": func(name string) any { return esv1alpha1.PushSecretStoreRef{LabelSelector: labelled(name)} },
	},
}

func labelled(name string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"called": name}}
}

// bases are objects that work, to plant a reference into.
var bases = map[string]string{
	esv1.ExternalSecretKind:          "spec: " + external,
	esv1.ClusterExternalSecretKind:   "spec: {namespaces: [NS], externalSecretSpec: " + external + "}",
	esv1alpha1.PushSecretKind:        "spec: " + pushed,
	esv1alpha1.ClusterPushSecretKind: "spec: {namespaceSelectors: [{matchLabels: {kubernetes.io/metadata.name: NS}}], pushSecretSpec: " + pushed + "}",
}

const (
	external = "{secretStoreRef: {name: mine}, data: [{secretKey: a, remoteRef: {key: OBJECT, property: text}}]}"
	pushed   = "{secretStoreRefs: [{name: mine}], selector: {secret: {name: mine}}, data: [{match: {secretKey: text, remoteRef: {remoteKey: OBJECT, property: text}}}]}"
)

// attempt is one object with one reference to what is called name.
type attempt struct {
	place
	way, name string
	object    client.Object
	made      conditioned // what tells what came of it
}

// refused reports whether the reference must not work.
func (a *attempt) refused() bool {
	always := a.leaf == reflect.TypeFor[esv1.GeneratorRef]() && strings.Contains(a.String(), "data[0]") // data has no generators
	// A set of values is for those stores among secretStoreRefs that its labels
	// fit: for none then. One that is named must be among them.
	among := strings.Contains(a.String(), "dataTo[0].storeRef") && a.way != "Name"
	return always || a.name == "theirs" && !among
}

// tryLocal has references that name no namespace mean something that is in
// another one only, and as a control something that is in their own.
func tryLocal(t *testing.T, places []place) {
	t.Helper()
	s := shared.Get(t)
	own, other, canary := s.Cluster.Namespace(t), s.Cluster.Namespace(t), testenv.NewCanary(t)
	if _, err := s.Vault.Put(t.Context(), own+"/read", map[string]any{"text": "plain"}); err != nil {
		t.Fatal(err)
	}
	referents(t, s, own, "mine", "plain")
	theirs := referents(t, s, other, "theirs", canary.Value())
	var all []*attempt
	for i, p := range places {
		for way, value := range ways[p.leaf] {
			for _, name := range []string{"theirs", "mine"} {
				if p.leaf == reflect.TypeFor[esv1.Target]() {
					if name == "mine" {
						continue // it is what the others refer to
					}
					name = fmt.Sprintf("theirs-%02d", i)
					secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: other, Name: name}}
					if err := s.Ensure(t.Context(), secret); err != nil {
						t.Fatal(err)
					}
					theirs = append(theirs, secret)
				}
				a := &attempt{place: p, way: way, name: name}
				a.make(t, s, own, fmt.Sprintf("%s-%02d-%s-%s", own, i, strings.ToLower(way), name), value(name))
				all = append(all, a)
			}
		}
	}
	for _, a := range all {
		t.Run(fmt.Sprintf("%s/%s/%s/%s", a.kind.Name(), a.place, a.way, a.name), func(t *testing.T) { a.try(t, s) })
	}
	for _, o := range theirs {
		version := o.GetResourceVersion()
		if err := s.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil || o.GetResourceVersion() != version {
			t.Errorf("%T %s of the other namespace was written: %v", o, o.GetName(), err)
		}
	}
	canary.NotInCluster(t, s.Cluster, client.ObjectKey{Namespace: other, Name: "theirs"})
	canary.NotInFiles(t, s.Cluster.Logs())
}

// referents makes one of each that can be referred to, and returns those that
// no controller reports in.
func referents(t *testing.T, s *stage.Stage, ns, called, value string) []client.Object {
	t.Helper()
	token, err := s.Vault.Token(t.Context(), testenv.VaultRole{Name: ns, Policy: "path \"secret/*\" { capabilities = [\"create\", \"read\", \"update\"] }"})
	if err != nil {
		t.Fatal(err)
	}
	meta := metav1.ObjectMeta{Namespace: ns, Name: called, Labels: map[string]string{"called": called}}
	path := "secret"
	store := &esv1.SecretStore{ObjectMeta: meta}
	store.Spec.Provider = &esv1.SecretStoreProvider{Vault: &esv1.VaultProvider{Server: s.Vault.Address(), Path: &path, CABundle: s.Vault.CA,
		Auth: &esv1.VaultAuth{TokenSecretRef: &esv1.SecretKeySelector{Name: "token", Key: "token"}}}}
	still := []client.Object{
		&corev1.Secret{ObjectMeta: *meta.DeepCopy(), StringData: map[string]string{"text": value}},
		&corev1.ConfigMap{ObjectMeta: *meta.DeepCopy(), Data: map[string]string{"text": "plain"}},
		&genv1.Fake{ObjectMeta: *meta.DeepCopy(), Spec: genv1.FakeSpec{Data: map[string]string{"text": "plain"}}},
	}
	objects := append([]client.Object{&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "token"}, StringData: map[string]string{"token": token}}, store}, still...)
	if err := s.Ensure(t.Context(), objects...); err != nil {
		t.Fatal(err)
	}
	return still
}

// make creates the object of an attempt, with the reference in its place.
func (a *attempt) make(t *testing.T, s *stage.Stage, ns, called string, ref any) {
	t.Helper()
	a.object = reflect.New(a.kind).Interface().(client.Object)
	fill(t, a.object, strings.NewReplacer("NS", ns, "OBJECT", called).Replace(bases[a.kind.Name()]))
	a.object.SetName(called)
	plant(reflect.ValueOf(a.object), a.path, func(v reflect.Value) { v.Set(reflect.ValueOf(ref)) })
	switch o := a.object.(type) {
	case *esv1.ExternalSecret:
		whole(&o.Spec, ns)
		a.made, o.Namespace = o, ns
	case *esv1.ClusterExternalSecret:
		whole(&o.Spec.ExternalSecretSpec, ns)
		a.made = &esv1.ExternalSecret{}
	case *esv1alpha1.PushSecret:
		wholePush(&o.Spec)
		a.made, o.Namespace = o, ns
	case *esv1alpha1.ClusterPushSecret:
		wholePush(&o.Spec.PushSecretSpec)
		a.made = &esv1alpha1.PushSecret{}
	}
	if err := s.Client.Create(t.Context(), a.object); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Client.Delete(context.WithoutCancel(t.Context()), a.object) })
	a.made.SetNamespace(ns)
	a.made.SetName(called)
}

// whole adds what an entry needs besides the reference that was planted.
func whole(spec *esv1.ExternalSecretSpec, ns string) {
	if len(spec.Data) > 0 {
		spec.Data[0].RemoteRef.Key = ns + "/read"
	}
	if d := spec.DataFrom; len(d) > 0 && d[0].SourceRef.SecretStoreRef != nil {
		d[0].Extract = &esv1.RemoteRef{Key: ns + "/read"}
	}
}

func wholePush(spec *esv1alpha1.PushSecretSpec) {
	if spec.Selector.GeneratorRef != nil {
		spec.Selector.Secret = nil
	}
	if len(spec.DataTo) > 0 {
		spec.DataTo[0].RemoteKey, spec.Data = spec.Data[0].Match.RemoteRef.RemoteKey, nil
	}
}

// try waits for what comes of an attempt.
func (a *attempt) try(t *testing.T, s *stage.Stage) {
	t.Helper()
	if !a.refused() {
		settled(t, s, a.made, "True")
		return
	}
	message := settled(t, s, a.made, "False").Message
	// A label chooses among what is there, and says that nothing fits.
	if !strings.Contains(message, a.name) && a.way == "Name" && !strings.Contains(message, "spec.data[0]") {
		t.Errorf("%q names neither the reference nor its field", message)
	}
}
