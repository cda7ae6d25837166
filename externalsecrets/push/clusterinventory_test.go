package push_test

import (
	"fmt"
	"strings"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
)

const (
	pulled = "externalSecretSpec: {secretStoreRef: {name: store}, refreshInterval: 2h, data: [{secretKey: a, remoteRef: {key: b}}]}\n"
	pushed = "pushSecretSpec: {secretStoreRefs: [{name: store}], refreshInterval: 2h, selector: {secret: {name: db}}, data: [{match: {secretKey: a, remoteRef: {remoteKey: b}}}]}\n"
	own    = "namespaceSelectors: [{matchLabels: {kubernetes.io/metadata.name: NS}}]"
)

// clusterLine is one line of clusterInventory.
type clusterLine struct {
	spec    string
	name    string // of what is made; empty: NAME
	both    bool   // it is made in both namespaces, not in NS alone
	notes   bool   // and has a label and an annotation
	refused string
}

// clusterInventory has every field of a ClusterExternalSecret and of a
// ClusterPushSecret besides those of the specs that they hold. NS and OTHER are
// two namespaces, NAME is the name of the object.
var clusterInventory = map[string]clusterLine{
	"es-selectors":          {spec: pulled + own},
	"es-selectors-two":      {spec: pulled + "namespaceSelectors: [{matchLabels: {kubernetes.io/metadata.name: NS}}, {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [OTHER]}]}]", both: true},
	"es-selector-older":     {spec: pulled + "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NS}}"},
	"es-namespaces":         {spec: pulled + "namespaces: [NS, OTHER, there-is-none]", both: true},
	"es-selector-and-names": {spec: pulled + "namespaces: [OTHER]\n" + own, both: true},
	"es-name":               {spec: pulled + "externalSecretName: made\n" + own, name: "made"},
	"es-metadata":           {spec: pulled + "externalSecretMetadata: {labels: {l: v}, annotations: {note: v}}\n" + own, notes: true},
	"es-refresh":            {spec: pulled + "refreshTime: 1h\n" + own},
	"es-refused":            {spec: pulled + "namespaceSelectors: [{matchExpressions: [{key: a, operator: Odd}]}]", refused: "spec.namespaceSelectors[0] is not a selector: correct it"},
	"ps-selectors":          {spec: pushed + own},
	"ps-selectors-two":      {spec: pushed + "namespaceSelectors: [{matchLabels: {kubernetes.io/metadata.name: NS}}, {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [OTHER]}]}]", both: true},
	"ps-name":               {spec: pushed + "pushSecretName: pushed\n" + own, name: "pushed"},
	"ps-metadata":           {spec: pushed + "pushSecretMetadata: {labels: {l: v}, annotations: {note: v}}\n" + own, notes: true},
	"ps-refresh":            {spec: pushed + "refreshTime: 1h\n" + own},
	"ps-refused":            {spec: pushed + "namespaceSelectors: [{matchExpressions: [{key: a, operator: Odd}]}]", refused: "spec.namespaceSelectors[0] is not a selector: correct it"},
}

// conditioned is an object with conditions.
type conditioned interface {
	client.Object
	GetConditions() []metav1.Condition
}

func TestClusterInventory(t *testing.T) {
	b := start(t)
	other := cluster.Get(t).Namespace(t)
	for line, tc := range clusterInventory {
		t.Run(line, func(t *testing.T) {
			b := *b
			b.t = t
			object := "cluster-" + line + "-" + b.ns
			var whole conditioned = &esv1.ClusterExternalSecret{}
			if strings.HasPrefix(line, "ps-") {
				whole = &esv1alpha1.ClusterPushSecret{}
			}
			spec := strings.NewReplacer("OTHER", other, "NS", b.ns).Replace(tc.spec)
			b.apply("metadata: {name: "+object+"}\nspec:\n  "+strings.ReplaceAll(spec, "\n", "\n  "), whole)
			b.eventually("the condition", func() string {
				if err := b.Get(t.Context(), client.ObjectKey{Name: object}, whole); err != nil {
					return err.Error()
				}
				c := apimeta.FindStatusCondition(whole.GetConditions(), "Ready")
				if c == nil || (c.Status == metav1.ConditionTrue) != (tc.refused == "") || !strings.Contains(c.Message, tc.refused) {
					return fmt.Sprint(c)
				}
				return ""
			})
			b.made(tc, other, object)
		})
	}
}

// made checks what is in both namespaces.
func (b *bench) made(line clusterLine, other, object string) {
	b.t.Helper()
	name := line.name
	if name == "" {
		name = object
	}
	for ns, want := range map[string]bool{b.ns: line.refused == "", other: line.both} {
		var one client.Object = &esv1.ExternalSecret{}
		if strings.HasPrefix(line.spec, pushed) {
			one = &esv1alpha1.PushSecret{}
		}
		err := b.Get(b.t.Context(), client.ObjectKey{Namespace: ns, Name: name}, one)
		if (err == nil) != want {
			b.t.Errorf("in %s: %v, want it there: %t", ns, err, want)
			continue
		}
		if owner := metav1.GetControllerOf(one); want && (owner == nil || owner.Name != object) {
			b.t.Errorf("in %s: its owner is %v", ns, owner)
		}
		if want && line.notes && (one.GetLabels()["l"] != "v" || one.GetAnnotations()["note"] != "v") {
			b.t.Errorf("in %s: labels %v, annotations %v", ns, one.GetLabels(), one.GetAnnotations())
		}
	}
}
