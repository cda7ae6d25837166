package events_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/providers/gcp"
	"github.com/lockstep-dev/lockstep/providers/vault"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var (
	amazon = testenv.Share(func(t testing.TB) (*testenv.AWS, error) { return testenv.StartAWS(t.Context(), testenv.AWSOptions{}) })
	google = testenv.Share(func(t testing.TB) (*testenv.GCP, error) { return testenv.StartGCP(t.Context(), testenv.GCPOptions{}) })
	bao    = testenv.Share(func(t testing.TB) (*testenv.Vault, error) {
		return testenv.StartVault(t.Context(), testenv.VaultOptions{})
	})
)

const region = "eu-central-1"

// path is a way in which a service tells of changes.
type path struct {
	registry    providers.Registry
	provider    map[string]any
	credentials map[string]string // in Secret "in"
	annotations map[string]string // of the store

	put      func(key, value string) // changes a secret at the service
	tell     func(b *bench, key string)
	nonsense func(b *bench) // about no secret that anyone reads, or nothing at all
	tells    bool           // put tells, too
	reads    func() int
	away     func() // ends what tells; nil where nobody listens
	back     func()
}

func ref(key string) map[string]string { return map[string]string{"name": "in", "key": key} }

// eventBridge is Secrets Manager with a rule that sends its events to SQS.
func eventBridge(t *testing.T) *path {
	a, name := amazon.Get(t), strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))
	user, err := a.User(t.Context(), name)
	must(t, err)
	source, err := a.Queue(t.Context(), region, name)
	must(t, err)
	message := func(id string) string {
		return fmt.Sprintf(`{"detail-type":"AWS API Call via CloudTrail","source":"aws.secretsmanager","detail":{"eventName":"PutSecretValue","requestParameters":{"secretId":%q}}}`, id)
	}
	send := func(bodies ...string) {
		_, err := a.Queue(t.Context(), region, name, bodies...)
		must(t, err)
	}
	return &path{
		registry: providers.Registry{"aws": aws.New(aws.Endpoints{SecretsManager: a.Address(), STS: a.Address(), CA: a.CA})},
		provider: map[string]any{"aws": map[string]any{"service": "SecretsManager", "region": region,
			"auth": map[string]any{"secretRef": map[string]any{"accessKeyIDSecretRef": ref("id"), "secretAccessKeySecretRef": ref("secret")}}}},
		credentials: map[string]string{"id": user.ID, "secret": user.Secret},
		annotations: map[string]string{"lockstep.dev/events": source},
		put: func(key, value string) {
			_, err := a.PutSecret(t.Context(), region, key, value)
			must(t, err)
		},
		tell:     func(_ *bench, key string) { send(message(key)) },
		nonsense: func(*bench) { send(message("nobody/reads-this"), "no JSON", `{}`, `[]`, `{"detail":null}`, "") },
		tells:    true,
		reads: func() int {
			counts, err := a.Counts(t.Context())
			must(t, err)
			return counts["secretsmanager:GetSecretValue"] + counts["secretsmanager:BatchGetSecretValue"]
		},
		away: func() { must(t, a.DeleteQueue(t.Context(), region, name)) },
		back: func() { send() },
	}
}

const subscription = "projects/team/subscriptions/lockstep"

// pubSub is Secret Manager, and Google's own fake of Pub/Sub.
func pubSub(t *testing.T) *path {
	g, topic := google.Get(t), "projects/team/topics/changes"
	key, err := g.Key(t.Context(), testenv.GCPPrincipal{Name: "listener@team.iam.gserviceaccount.com"})
	must(t, err)
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	t.Cleanup(web.Close)
	service := pstest.NewServer()
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&web.TLS.Certificates[0])))
	pubsubpb.RegisterSubscriberServer(server, &service.GServer)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	go func() { _ = server.Serve(l) }() // until Stop
	t.Cleanup(server.Stop)
	_, err = service.GServer.CreateTopic(t.Context(), &pubsubpb.Topic{Name: topic})
	must(t, err)
	open := func() {
		_, err := service.GServer.CreateSubscription(t.Context(), &pubsubpb.Subscription{Name: subscription, Topic: topic, AckDeadlineSeconds: 10})
		must(t, err)
	}
	open()
	publish := func(id string) {
		service.Publish(topic, []byte("{}"), map[string]string{"eventType": "SECRET_VERSION_ADD", "secretId": id})
	}
	ca := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), g.CA...)
	return &path{
		registry:    providers.Registry{"gcpsm": gcp.New(gcp.Endpoints{SecretManager: g.Host(), PubSub: l.Addr().String(), STS: g.Address(), IAM: g.Address(), CA: ca})},
		provider:    map[string]any{"gcpsm": map[string]any{"projectID": "team", "auth": map[string]any{"secretRef": map[string]any{"secretAccessKeySecretRef": ref("key.json")}}}},
		credentials: map[string]string{"key.json": string(key)},
		annotations: map[string]string{"lockstep.dev/events": subscription},
		put: func(key, value string) {
			_, err := g.PutSecret(t.Context(), testenv.GCPSecret{Parent: "projects/team", ID: key, Value: &value})
			must(t, err)
		},
		tell: func(_ *bench, key string) { publish("projects/123/secrets/" + key) },
		nonsense: func(*bench) {
			for _, id := range []string{"projects/123/secrets/nobody-reads-this", "", "nonsense", "projects/123/locations/us-east1/secrets/app"} {
				publish(id)
			}
		},
		reads: func() int {
			counts, err := g.Counts(t.Context())
			must(t, err)
			return counts["AccessSecretVersion"]
		},
		away: func() {
			_, err := service.GServer.DeleteSubscription(t.Context(), &pubsubpb.DeleteSubscriptionRequest{Subscription: subscription})
			must(t, err)
		},
		back: open,
	}
}

