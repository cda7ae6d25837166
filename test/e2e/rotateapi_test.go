package e2e

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	sigsyaml "sigs.k8s.io/yaml"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// mixed is a SealedSecret with items of both envelopes, written as only a
// person would.
const mixed = `{ "kind":"SealedSecret",
  "spec": {"template": {"type":"example.com/own", "data":{"url":"{{ .two }}"}, "metadata":{"labels":{"app":"db"},"annotations":{"note":"n"}}},
    "encryptedData":{"two": %q,
                     "one":%q,  "more" : %q }},
  "metadata":{"name":"db","labels":{"outer":"l"},"namespace":"rotated","annotations":{"outer":"a"}}, "apiVersion":"bitnami.com/v1alpha1"}`

// Through the API server, as kubeseal comes, values of both envelopes are
// sealed again with the newest key, and every other byte stays.
func TestRotateAPI(t *testing.T) {
	s := newSettings(t, "rotated")
	c, _ := s.start(nil, "--key-size=2048")
	if _, err := c.Certificate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.cluster.Expose(t, settingsNamespace, sealingService, httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: c.Sealing}))
	canary := testenv.NewCanary(t)
	first := s.bundle(nil)
	at := sealer.Binding{Namespace: "rotated", Name: "db"}
	old := []any{
		sealItem(t, canary.Value(), sealer.Place{Binding: at, Item: "two"}, first.Newest()),
		sealOne(t, first, canary.Value(), at),
		sealItem(t, canary.Value(), sealer.Place{Binding: at, Item: "more"}, first.Newest()),
	}
	s.newKey()
	second := s.bundle(first)

	again := s.post("/v1/rotate", fmt.Sprintf(mixed, old...))
	got := &bitnamiv1alpha1.SealedSecret{}
	if err := sigsyaml.Unmarshal([]byte(again), got); err != nil {
		t.Fatal(err)
	}
	next := got.Spec.EncryptedData
	if diff := cmp.Diff(fmt.Sprintf(mixed, next["two"], next["one"], next["more"]), again); diff != "" {
		t.Errorf("more than the sealed values changed (-want +got):\n%s", diff)
	}
	for _, item := range []string{"two", "more"} {
		if diff := cmp.Diff([]string{second.Newest().ID.String()}, addressed(t, next[item])); diff != "" {
			t.Errorf("recipients of %s (-want +got):\n%s", item, diff)
		}
	}
	canary.NotIn(t, "the answer", []byte(again))
	s.post("/v1/verify", again)
	s.create(got)
	s.opened(at, map[string]string{"one": canary.Value(), "two": canary.Value(), "more": canary.Value(), "url": canary.Value()}, second)
}

// A value that is sealed for someone else too, such as an offline backup key,
// is left alone: the controller cannot seal it for them again, and dropping
// them would be found out on the day that they are needed.
func TestRotateAPIKeepsRecipients(t *testing.T) {
	s := newSettings(t)
	c, _ := s.start(nil, "--key-size=2048")
	if _, err := c.Certificate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.cluster.Expose(t, settingsNamespace, sealingService, httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: c.Sealing}))
	backup, err := sealer.NewHybridKey(sealer.NewClusterID())
	if err != nil {
		t.Fatal(err)
	}
	at := sealer.Binding{Namespace: "rotated", Name: "db"}
	value := sealItem(t, "v", sealer.Place{Binding: at, Item: "two"}, s.bundle(nil).Newest(), backup.Recipient)
	body := fmt.Sprintf(mixed, value, value, value)
	body = strings.Replace(body, fmt.Sprintf(`"one":%q,  "more" : %q`, value, value), `"zero":`+fmt.Sprintf("%q", sealItem(t, "v", sealer.Place{Binding: at, Item: "zero"}, s.bundle(nil).Newest())), 1)
	s.post("/v1/verify", body)
	answer, err := s.proxied("/v1/rotate", body)
	if status := (&apierrors.StatusError{}); !errors.As(err, &status) || status.ErrStatus.Code != http.StatusConflict || strings.Contains(string(answer), "ls2.") {
		t.Errorf("a value of two recipients: %v", err)
	}
}

