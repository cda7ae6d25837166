package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
)

// written is a request that creates something.
type written struct {
	path, content string
	body          []byte
}

// writes serves an API server that takes everything, and returns what it got.
func writes(t *testing.T) (*rest.Config, *http.Client, <-chan written) {
	t.Helper()
	got := make(chan written, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- written{r.URL.Path, r.Header.Get("Content-Type"), body}
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		w.WriteHeader(http.StatusCreated)
		w.Write(body)
	}))
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL}, server.Client(), got
}

func receive(t *testing.T, got <-chan written) written {
	t.Helper()
	select {
	case w := <-got:
		return w
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was written")
		return written{}
	}
}

// decode reads what is protobuf.
func decode(t *testing.T, w written, into runtime.Object) {
	t.Helper()
	if w.content != runtime.ContentTypeProtobuf {
		t.Errorf("%s has the content type %s, want %s", w.path, w.content, runtime.ContentTypeProtobuf)
	}
	scheme := newScheme()
	if _, _, err := protobuf.NewSerializer(scheme, scheme).Decode(w.body, nil, into); err != nil {
		t.Fatal(err)
	}
}

// The kinds of Kubernetes are protobuf; those of CustomResourceDefinitions have
// no such form.
func TestSecretsAreProtobuf(t *testing.T) {
	config, httpClient, got := writes(t)
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Secret"), meta.RESTScopeNamespace)
	mapper.Add(bitnamiv1alpha1.GroupVersion.WithKind("SealedSecret"), meta.RESTScopeNamespace)
	c, err := client.New(config, client.Options{HTTPClient: httpClient, Scheme: newScheme(), Mapper: mapper})
	if err != nil {
		t.Fatal(err)
	}
	name := metav1.ObjectMeta{Namespace: "apps", Name: "db"}
	if err := c.Create(t.Context(), &corev1.Secret{ObjectMeta: name, Data: map[string][]byte{"user": []byte("app")}}); err != nil {
		t.Fatal(err)
	}
	w, secret := receive(t, got), &corev1.Secret{}
	decode(t, w, secret)
	if w.path != "/api/v1/namespaces/apps/secrets" || string(secret.Data["user"]) != "app" {
		t.Errorf("at %s: keys %d", w.path, len(secret.Data))
	}
	if err := c.Create(t.Context(), &bitnamiv1alpha1.SealedSecret{ObjectMeta: name}); err != nil {
		t.Fatal(err)
	}
	if w := receive(t, got); w.content != runtime.ContentTypeJSON {
		t.Errorf("a SealedSecret has the content type %s, want %s", w.content, runtime.ContentTypeJSON)
	}
}
