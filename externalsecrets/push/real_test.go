package push_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// real is a run against one service.
type real struct {
	*bench
	service

	look providers.Reader // into the service, apart from the controller
}

// eachService runs a test against every real service.
func eachService(t *testing.T, test func(t *testing.T, r *real)) {
	t.Helper()
	for name, make := range services {
		t.Run(name, func(t *testing.T) {
			all := registry(t)
			b := startWith(t, all)
			r := &real{bench: b, service: make(t, b)}
			r.create(b)
			var err error
			if r.look, err = all[r.backend](t.Context(), r.config(t)); err != nil {
				t.Fatal(err)
			}
			test(t, r)
		})
	}
}

// has waits until a secret is the object want; nil: until it is gone.
func (r *real) has(name string, want map[string]string) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("%s to be as wanted", name), func() string {
		v, err := r.look.Read(r.t.Context(), providers.Ref{Path: r.key(r.ns, name)})
		if want == nil && errors.Is(err, providers.ErrNotFound) {
			return ""
		}
		var got map[string]string
		if err == nil {
			err = json.Unmarshal(v.Bytes(), &got)
		}
		if err != nil || want == nil || !reflect.DeepEqual(got, want) {
			return fmt.Sprintf("%d keys, %v", len(got), err) // not the values
		}
		return ""
	})
}

// push makes a PushSecret. In the spec, KEY(x) is how the service spells the
// secret x, and METADATA settings that it has.
func (r *real) push(name, spec string) {
	r.t.Helper()
	r.apply("metadata: {name: "+name+"}\nspec:\n"+r.spelled(spec), &esv1alpha1.PushSecret{})
}

func (r *real) spelled(spec string) string {
	for {
		from := strings.Index(spec, "KEY(")
		if from < 0 {
			return strings.ReplaceAll(spec, "METADATA", r.metadata)
		}
		to := from + strings.Index(spec[from:], ")")
		spec = spec[:from] + r.key(r.ns, spec[from+len("KEY("):to]) + spec[to+1:]
	}
}

// TestLifeAtARealService pushes properties and whole Secrets, changes them,
// and takes them back.
func TestLifeAtARealService(t *testing.T) {
	eachService(t, func(t *testing.T, r *real) {
		first, second := testenv.NewCanary(t), testenv.NewCanary(t)
		r.apply("metadata: {name: db}\nstringData: {user: ada, pass: "+first.Value()+"}", &corev1.Secret{})
		r.push("app", `
  deletionPolicy: Delete
  secretStoreRefs: [{name: store}]
  selector: {secret: {name: db}}
  data:
  - {match: {secretKey: user, remoteRef: {remoteKey: KEY(parts), property: name}}, metadata: METADATA}
  - {match: {secretKey: pass, remoteRef: {remoteKey: KEY(parts), property: word}}, metadata: METADATA}
  - {match: {remoteRef: {remoteKey: KEY(whole)}}, metadata: METADATA}
`)
		r.push("kept", `
  secretStoreRefs: [{name: store}]
  selector: {secret: {name: db}}
  data: [{match: {secretKey: user, remoteRef: {remoteKey: KEY(kept), property: name}}, metadata: METADATA}]
`)
		r.has("parts", map[string]string{"name": "ada", "word": first.Value()})
		r.has("whole", map[string]string{"user": "ada", "pass": first.Value()})
		r.has("kept", map[string]string{"name": "ada"})
		r.ready("app", "True/Synced")

		since := time.Now()
		r.change(&corev1.Secret{}, "db", `{"stringData":{"pass":"`+second.Value()+`"}}`)
		r.has("whole", map[string]string{"user": "ada", "pass": second.Value()})
		t.Logf("a changed Secret was pushed after %s", time.Since(since).Round(time.Millisecond))
		r.has("parts", map[string]string{"name": "ada", "word": second.Value()})

		r.change(&esv1alpha1.PushSecret{}, "app", `{"spec":{"data":[{"match":{"secretKey":"user","remoteRef":{"remoteKey":"`+r.key(r.ns, "parts")+`","property":"name"}}}]}}`)
		r.has("whole", nil)
		r.has("parts", map[string]string{"name": "ada"})
		for _, name := range []string{"app", "kept"} {
			r.gone(name)
		}
		r.has("parts", nil)
		r.has("kept", map[string]string{"name": "ada"})
		for _, c := range []*testenv.Canary{first, second} {
			c.NotInCluster(t, cluster.Get(t), types.NamespacedName{Namespace: r.ns, Name: "db"})
		}
	})
}

// gone deletes a PushSecret, and waits until it is.
func (r *real) gone(name string) {
	r.t.Helper()
	ps := &esv1alpha1.PushSecret{}
	ps.Namespace, ps.Name = r.ns, name
	must(r.t, r.Delete(r.t.Context(), ps))
	r.eventually(name+" to go", func() string {
		if err := r.Get(r.t.Context(), client.ObjectKeyFromObject(ps), ps); !apierrors.IsNotFound(err) {
			return fmt.Sprint(err, ps.Status.Conditions)
		}
		return ""
	})
}

