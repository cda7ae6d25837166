package aws_test

import (
	"encoding/json"
	"testing"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/test/fields"
)

// pushed writes with metadata to a store of a service, which has the secret or
// not, and returns what was sent.
func pushed(service string, empty bool) func(t *testing.T, metadata json.RawMessage) (string, error) {
	return func(t *testing.T, metadata json.RawMessage) (string, error) {
		t.Helper()
		settings := byKey()
		settings["service"] = service
		return (&recorder{empty: empty}).record(t, store(t, settings, nil), func(w providers.Writer) error {
			return w.Write(t.Context(), providers.Target{Path: "/n"}, providers.NewValue([]byte("new")), metadata)
		})
	}
}

// TestMetadata is the inventory of the metadata of a PushSecret.
func TestMetadata(t *testing.T) {
	source := func(field, value string) conformance.Change {
		ref := conformance.Change{"resourcePolicy.policySourceRef.name": "p", "resourcePolicy.policySourceRef.key": "policy.json"}
		ref["resourcePolicy."+field] = value
		return ref
	}
	tables := map[string]conformance.Metadata{
		"SecretsManager": {
			Settings: aws.SecretSettings{},
			Served: map[string]conformance.Change{
				"kmsKeyID": {"kmsKeyID": "alias/a"}, "secretPushFormat": {"secretPushFormat": "string"}, "description": {"description": "d"},
				"tags": {"tags": map[string]string{"team": "a"}}, "replicationLocations": {"replicationLocations": []string{"eu-west-1"}},
				"resourcePolicy.blockPublicPolicy":    {"resourcePolicy.policySourceRef.name": "p", "resourcePolicy.blockPublicPolicy": true},
				"resourcePolicy.policySourceRef.kind": source("policySourceRef.kind", "Secret"),
				"resourcePolicy.policySourceRef.name": source("policySourceRef.name", "other"),
				"resourcePolicy.policySourceRef.key":  source("policySourceRef.key", "other"),
			},
			Refused: map[string]conformance.Change{"secretPushFormat": {"secretPushFormat": "yaml"}},
		},
		"ParameterStore": {
			Settings: aws.ParameterSettings{},
			Served: map[string]conformance.Change{
				"secretType": {"secretType": "SecureString"}, "kmsKeyID": {"secretType": "SecureString", "kmsKeyID": "alias/a"}, "description": {"description": "d"},
				"tags": {"tags": map[string]string{"team": "a"}}, "tier.type": {"tier.type": "Advanced"},
				"tier.policies": {"tier.type": "Advanced", "tier.policies": []any{map[string]string{"Type": "NoChangeNotification"}}},
			},
			Refused: map[string]conformance.Change{"encodeAsDecoded": {"encodeAsDecoded": false}},
		},
	}
	for service, table := range tables {
		t.Run(service, func(t *testing.T) {
			for name, empty := range map[string]bool{"Create": true, "Change": false} {
				t.Run(name, func(t *testing.T) {
					table.Trace = pushed(service, empty)
					table.Test(t)
				})
			}
		})
	}
	if _, err := pushed("ParameterStore", true)(t, json.RawMessage(`{"encodeAsDecoded":true}`)); err != nil {
		t.Errorf("metadata.encodeAsDecoded, which is what is always done: %v", err)
	}
}

// TestRefs is the inventory of remoteRef and find, at both services.
func TestRefs(t *testing.T) {
	a := server.Get(t)
	for service, dir := range map[string]string{"SecretsManager": "inventory/", "ParameterStore": "/inventory/"} {
		t.Run(service, func(t *testing.T) {
			put := func(name, value string, tags map[string]string) {
				t.Helper()
				_, err := a.PutSecret(t.Context(), region, dir+name, value)
				if err == nil && tags != nil {
					err = a.TagSecret(t.Context(), region, dir+name, tags)
				}
				if service == "ParameterStore" {
					if _, err = a.PutParameter(t.Context(), region, dir+name, value); err == nil && tags != nil {
						err = a.TagParameter(t.Context(), region, dir+name, tags)
					}
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			put("ref", `{"p":"old"}`, nil)
			put("ref", `{"p":"cDE=","q":"other","odd/key":"1","zero":"a\u0000b"}`, map[string]string{"team": "a"})
			put("other", `{"p":"cDI="}`, nil)
			put("find/one", "b25l", map[string]string{"team": "a"})
			put("find/two", "dHdv", map[string]string{"team": "b"})
			put("zero/one", "a\x00b", nil)
			refs := conformance.RefTables(dir+"ref", map[string]string{"SecretsManager": "AWSPREVIOUS", "ParameterStore": "1"}[service], dir)
			refs.Values = fields.Values
			refs.Open = func(t *testing.T) providers.Reader {
				t.Helper()
				return writer(t, a, service, &conformance.References{})
			}
			refs.Test(t)
		})
	}
}
