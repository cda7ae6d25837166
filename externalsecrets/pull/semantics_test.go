package pull_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

const oneKey = "\ndata: [{secretKey: ours, remoteRef: {key: db}}]"

// TestWhoseTheSecretIs has the rest of creationPolicy: what is made where
// nothing is, what stays of others, and what is left behind.
func TestWhoseTheSecretIs(t *testing.T) {
	b := start(t)
	b.backend.set("db", "value")
	t.Run("CreateOrMergeMakes", func(t *testing.T) {
		b := b.in(t)
		b.external("fresh", "target: {creationPolicy: CreateOrMerge}"+oneKey)
		b.ready("fresh", "True/SecretSynced")
		b.holds("fresh", `{"ours":"value"}`)
		if s := b.secret("fresh"); len(s.OwnerReferences) > 0 || s.Labels[esv1.LabelOwner] != "" || s.Labels[esv1.LabelManaged] != "true" {
			t.Errorf("owners %v, labels %v, want no owner", s.OwnerReferences, s.Labels)
		}
	})
	t.Run("CreateOrMergeAdds", func(t *testing.T) {
		b := b.in(t)
		b.apply("metadata: {name: theirs}\ntype: example.com/theirs\nstringData: {theirs: kept}", &corev1.Secret{})
		b.external("theirs", "target: {creationPolicy: CreateOrMerge}"+oneKey)
		b.ready("theirs", "True/SecretSynced")
		b.holds("theirs", `{"ours":"value","theirs":"kept"}`)
		if s := b.secret("theirs"); s.Type != "example.com/theirs" {
			t.Errorf("type %s, want that of its owner", s.Type)
		}
		b.change("theirs", func(es *esv1.ExternalSecret) { es.Spec.Data[0].SecretKey = "renamed" })
		b.ready("theirs", "True/SecretSynced")
		b.holds("theirs", `{"renamed":"value","theirs":"kept"}`)
	})
	t.Run("OrphanStays", func(t *testing.T) {
		b := b.in(t)
		b.external("orphan", "target: {creationPolicy: Orphan}"+oneKey)
		es := b.ready("orphan", "True/SecretSynced")
		if err := b.Delete(t.Context(), es); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // for a garbage collector
		b.holds("orphan", `{"ours":"value"}`)
	})
	t.Run("OwnedGoes", func(t *testing.T) {
		b := b.in(t)
		b.external("owned", "target: {creationPolicy: Owner}"+oneKey)
		es := b.ready("owned", "True/SecretSynced")
		if len(es.Finalizers) > 0 {
			t.Errorf("finalizers %v, want none: the garbage collector deletes the Secret", es.Finalizers)
		}
		if owner := metav1.GetControllerOf(b.secret("owned")); owner == nil || owner.Kind != "ExternalSecret" || owner.Name != "owned" {
			t.Errorf("owner %v", owner)
		}
	})
	t.Run("SomeoneElses", func(t *testing.T) {
		b := b.in(t)
		other := &corev1.ConfigMap{}
		b.apply("metadata: {name: other}", other)
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "possessed", OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "v1", Kind: "ConfigMap", Name: other.Name, UID: other.UID, Controller: new(true)}}}, StringData: map[string]string{"theirs": "kept"}}
		if err := b.Create(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		b.external("possessed", "target: {}"+oneKey)
		b.ready("possessed", `False/SecretSyncedError/spec.target.name: Secret "possessed" belongs to ConfigMap "other": choose another name`)
		b.holds("possessed", `{"theirs":"kept"}`)
	})
}

