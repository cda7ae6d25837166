package sealedsecret_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/sealedsecret"
	"github.com/lockstep-dev/lockstep/sealer"
)

// Open needs no controller and no cluster, and refuses nothing by its type.
func TestOpen(t *testing.T) {
	private, cert, err := sealer.NewCertificate(sealer.MinKeySize, time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	key, err := sealer.NewKey(private, cert)
	if err != nil {
		t.Fatal(err)
	}
	ring := &sealer.Keyring{}
	ring.Set(key)
	sealed, err := sealer.Seal(&private.PublicKey, []byte("v"), sealer.Binding{Namespace: "prod", Name: "db"}.Label())
	if err != nil {
		t.Fatal(err)
	}
	url := "db://{{ .password }}"
	ss := &bitnamiv1alpha1.SealedSecret{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "db"}}
	ss.Spec.EncryptedData = bitnamiv1alpha1.EncryptedData{"password": base64.StdEncoding.EncodeToString(sealed), "gone": base64.StdEncoding.EncodeToString(sealed)}
	ss.Spec.Template = bitnamiv1alpha1.SecretTemplateSpec{Type: corev1.SecretTypeServiceAccountToken, Data: map[string]*string{"url": &url, "gone": nil}}
	got, err := sealedsecret.Open(t.Context(), ss, ring)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]byte{"password": []byte("v"), "url": []byte("db://v")}, got.Data); diff != "" || got.Type != corev1.SecretTypeServiceAccountToken || got.Name != "db" || got.Namespace != "prod" {
		t.Errorf("%s%v", diff, got)
	}
	ss.Name = "other"
	if _, err := sealedsecret.Open(t.Context(), ss, ring); err == nil || !strings.Contains(err.Error(), "no key could decrypt secret (gone, password)") {
		t.Errorf("under another name: %v", err)
	}
}
