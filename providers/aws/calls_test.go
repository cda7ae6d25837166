package aws

import (
	"net/http"
	"testing"
)

func TestCallName(t *testing.T) {
	for target, want := range map[string][2]string{
		"secretsmanager.BatchGetSecretValue": {"AWS/SecretsManager", "BatchGetSecretValue"},
		"AmazonSSM.GetParameters":            {"AWS/ParameterStore", "GetParameters"},
		"AmazonSQS.ReceiveMessage":           {"", "ReceiveMessage"},
		"":                                   {"", ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://aws.example.com", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Target", target)
		if service, call := callName(r); service != want[0] || call != want[1] {
			t.Errorf("%q: got %s %s, want %v", target, service, call, want)
		}
	}
}