// bundle returns what the controller publishes, once it is not what it was.
func (s *settings) bundle(was *sealer.Bundle) *sealer.Bundle {
	s.Helper()
	var bundle *sealer.Bundle
	eventually(s.T, enough, func() string {
		text, err := s.cluster.Client.CoreV1().Services(settingsNamespace).ProxyGet("http", sealingService, "http", "/v1/keys", nil).DoRaw(s.Context())
		if err != nil {
			return err.Error()
		}
		if bundle, err = sealer.ParseBundle(text); err != nil {
			return err.Error()
		}
		if was != nil && bundle.Newest().ID == was.Newest().ID {
			return "the keys are those that were"
		}
		return ""
	})
	return bundle
}

// newKey makes a sealing key that is newer than the others.
func (s *settings) newKey() {
	s.Helper()
	time.Sleep(time.Second) // certificates count in seconds
	secret, err := keys.NewSecret(keys.Template{Namespace: settingsNamespace, Prefix: "sealed-secrets-key", Size: 2048, TTL: time.Hour})
	if err != nil {
		s.Fatal(err)
	}
	s.create(secret)
}

// post sends a body to the API of kubeseal through the API server, and wants
// success.
func (s *settings) post(path, body string) string {
	s.Helper()
	answer, err := s.proxied(path, body)
	if err != nil {
		s.Fatalf("%s: %v", path, err)
	}
	return string(answer)
}

func (s *settings) proxied(path, body string) ([]byte, error) {
	return s.cluster.Client.CoreV1().RESTClient().Post().Namespace(settingsNamespace).Resource("services").
		SubResource("proxy").Name("http:" + sealingService + ":http").Suffix(path).Body([]byte(body)).DoRaw(s.Context())
}

// opened waits for the Secret, and wants it to be opened with the newest key.
func (s *settings) opened(at sealer.Binding, data map[string]string, bundle *sealer.Bundle) {
	s.Helper()
	eventually(s.T, enough, func() string {
		secret, ss := &corev1.Secret{}, &bitnamiv1alpha1.SealedSecret{}
		if err := s.client.Get(s.Context(), key(at.Namespace, at.Name), secret); err != nil {
			return err.Error()
		}
		for name, value := range data {
			if string(secret.Data[name]) != value {
				return "the Secret does not hold the wanted value of " + name
			}
		}
		if err := s.client.Get(s.Context(), key(at.Namespace, at.Name), ss); err != nil {
			return err.Error()
		}
		_, public := bundle.Certificate()
		fingerprint, err := sealer.Fingerprint(public)
		if err != nil || ss.Status.Target == nil || ss.Status.Target.Key != fingerprint || len(ss.Status.Target.Keys) > 0 {
			return fmt.Sprintf("opened with %+v, and not with %s alone, %v", ss.Status.Target, fingerprint, err)
		}
		return ""
	})
}

func sealItem(t *testing.T, value string, at sealer.Place, recipients ...sealer.Recipient) string {
	t.Helper()
	text, err := sealer.SealItem([]byte(value), at, recipients...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// sealOne seals a value as envelope 1.
func sealOne(t *testing.T, bundle *sealer.Bundle, value string, at sealer.Binding) string {
	t.Helper()
	_, public := bundle.Certificate()
	sealed, err := sealer.Seal(public, []byte(value), at.Label())
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sealed)
}

// addressed returns the keys that a value of envelope 2 is sealed for, in order.
func addressed(t *testing.T, text string) []string {
	t.Helper()
	sealed, err := sealer.ParseSealed(text)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, a := range sealed.Addresses() {
		all = append(all, a.Key.String())
	}
	slices.Sort(all)
	return all
}
