package gcp_test

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/gcp"
)

const (
	topic        = "projects/team/topics/changes"
	subscription = "projects/team/subscriptions/lockstep"
)

// pubSub is Google's own fake of Pub/Sub behind TLS, which lets in who has the
// token.
func pubSub(t *testing.T, token string) (service *pstest.Server, e gcp.Endpoints) {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	t.Cleanup(web.Close)
	service = pstest.NewServer()
	t.Cleanup(func() { _ = service.Close() }) // it ends with the test
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&web.TLS.Certificates[0])), grpc.UnaryInterceptor(
		func(ctx context.Context, in any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if md, _ := metadata.FromIncomingContext(ctx); !slices.Equal(md.Get("authorization"), []string{"Bearer " + token}) {
				return nil, status.Error(codes.PermissionDenied, "no")
			}
			return next(ctx, in)
		}))
	pubsubpb.RegisterSubscriberServer(server, &service.GServer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	go func() { _ = server.Serve(l) }() // until Stop
	t.Cleanup(server.Stop)
	_, err = service.GServer.CreateTopic(t.Context(), &pubsubpb.Topic{Name: topic})
	must(t, err)
	_, err = service.GServer.CreateSubscription(t.Context(), &pubsubpb.Subscription{Name: subscription, Topic: topic, AckDeadlineSeconds: 10})
	must(t, err)
	return service, gcp.Endpoints{PubSub: l.Addr().String(), CA: pemOf(web),
		Ambient: func(context.Context) (string, time.Time, error) { return "token", time.Now().Add(time.Hour), nil }}
}

// watching opens a store that has the controller's identity.
func watching(t *testing.T, e gcp.Endpoints, settings map[string]any) providers.Watcher {
	t.Helper()
	config := store(t, settings, &conformance.References{})
	config.Ambient = true
	r, err := gcp.New(e)(t.Context(), config)
	must(t, err)
	w, ok := r.(providers.Watcher)
	if !ok {
		t.Fatalf("%T is no Watcher", r)
	}
	return w
}

func TestWatch(t *testing.T) {
	for name, tc := range map[string]struct {
		settings map[string]any
		want     []string
	}{
		"Global":   {map[string]any{"projectID": "team"}, []string{"db"}},
		"Regional": {map[string]any{"projectID": "team", "location": "europe-west3"}, []string{"api"}},
	} {
		t.Run(name, func(t *testing.T) {
			service, e := pubSub(t, "token")
			for _, id := range []string{"projects/123/secrets/db", "", "nonsense", "projects/123/locations/europe-west3/secrets/api", "projects/123/locations/us-east1/secrets/other"} {
				service.Publish(topic, []byte("{}"), map[string]string{"eventType": "SECRET_VERSION_ADD", "secretId": id})
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var got []string
			var ended atomic.Bool
			err := watching(t, e, tc.settings).Watch(ctx, subscription, func(keys ...string) {
				got = append(got, keys...)
				time.AfterFunc(3*time.Second, func() { ended.Store(true); cancel() }) // what was taken is acknowledged first
			})
			if !ended.Load() || !slices.Equal(got, tc.want) {
				t.Errorf("got %v and %v, want %v", got, err, tc.want)
			}
			for _, m := range service.Messages() {
				if m.Acks == 0 {
					t.Errorf("a message was not acknowledged: %v", m.Attributes)
				}
			}
		})
	}
}

func TestWatchFails(t *testing.T) {
	_, e := pubSub(t, "another token")
	settings := map[string]any{"projectID": "team"}
	for source, want := range map[string]error{subscription: providers.ErrDenied, "lockstep": providers.ErrInvalid, "projects/team/topics/changes": providers.ErrInvalid} {
		if err := watching(t, e, settings).Watch(t.Context(), source, nil); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", source, err, want)
		}
	}
}
