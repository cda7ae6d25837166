package testenv_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

var awsServer = testenv.Share(func(t testing.TB) (*testenv.AWS, error) {
	return testenv.StartAWS(t.Context(), testenv.AWSOptions{})
})

func TestAWSRefusesWhatIsNotSigned(t *testing.T) {
	aws := awsServer.Get(t)
	if _, err := aws.PutSecret(t.Context(), "eu-central-1", "unsigned", "value"); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(aws.CA) {
		t.Fatal("CA: no certificate in it")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, aws.Address(), strings.NewReader(`{"SecretId":"unsigned"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Amz-Target", "secretsmanager.GetSecretValue")
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusBadRequest || !bytes.Contains(body, []byte("MissingAuthenticationTokenException")) {
		t.Errorf("unsigned GetSecretValue: got %s %s, %v", answer.Status, body, err)
	}
	counts, err := aws.Counts(t.Context())
	if err != nil || counts["secretsmanager:GetSecretValue"] != 1 {
		t.Errorf("Counts: got %v, %v, want one secretsmanager:GetSecretValue", counts, err)
	}
}