// TestMetadataOfTheSecret: without a template, that of the ExternalSecret;
// with one, that of the template only.
func TestMetadataOfTheSecret(t *testing.T) {
	b := start(t)
	b.backend.set("db", "value")
	meta := func(name, spec string) string {
		return "metadata: {name: " + name + ", labels: {team: a}, annotations: {note: b, force-sync: now}}\nspec:\n" + indent("secretStoreRef: {name: store}\n"+spec)
	}
	b.apply(meta("plain", oneKey), &esv1.ExternalSecret{})
	b.apply(meta("templated", "target: {template: {metadata: {labels: {app: '{{ .ours }}'}, annotations: {from: '{{ .ours | upper }}'}, finalizers: [example.com/keep]}, templateFrom: [{target: Labels, literal: 'more: l-{{ .ours }}'}, {target: annotations, literal: 'most: a-{{ .ours }}'}]}}"+oneKey), &esv1.ExternalSecret{})
	b.ready("plain", "True")
	if s := b.secret("plain"); s.Labels["team"] != "a" || s.Annotations["note"] != "b" || s.Annotations["force-sync"] != "" || s.Type != corev1.SecretTypeOpaque {
		t.Errorf("without a template: labels %v, annotations %v, type %s", s.Labels, s.Annotations, s.Type)
	}
	b.ready("templated", "True")
	s := b.secret("templated")
	if s.Labels["team"] != "" || s.Annotations["note"] != "" || s.Labels["app"] != "value" || s.Labels["more"] != "l-value" || s.Annotations["from"] != "VALUE" || s.Annotations["most"] != "a-value" || !slices.Contains(s.Finalizers, "example.com/keep") {
		t.Errorf("with a template: labels %v, annotations %v, finalizers %v", s.Labels, s.Annotations, s.Finalizers)
	}
	b.change("templated", func(es *esv1.ExternalSecret) {
		es.Spec.Target.Template.Metadata.Labels, es.Spec.Target.Template.Metadata.Finalizers = nil, nil
	})
	b.eventually("a label that left the template to leave the Secret", func() bool {
		s := b.secret("templated")
		return s.Labels["app"] == "" && len(s.Finalizers) == 0
	})
}

// TestRefreshPolicies: when a store is read again, and when not.
func TestRefreshPolicies(t *testing.T) {
	b := start(t)
	b.backend.set("db", "1")
	for name, policy := range map[string]string{"once": "CreatedOnce", "change": "OnChange", "periodic": "Periodic"} {
		b.external(name, "refreshPolicy: "+policy+"\nrefreshInterval: 1s"+oneKey)
		b.ready(name, "True")
	}
	b.backend.set("db", "2")
	b.holds("periodic", `{"ours":"2"}`)
	for _, name := range []string{"once", "change"} {
		if got := b.data(name)["ours"]; got != "1" {
			t.Errorf("%s was read again by itself", name)
		}
		b.change(name, func(es *esv1.ExternalSecret) { es.Labels = map[string]string{"any": "change"} })
	}
	b.holds("change", `{"ours":"2"}`)
	if got := b.data("once")["ours"]; got != "1" {
		t.Error("CreatedOnce was read again for a changed label")
	}
}

