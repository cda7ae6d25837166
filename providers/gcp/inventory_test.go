package gcp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/gcp"
	"github.com/lockstep-dev/lockstep/test/fields"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// GetSecret has the secret there, which a Writer made, and no other.
func (r *recorder) GetSecret(_ context.Context, in *secretmanagerpb.GetSecretRequest) (*secretmanagerpb.Secret, error) {
	if !strings.HasSuffix(in.GetName(), "/there") {
		return nil, status.Error(codes.NotFound, "none")
	}
	return &secretmanagerpb.Secret{Name: in.GetName(), Labels: map[string]string{providers.ManagedBy: providers.ManagedByValue, "old": "label"}}, nil
}

// CreateSecret notes what is made.
func (r *recorder) CreateSecret(_ context.Context, in *secretmanagerpb.CreateSecretRequest) (*secretmanagerpb.Secret, error) {
	r.notef("create %s", text(in))
	made := in.GetSecret()
	made.Name = in.GetParent() + "/secrets/" + in.GetSecretId()
	return made, nil
}

// UpdateSecret notes what is changed.
func (r *recorder) UpdateSecret(_ context.Context, in *secretmanagerpb.UpdateSecretRequest) (*secretmanagerpb.Secret, error) {
	r.notef("update %s", text(in))
	return in.GetSecret(), nil
}

// AddSecretVersion notes where a version is made.
func (r *recorder) AddSecretVersion(_ context.Context, in *secretmanagerpb.AddSecretVersionRequest) (*secretmanagerpb.SecretVersion, error) {
	r.notef("add %s", in.GetParent())
	return &secretmanagerpb.SecretVersion{Name: in.GetParent() + "/versions/2"}, nil
}

// text is a message, the same each time.
func text(message proto.Message) string {
	out, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	return fmt.Sprintf("%q %v", out, err)
}

// TestMetadata is the inventory of the metadata of a PushSecret. What a secret
// has for its whole life is for one that is made only.
func TestMetadata(t *testing.T) {
	settings := byKey()
	settings["secretVersionSelectionPolicy"] = "LatestOrFetch"
	r := &recorder{}
	web, host := r.start(t)
	_, key := keyOf(t, server.Get(t), testenv.GCPPrincipal{Name: "metadata@team.iam.gserviceaccount.com"})
	r.Set("k", "key.json", key)
	push := func(paths ...string) func(t *testing.T, metadata json.RawMessage) (string, error) {
		return func(t *testing.T, metadata json.RawMessage) (string, error) {
			t.Helper()
			r.sent = nil
			opened, err := gcp.New(gcp.Endpoints{SecretManager: host, STS: web.URL, IAM: web.URL, IdentityBinding: web.URL, CA: pemOf(web)})(t.Context(), store(t, settings, r))
			for _, path := range paths {
				if err == nil {
					err = opened.(providers.Writer).Write(t.Context(), providers.Target{Path: path}, providers.NewValue([]byte("new")), metadata)
				}
			}
			return strings.Join(r.sent, "\n"), err
		}
	}
	labels := map[string]string{"team": "a"}
	conformance.Metadata{
		Settings: gcp.SecretSettings{}, Trace: push("there", "new"),
		Served: map[string]conformance.Change{
			"labels": {"labels": labels}, "annotations": {"annotations": labels}, "topics": {"topics": []string{"projects/team/topics/t"}}, "cmekKeyName": {"cmekKeyName": "k"},
			"mergePolicy": {"labels": labels, "mergePolicy": "Merge"}, "replicationLocations": {"replicationLocations": []string{"europe-west3"}},
			"replicationLocation": {"replicationLocation": "europe-west3"},
		},
		Refused: map[string]conformance.Change{"mergePolicy": {"mergePolicy": "Add"}},
	}.Test(t)
}

// TestRefs is the inventory of remoteRef and find.
func TestRefs(t *testing.T) {
	g := server.Get(t)
	put := func(id, value string, labels map[string]string) {
		t.Helper()
		_, err := g.PutSecret(t.Context(), testenv.GCPSecret{Parent: project, ID: id, Value: &value, Labels: labels})
		must(t, err)
	}
	put("inventory-ref", `{"p":"old"}`, nil)
	put("inventory-ref", `{"p":"cDE=","q":"other","odd/key":"1","zero":"a\u0000b"}`, map[string]string{"team": "a"})
	put("inventory-other", `{"p":"cDI="}`, nil)
	put("inventory-find-one", "b25l", map[string]string{"team": "a"})
	put("inventory-find-two", "dHdv", map[string]string{"team": "b"})
	put("inventory-zero-one", "a\x00b", nil)
	refs := conformance.RefTables("inventory-ref", "1", "inventory-")
	refs.Find["path"], refs.FindServed["path"]["path"], refs.FindServed["nullBytePolicy"]["path"] = "inventory-find-", "inventory-zero-", "inventory-zero-"
	// A name at Google has no character that a key of a Secret must not have.
	refs.FindIdle = map[string]conformance.Change{"conversionStrategy": refs.FindServed["conversionStrategy"]}
	delete(refs.FindServed, "conversionStrategy")
	refs.Values = fields.Values
	refs.Open = func(t *testing.T) providers.Reader {
		t.Helper()
		from, _ := keyOf(t, g, testenv.GCPPrincipal{Name: "inventory@team.iam.gserviceaccount.com"})
		return open(t, g, byKey(), from)
	}
	refs.Test(t)
}
