package gcp_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/gcp"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// push writes with metadata, and returns what the provider says of it.
func push(t *testing.T, w providers.Writer, path, metadata string) []string {
	t.Helper()
	ctx, heard := providers.Listen(t.Context())
	must(t, w.Write(ctx, providers.Target{Path: path}, providers.NewValue([]byte(testenv.NewCanary(t).Value())), json.RawMessage(metadata)))
	return heard.All()
}

// replicas are where a secret is, each with its key.
func replicas(t *testing.T, r providers.Reader, path string) []string {
	t.Helper()
	made, err := gcp.Describe(t.Context(), r, path)
	must(t, err)
	var all []string
	for _, replica := range made.GetReplication().GetUserManaged().GetReplicas() {
		all = append(all, replica.GetLocation()+" "+replica.GetCustomerManagedEncryption().GetKmsKeyName())
	}
	return all
}

// TestReplication makes secrets at the places that a PushSecret names. Where
// they are, and with which key, stays: what asks for something else is told so.
func TestReplication(t *testing.T) {
	g := server.Get(t)
	refs, _ := keyOf(t, g, testenv.GCPPrincipal{Name: "replicator@team.iam.gserviceaccount.com"})
	const both, older, keyed = `{"replicationLocations":["us-east1","europe-west3"],"cmekKeyName":"k"}`, `{"replicationLocation":"us-east1"}`, `{"cmekKeyName":"k"}`
	regional := byKey()
	regional["location"] = "europe-west3"
	cases := []struct {
		reason, path, metadata string
		regional               bool
		at, told               string // that a warning has in it; empty: there is none
	}{
		{reason: "A secret is made where metadata says.", path: "replicated", metadata: both, at: "us-east1 k,europe-west3 k"},
		{reason: "There it is, in whatever order.", path: "replicated", metadata: `{"replicationLocations":["europe-west3","us-east1"],"cmekKeyName":"k"}`, at: "us-east1 k,europe-west3 k"},
		{reason: "And stays.", path: "replicated", metadata: `{"replicationLocations":["europe-west4"]}`, at: "us-east1 k,europe-west3 k", told: "metadata.replicationLocations: the secret stays at us-east1, europe-west3"},
		{reason: "So does its key.", path: "replicated", metadata: `{"cmekKeyName":"other"}`, at: "us-east1 k,europe-west3 k", told: "metadata.cmekKeyName: the secret keeps the key"},
		{reason: "Nobody has to say it again.", path: "replicated", metadata: `{}`, at: "us-east1 k,europe-west3 k"},
		{reason: "The older field is one place.", path: "replicated-once", metadata: older, at: "us-east1 "},
		{reason: "It is told of, too.", path: "replicated-once", metadata: both, at: "us-east1 ", told: "metadata.replicationLocations: the secret stays at us-east1"},
		{reason: "Google may choose.", path: "replicated-anywhere", metadata: keyed},
		{reason: "A key is known there as well.", path: "replicated-anywhere", metadata: keyed},
		{reason: "Where Google chose, it stays.", path: "replicated-anywhere", metadata: both, told: "the secret stays where Google chose"},
		{reason: "A store with a location says where all of its secrets are.", path: "replicated-here", metadata: both, regional: true, told: "the store has the location europe-west3"},
		{reason: "Its key is that of the secret.", path: "replicated-here", metadata: keyed, regional: true},
		{reason: "And stays as well.", path: "replicated-here", metadata: `{"cmekKeyName":"other"}`, regional: true, told: "metadata.cmekKeyName: the secret keeps the key"},
	}
	for _, tc := range cases {
		settings := byKey()
		if tc.regional {
			settings = regional
		}
		w := open(t, g, settings, refs).(providers.Writer)
		told := strings.Join(push(t, w, tc.path, tc.metadata), "\n")
		if (tc.told == "") != (told == "") || !strings.Contains(told, tc.told) {
			t.Errorf("%s\n%s to %s: told %q, want %q", tc.reason, tc.metadata, tc.path, told, tc.told)
		}
		if got := replicas(t, w, tc.path); strings.Join(got, ",") != tc.at {
			t.Errorf("%s\n%s: got %q, want %q", tc.reason, tc.path, slices.Clip(got), tc.at)
		}
	}
}

// TestIdleSettings has two ways in. As in External Secrets the first counts; here
// the other is told of.
func TestIdleSettings(t *testing.T) {
	g := server.Get(t)
	refs, _ := keyOf(t, g, testenv.GCPPrincipal{Name: "idle@team.iam.gserviceaccount.com"})
	settings := byKey()
	auth := settings["auth"].(map[string]any)
	for _, tc := range []struct{ add, told string }{
		{add: "workloadIdentity", told: "spec.provider.gcpsm.auth.workloadIdentity: it makes no difference: auth.secretRef counts; remove one of them"},
		{add: "workloadIdentityFederation", told: "spec.provider.gcpsm.auth.workloadIdentity: it makes no difference: auth.secretRef counts; remove one of them\n" +
			"spec.provider.gcpsm.auth.workloadIdentityFederation: it makes no difference: auth.secretRef counts; remove one of them"},
	} {
		auth[tc.add] = map[string]any{"serviceAccountRef": map[string]string{"name": "app"}}
		ctx, heard := providers.Listen(t.Context())
		_, err := gcp.New(endpoints(g))(ctx, store(t, settings, refs))
		must(t, err)
		if got := strings.Join(heard.All(), "\n"); got != tc.told {
			t.Errorf("told %q, want %q", got, tc.told)
		}
	}
}