// TestPoliciesAtARealService leaves alone what is someone else's, or what is
// there where that is asked for, and says so.
func TestPoliciesAtARealService(t *testing.T) {
	eachService(t, func(t *testing.T, r *real) {
		canary := testenv.NewCanary(t)
		must(t, r.put(r.key(r.ns, "theirs"), `{"name":"theirs"}`))
		r.apply("metadata: {name: db}\nstringData: {user: "+canary.Value()+"}", &corev1.Secret{})
		r.push("if-not-exists", `
  updatePolicy: IfNotExists
  secretStoreRefs: [{name: store}]
  selector: {secret: {name: db}}
  data:
  - {match: {secretKey: user, remoteRef: {remoteKey: KEY(theirs), property: name}}}
  - {match: {secretKey: user, remoteRef: {remoteKey: KEY(new), property: name}}, metadata: METADATA}
`)
		r.has("new", map[string]string{"name": canary.Value()})
		r.ready("if-not-exists", "True/Synced")
		r.push("replace", `
  secretStoreRefs: [{name: store}]
  selector: {secret: {name: db}}
  data: [{match: {secretKey: user, remoteRef: {remoteKey: KEY(theirs), property: name}}}]
`)
		r.ready("replace", "False/Errored/spec.data[0].match: write")
		r.ready("replace", "secret of another owner")
		r.push("denied", `
  secretStoreRefs: [{name: denied}, {name: store}]
  selector: {secret: {name: db}}
  data: [{match: {secretKey: user, remoteRef: {remoteKey: KEY(beside), property: name}}, metadata: METADATA}]
`)
		r.ready("denied", "False/Errored/")
		r.ready("denied", `SecretStore "denied": `)
		r.ready("denied", "access denied")
		r.has("beside", map[string]string{"name": canary.Value()}) // the other store has it
		r.has("theirs", map[string]string{"name": "theirs"})
		r.push("settings", `
  secretStoreRefs: [{name: store}]
  selector: {secret: {name: db}}
  data: [{match: {secretKey: user, remoteRef: {remoteKey: KEY(settings), property: name}}, metadata: {nosuchsetting: true}}]
`)
		r.ready("settings", "False/Errored/spec.data[0].match: write")
		r.ready("settings", "metadata.nosuchsetting: ")
		r.has("settings", nil)
	})
}

// TestFormsAtARealService pushes what a template, a selector, a set and a
// conversion make.
func TestFormsAtARealService(t *testing.T) {
	eachService(t, func(t *testing.T, r *real) {
		canary := testenv.NewCanary(t)
		r.apply("metadata: {name: one, labels: {push: 'yes'}}\nstringData: {a_U002f_b: "+canary.Value()+", user: ada}", &corev1.Secret{})
		r.apply("metadata: {name: two, labels: {push: 'yes'}}\nstringData: {host: db}", &corev1.Secret{})
		r.push("template", `
  secretStoreRefs: [{name: store}]
  selector: {secret: {selector: {matchLabels: {push: 'yes'}}}}
  template: {data: {dsn: '{{ .user }}@{{ .host }}', raw: '{{ index . "a_U002f_b" }}'}}
  data: [{match: {remoteRef: {remoteKey: KEY(template)}}, metadata: METADATA}]
`)
		r.push("set", `
  deletionPolicy: Delete
  secretStoreRefs: [{name: store}]
  selector: {secret: {name: one}}
  dataTo: [{storeRef: {name: store}, remoteKey: KEY(set), conversionStrategy: ReverseUnicode, metadata: METADATA}]
`)
		r.push("each", `
  secretStoreRefs: [{name: store}]
  selector: {secret: {name: two}}
  template: {data: {host: '{"host":"{{ .host }}"}'}}
  dataTo: [{storeRef: {name: store}, match: {regexp: ^ho}, rewrite: [{regexp: {source: '^(.*)$', target: 'KEY(each)-$1'}}], metadata: METADATA}]
`)
		r.has("template", map[string]string{"dsn": "ada@db", "raw": canary.Value()})
		r.has("each-host", map[string]string{"host": "db"})
		if r.name == "kubernetes" { // no key of a Secret has a slash
			r.ready("set", "False/Errored/spec.dataTo[0]: write")
			return
		}
		r.has("set", map[string]string{"a/b": canary.Value(), "user": "ada"})
		r.apply("metadata: {name: zeta, labels: {push: 'yes'}}\nstringData: {host: replica}", &corev1.Secret{})
		r.has("template", map[string]string{"dsn": "ada@replica", "raw": canary.Value()}) // the last by name wins
	})
}