// TestFailuresKeepTheSecret has what can go wrong after a Secret was made: it
// stays, even with deletionPolicy Delete, and the condition names the ref.
func TestFailuresKeepTheSecret(t *testing.T) {
	b := start(t)
	canary := testenv.NewCanary(t)
	good := `{"user":"` + canary.Value() + `"}`
	const spec = "target: {deletionPolicy: Delete, template: {data: {user: '{{ .user }}'}}}\ndata: [{secretKey: user, remoteRef: {key: db, property: user}}]"
	b.backend.set("db", good)
	b.external("app", spec)
	b.ready("app", "True")
	force := func(value string) {
		b.change("app", func(es *esv1.ExternalSecret) { es.Annotations = map[string]string{"force-sync": value} })
	}
	for name, tc := range map[string]struct {
		err   error
		value string
		want  []string
	}{
		"Timeout":    {fmt.Errorf("request to the store: %w: no answer within 10s", providers.ErrUnavailable), good, []string{"spec.data[0].remoteRef.key", `"db"`, "cannot be reached"}},
		"Forbidden":  {fmt.Errorf("the store: %w", providers.ErrDenied), good, []string{"spec.data[0].remoteRef.key", `"db"`, "the right to"}},
		"Invalid":    {fmt.Errorf("the store: %w", providers.ErrInvalid), good, []string{"spec.data[0].remoteRef", `"db"`}},
		"Unknown":    {fmt.Errorf("something else with %s", "code 7"), good, []string{"spec.data[0].remoteRef", `"db"`}},
		"Empty":      {nil, "", []string{"spec.data[0].remoteRef.property", "not JSON"}},
		"HTML":       {nil, "<html>" + canary.Value() + "</html>", []string{"spec.data[0].remoteRef.property", "not JSON"}},
		"List":       {nil, `["` + canary.Value() + `"]`, []string{"spec.data[0].remoteRef.property", "no such property"}},
		"Text":       {nil, `"` + canary.Value() + `"`, []string{"spec.data[0].remoteRef.property", "no such property"}},
		"NoProperty": {nil, `{"other":"` + canary.Value() + `"}`, []string{"spec.data[0].remoteRef.property", `"user"`}},
		"Large":      {nil, `{"user":"` + strings.Repeat("x", 1<<20+1) + `"}`, []string{"spec.target.template.data[user]", "make it simpler"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := b.in(t)
			b.backend.fail("db", tc.err)
			b.backend.set("db", tc.value)
			force(name)
			es := b.ready("app", "False/SecretSyncedError/")
			message := es.GetConditions()[0].Message
			for _, want := range tc.want {
				if !strings.Contains(message, want) {
					t.Errorf("got %q, want %q in it", message, want)
				}
			}
			if got := b.data("app")["user"]; got != canary.Value() {
				t.Error("the Secret did not stay")
			}
			b.backend.fail("db", nil)
			b.backend.set("db", good)
			force(name + " healed")
			b.ready("app", "True/SecretSynced")
		})
	}
	canary.NotInCluster(t, b.cp, b.key("app"))
}

// TestClusterStoreThatDoesNotAdmit: the namespace is not among its conditions,
// and a name that only contains one is not either.
func TestClusterStoreThatDoesNotAdmit(t *testing.T) {
	b := start(t)
	b.backend.set("db", "value")
	for name, conditions := range map[string]string{
		"named": "[{namespaces: [elsewhere]}]", "pattern": "[{namespaceRegexes: ['" + b.ns[1:len(b.ns)-1] + "']}]", "labelled": "[{namespaceSelector: {matchLabels: {none: such}}}]",
	} {
		b.apply("metadata: {name: "+b.ns+"-"+name+"}\nspec: {provider: {example: {}}, conditions: "+conditions+"}", &esv1.ClusterSecretStore{})
		b.whole(name, "secretStoreRef: {kind: ClusterSecretStore, name: "+b.ns+"-"+name+"}"+oneKey)
		message := b.ready(name, "False/SecretSyncedError/spec.data[0].remoteRef").GetConditions()[0].Message
		if !strings.Contains(message, "namespace is not admitted") || !strings.Contains(message, "add it there, or use another store") {
			t.Errorf("%s: %s", name, message)
		}
	}
	b.apply("metadata: {name: "+b.ns+"-fits}\nspec: {provider: {example: {}}, conditions: [{namespaces: [elsewhere]}, {namespaceRegexes: ['"+b.ns+"']}]}", &esv1.ClusterSecretStore{})
	b.whole("fits", "secretStoreRef: {kind: ClusterSecretStore, name: "+b.ns+"-fits}"+oneKey)
	b.ready("fits", "True/SecretSynced")
	b.holds("fits", `{"ours":"value"}`)
}

// TestEvents: one for each thing that happens, with the reasons that people's
// alerts look for.
func TestEvents(t *testing.T) {
	b := start(t)
	b.backend.set("db", "1")
	b.backend.set("other", "1")
	const spec = "target: {deletionPolicy: Delete}\ndata: [{secretKey: ours, remoteRef: {key: db}}, {secretKey: more, remoteRef: {key: other}}]"
	b.external("app", spec)
	step := func(name, want string) {
		t.Helper()
		b.change("app", func(es *esv1.ExternalSecret) { es.Annotations = map[string]string{"force-sync": name} })
		b.eventually("an Event "+want, func() bool { return slices.Contains(b.reasons("app"), want) })
	}
	step("made", esv1.EventCreated)
	b.backend.remove("other")
	step("missing", esv1.EventMissingProviderSecret)
	b.backend.fail("db", providers.ErrDenied)
	step("denied", esv1.EventUpdateFailed)
	b.backend.fail("db", nil)
	step("healed", esv1.EventUpdated)
	b.backend.remove("db")
	step("gone", esv1.EventDeleted)
	if got := len(b.reasons("app")); got != 6 {
		t.Errorf("%d Events, want one for each change and one more for what is missing then: %v", got, b.reasons("app"))
	}
}