// vaultEvents is OpenBao behind the events of Vault Enterprise, which it does
// not have.
func vaultEvents(t *testing.T) *path {
	v := bao.Get(t)
	token, err := v.Token(t.Context(), testenv.VaultRole{Name: "listener", Policy: testenv.Allow("secret/data/*", "sys/events/subscribe/*")})
	must(t, err)
	to, err := url.Parse(v.Address())
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(v.CA)
	var mu sync.Mutex
	var listeners []*websocket.Conn
	var down atomic.Bool
	mux := http.NewServeMux()
	mux.Handle("/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}})
	mux.Handle("/v1/sys/events/subscribe/", websocket.Server{
		Handshake: func(_ *websocket.Config, r *http.Request) error {
			if down.Load() || r.Header.Get("X-Vault-Token") != token {
				return errors.New("permission denied")
			}
			return nil
		},
		Handler: func(ws *websocket.Conn) {
			mu.Lock()
			listeners = append(listeners, ws)
			mu.Unlock()
			_ = websocket.Message.Receive(ws, new(string)) // until either end hangs up
		},
	})
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	send := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		for _, ws := range listeners {
			_ = websocket.Message.Send(ws, text) // some have hung up
		}
	}
	heard := func(b *bench) {
		b.eventually("a listener", func() string {
			mu.Lock()
			defer mu.Unlock()
			return map[bool]string{true: "there is none"}[len(listeners) == 0]
		})
	}
	event := func(key string) string {
		return fmt.Sprintf(`{"id":"1","source":"vault://host","specversion":"1.0","type":"*","data":{"event":{"id":"1","metadata":{"data_path":%q,"modified":"true","operation":"data-write","path":%[1]q}},
			"event_type":"kv-v2/data-write","plugin_info":{"mount_class":"secret","mount_path":"secret/","plugin":"kv"}}}`, "secret/data/"+key)
	}
	return &path{
		registry:    providers.Registry{"vault": vault.Open},
		provider:    map[string]any{"vault": map[string]any{"server": web.URL, "path": "secret", "auth": map[string]any{"tokenSecretRef": ref("token")}}},
		credentials: map[string]string{"token": token},
		annotations: map[string]string{"lockstep.dev/events": "kv-v2/data-*"},
		put: func(key, value string) {
			must(t, v.Call(t.Context(), http.MethodPost, "secret/data/"+key, map[string]any{"data": map[string]string{"v": value}}, nil))
		},
		tell: func(b *bench, key string) { heard(b); send(event(key)) },
		nonsense: func(b *bench) {
			heard(b)
			for _, text := range []string{event("nobody/reads-this"), "no JSON", "[]", "{}", strings.Replace(event("app"), `"secret/"`, `"other/"`, 1)} {
				send(text)
			}
		},
		reads: func() int {
			counts, err := v.Counts(t.Context())
			must(t, err)
			return counts["GET secret/data"]
		},
		away: func() {
			down.Store(true)
			mu.Lock()
			defer mu.Unlock()
			for _, ws := range listeners {
				_ = ws.Close() // it may have ended
			}
			listeners = nil
		},
		back: func() { down.Store(false) },
	}
}

// webhook is a store that anyone with a key tells of changes.
func webhook(t *testing.T) *path {
	p, key := eventBridge(t), testenv.NewCanary(t)
	p.away() // its queue
	p.away, p.back, p.tells = nil, nil, false
	p.annotations = map[string]string{"lockstep.dev/events-webhook-secret": "in/hook"}
	p.credentials["hook"] = key.Value()
	p.tell = func(b *bench, name string) {
		b.eventually("the message to be taken", func() string {
			if status := b.post(key.Value(), map[string]any{"keys": []string{name}}); status != http.StatusAccepted {
				return http.StatusText(status)
			}
			return ""
		})
	}
	p.nonsense = func(b *bench) {
		p.tell(b, "nobody/reads-this")
		for want, status := range map[int]int{
			http.StatusUnauthorized: b.post("another key of a webhook", map[string]any{"keys": []string{"app"}}),
			http.StatusBadRequest:   b.post(key.Value(), []string{"app"}),
		} {
			if status != want {
				t.Errorf("a message that is forged or malformed: status %d, want %d", status, want)
			}
		}
	}
	return p
}

// post sends a message to the webhook of the store.
func (b *bench) post(signedWith string, message any) int {
	b.t.Helper()
	body, err := json.Marshal(message)
	must(b.t, err)
	mac := hmac.New(sha256.New, []byte(signedWith))
	mac.Write(body)
	request, err := http.NewRequestWithContext(context.WithoutCancel(b.t.Context()), http.MethodPost, "http://"+b.addr+"/events/"+b.ns+"/store", bytes.NewReader(body))
	must(b.t, err)
	request.Header.Set("X-Lockstep-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0 // it does not listen yet
	}
	must(b.t, answer.Body.Close())
	return answer.StatusCode
}
