package fanout_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
)

// TestFanOutOfLargeValues has values in all namespaces that fill a Secret up to
// its last byte, one byte more, and a template that alone fills the
// ClusterExternalSecret.
func TestFanOutOfLargeValues(t *testing.T) {
	b := start(t)
	other := cluster.Get(t).Namespace(t)
	b.store("large-"+b.ns, "None", nil)
	// AWS holds 64 KiB in one secret: 16 of them are 1 MiB.
	const part, parts = 64 << 10, corev1.MaxSecretSize / (64 << 10)
	var data []string
	for i := range parts {
		key := fmt.Sprintf("%s/part-%d", b.ns, i)
		_, err := b.aws.PutSecret(t.Context(), region, key, strings.Repeat(string(rune('a'+i)), part))
		must(t, err)
		data = append(data, fmt.Sprintf("{secretKey: p%d, remoteRef: {key: %s}}", i, key))
	}
	_, err := b.aws.PutSecret(t.Context(), region, b.ns+"/byte", "x")
	must(t, err)
	large := func(name, spec string) {
		t.Helper()
		b.apply(fmt.Sprintf("metadata: {name: %s-%s}\nspec: {externalSecretName: %s, namespaceSelectors: [{matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [%s, %s]}]}], externalSecretSpec: {secretStoreRef: {kind: ClusterSecretStore, name: large-%s}, %s}}",
			name, b.ns, name, b.ns, other, b.ns, spec), &esv1.ClusterExternalSecret{})
	}
	whole := strings.Join(data, ", ")
	large("fits", "data: ["+whole+"]")
	large("one-more", "data: ["+whole+", {secretKey: byte, remoteRef: {key: "+b.ns+"/byte}}]")
	text := strings.Repeat("t", 1000<<10) // etcd takes 1.5 MiB, and the object is there but once
	large("template", "target: {template: {data: {text: '"+text+"{{ .byte }}'}}}, data: [{secretKey: byte, remoteRef: {key: "+b.ns+"/byte}}]")
	for _, ns := range []string{b.ns, other} {
		b.eventually("1 MiB in "+ns, func() string {
			return b.sized(ns, "fits", corev1.MaxSecretSize)
		})
		b.eventually("a template of 1000 KiB in "+ns, func() string {
			return b.sized(ns, "template", len(text)+1)
		})
		b.eventually("one byte more to be refused in "+ns, func() string {
			es := &esv1.ExternalSecret{}
			err := b.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "one-more"}, es)
			if got := fmt.Sprint(err, es.Status.Conditions); !strings.Contains(got, "1048577 bytes") || !strings.Contains(got, "1048576 are allowed") {
				return got
			}
			return ""
		})
		if got := b.sized(ns, "one-more", 0); !strings.Contains(got, "not found") {
			t.Errorf("one byte more than a Secret can hold: %s, want none", got)
		}
	}
	// A change of one value of many is one patch, and not lost in the size.
	_, err = b.aws.PutSecret(t.Context(), region, b.ns+"/byte", "yy")
	must(t, err)
	b.annotate(&esv1.ClusterExternalSecret{ObjectMeta: metav1.ObjectMeta{Name: "template-" + b.ns}}, esv1.AnnotationForceSyncAll, "1")
	for _, ns := range []string{b.ns, other} {
		b.eventually("the new value in "+ns, func() string {
			return b.sized(ns, "template", len(text)+2)
		})
	}
}

// sized returns "" if a Secret holds so many bytes.
func (b *bench) sized(ns, name string, want int) string {
	b.t.Helper()
	s := &corev1.Secret{}
	if err := b.Get(b.t.Context(), client.ObjectKey{Namespace: ns, Name: name}, s); err != nil {
		es := &esv1.ExternalSecret{}
		return fmt.Sprint(err, " ", b.Get(b.t.Context(), client.ObjectKey{Namespace: ns, Name: name}, es), es.Status.Conditions)
	}
	got := 0
	for _, value := range s.Data {
		got += len(value)
	}
	if got != want {
		return fmt.Sprintf("%d bytes", got)
	}
	return ""
}