// reasons are those of the Events of an ExternalSecret.
func (b *bench) reasons(name string) (all []string) {
	b.t.Helper()
	var list corev1.EventList
	if err := b.List(b.t.Context(), &list, client.InNamespace(b.ns)); err != nil {
		b.t.Fatal(err)
	}
	for _, e := range list.Items {
		if e.InvolvedObject.Name == name && e.InvolvedObject.Kind == esv1.ExternalSecretKind {
			all = append(all, e.Reason)
		}
	}
	return all
}

// TestColumnsAndFields: what kubectl shows, and what it can select by.
func TestColumnsAndFields(t *testing.T) {
	b := start(t)
	b.backend.set("db", "value")
	b.external("app", "target: {name: elsewhere}\nrefreshInterval: 2h"+oneKey)
	b.external("other", "target: {}"+oneKey)
	b.whole("cluster", "secretStoreRef: {kind: ClusterSecretStore, name: "+b.ns+"}"+oneKey)
	b.ready("app", "True")
	for selector, want := range map[string]string{
		"spec.secretStoreRef.name=store":                                "app other",
		"spec.secretStoreRef.kind=ClusterSecretStore":                   "cluster",
		"spec.secretStoreRef.kind=":                                     "app other",
		"spec.secretStoreRef.kind!=ClusterSecretStore":                  "app other",
		"spec.target.name=elsewhere":                                    "app",
		"spec.refreshInterval=2h0m0s":                                   "app",
		"spec.secretStoreRef.name=store,spec.target.name!=elsewhere":    "other",
		"metadata.name=app,spec.secretStoreRef.kind=ClusterSecretStore": "",
	} {
		chosen, err := fields.ParseSelector(selector)
		if err != nil {
			t.Fatal(err)
		}
		for _, version := range []string{"v1", "v1beta1"} {
			list := &metav1.PartialObjectMetadataList{}
			list.SetGroupVersionKind(schema.GroupVersionKind{Group: esv1.GroupVersion.Group, Version: version, Kind: "ExternalSecretList"})
			if err := b.List(t.Context(), list, client.InNamespace(b.ns), client.MatchingFieldsSelector{Selector: chosen}); err != nil {
				t.Fatal(err)
			}
			var names []string
			for i := range list.Items {
				names = append(names, list.Items[i].Name)
			}
			slices.Sort(names)
			if got := strings.Join(names, " "); got != want {
				t.Errorf("%s: %s selects %q, want %q", version, selector, got, want)
			}
		}
	}
	for resource, want := range map[string]string{
		"externalsecrets": "Name StoreType Store Refresh Interval Status Ready Last Sync",
		"secretstores":    "Name AGE Status Capabilities Ready",
	} {
		if got := b.columns(resource); got != want {
			t.Errorf("columns of %s: %s, want %s", resource, got, want)
		}
	}
}

// columns are the names that the API server gives to those of a resource.
func (b *bench) columns(resource string) string {
	b.t.Helper()
	cfg := b.cp.RestConfig()
	web, err := rest.HTTPClientFor(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, cfg.Host+"/apis/external-secrets.io/v1/namespaces/"+b.ns+"/"+resource, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	answer, err := web.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	var table metav1.Table
	if err := json.NewDecoder(answer.Body).Decode(&table); err != nil {
		b.t.Fatal(err)
	}
	var names []string
	for _, c := range table.ColumnDefinitions {
		names = append(names, c.Name)
	}
	return strings.Join(names, " ")
}
