package attacks

import (
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// TestK1ScopesDoNotWiden takes a value of each scope to another namespace and
// name, there says each scope of it, in the annotations, in the template or in
// both, and wants none opened but what was sealed for the whole cluster and
// says so.
func TestK1ScopesDoNotWiden(t *testing.T) {
	s, canary := shared.Get(t), testenv.NewCanary(t)
	certificate, err := s.Controller.Certificate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := sealer.ParseCertificate(certificate)
	if err != nil {
		t.Fatal(err)
	}
	home, away := s.Cluster.Namespace(t), s.Cluster.Namespace(t)
	scopes := []sealer.Scope{sealer.Strict, sealer.NamespaceWide, sealer.ClusterWide}
	opens := map[*bitnamiv1alpha1.SealedSecret]bool{}
	for _, sealed := range scopes {
		value, err := sealer.Seal(cert.PublicKey.(*rsa.PublicKey), []byte(canary.Value()), sealer.Binding{Namespace: home, Name: "db", Scope: sealed}.Label())
		if err != nil {
			t.Fatal(err)
		}
		for _, said := range scopes {
			for _, where := range []string{"annotation", "template", "both"} {
				ss := &bitnamiv1alpha1.SealedSecret{ObjectMeta: metav1.ObjectMeta{Namespace: away, Name: fmt.Sprintf("%s-as-%s-by-%s", sealed, said, where)}}
				ss.Spec.EncryptedData = map[string]string{"password": base64.StdEncoding.EncodeToString(value)}
				if where != "template" {
					ss.Annotations = saying(said)
				}
				if where != "annotation" {
					ss.Spec.Template.Annotations = saying(said)
				}
				opens[ss] = sealed == sealer.ClusterWide && said == sealer.ClusterWide && where != "template"
				if err := s.Ensure(t.Context(), ss); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	var allowed []client.ObjectKey
	for ss, good := range opens {
		t.Run(ss.Name, func(t *testing.T) {
			if good {
				settled(t, s, ss, "True")
				allowed = append(allowed, client.ObjectKeyFromObject(ss))
				return
			}
			if message := settled(t, s, ss, "False").Message; !strings.Contains(message, "another namespace, name or scope") {
				t.Errorf("%q does not say what is wrong", message)
			}
			if err := s.Client.Get(t.Context(), client.ObjectKeyFromObject(ss), &corev1.Secret{}); client.IgnoreNotFound(err) != nil || err == nil {
				t.Errorf("there is a Secret: %v", err)
			}
		})
	}
	if len(opens) != 27 || len(allowed) != 2 {
		t.Errorf("%d cases of which %d open, want 27 and 2", len(opens), len(allowed))
	}
	canary.NotInCluster(t, s.Cluster, allowed...)
}

// saying are the annotations that say a scope.
func saying(scope sealer.Scope) map[string]string {
	switch scope {
	case sealer.ClusterWide:
		return map[string]string{bitnamiv1alpha1.AnnotationClusterWide: "true"}
	case sealer.NamespaceWide:
		return map[string]string{bitnamiv1alpha1.AnnotationNamespaceWide: "true"}
	default:
		return nil
	}
}
