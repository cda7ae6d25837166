package decrypt_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/getsops/sops/v3/azkv"
	"github.com/getsops/sops/v3/gcpkms"
	"github.com/getsops/sops/v3/kms"
	"github.com/golang-jwt/jwt/v5"

	"github.com/lockstep-dev/lockstep/reconciler/decrypt"
	"github.com/lockstep-dev/lockstep/reconciler/decrypt/testkit"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// cloud is a key service of any of the three clouds: it knows who may use the
// one key that it has.
type cloud struct {
	*httptest.Server
	key  *rsa.PrivateKey // signs for the caller, and is the key of Azure
	aead cipher.AEAD     // is the key of AWS and of Google
	// what the cloud was told
	exchanged []string
}

func startCloud(t *testing.T) *cloud {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(testkit.Random(t))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{key: key, aead: aead}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /kms", c.amazon)
	mux.HandleFunc("POST /sts", c.amazonSTS)
	mux.HandleFunc("POST /sts/", c.amazonSTS)
	mux.HandleFunc("POST /google/v1/{name...}", c.google)
	mux.HandleFunc("POST /googlests/v1/token", c.googleSTS)
	mux.HandleFunc("GET /tenant/v2.0/.well-known/openid-configuration", c.discovery)
	mux.HandleFunc("POST /tenant/oauth2/v2.0/token", c.azureToken)
	mux.HandleFunc("POST /vault/keys/main/v1/decrypt", c.azure)
	c.Server = httptest.NewTLSServer(mux)
	t.Cleanup(c.Close)
	return c
}

func (c *cloud) settings() *decrypt.Settings {
	return &decrypt.Settings{HTTP: c.Client(), KMS: c.URL + "/kms", STS: c.URL + "/sts", GoogleKMS: c.URL + "/google", GoogleSTS: c.URL + "/googlests", AzureLogin: c.URL, KeyVault: c.URL + "/vault"}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) //nolint:errchkjson // the client is gone, or the test sees an empty answer
}

func (c *cloud) wrap(key []byte, context string) []byte {
	nonce := make([]byte, c.aead.NonceSize())
	_, _ = rand.Read(nonce) // it never fails
	return c.aead.Seal(nonce, nonce, key, []byte(context))
}

func (c *cloud) unwrap(wrapped []byte, context string) ([]byte, error) {
	if len(wrapped) < c.aead.NonceSize() {
		return nil, errors.New("too short")
	}
	return c.aead.Open(nil, wrapped[:c.aead.NonceSize()], wrapped[c.aead.NonceSize():], []byte(context))
}

const (
	arn       = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
	resource  = "projects/p/locations/global/keyRings/r/cryptoKeys/k"
	awsID     = "AKIDEXAMPLE"
	awsSecret = "aws-secret-access-key"
)

// signed verifies a signature of version 4 by making it anew.
func signed(r *http.Request, body []byte, secret, token, service string) bool {
	copied, err := http.NewRequest(r.Method, "https://"+r.Host+r.URL.String(), bytes.NewReader(body))
	if err != nil {
		return false
	}
	_, list, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	list, _, _ = strings.Cut(list, ",")
	for name := range strings.SplitSeq(list, ";") {
		if name != "host" && name != "content-length" {
			copied.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	sum := sha256.Sum256(body)
	if err != nil || v4.NewSigner().SignHTTP(r.Context(), aws.Credentials{AccessKeyID: awsID, SecretAccessKey: secret, SessionToken: token}, copied, fmt.Sprintf("%x", sum), service, "eu-central-1", at) != nil {
		return false
	}
	return copied.Header.Get("Authorization") == r.Header.Get("Authorization")
}

// amazon serves Encrypt and Decrypt.
// Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html
func (c *cloud) amazon(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if !signed(r, body, awsSecret, "", "kms") && !signed(r, body, "session-secret", "session", "kms") {
		answer(w, http.StatusBadRequest, map[string]string{"__type": "AccessDeniedException", "message": string(body)})
		return
	}
	var in struct {
		KeyID             string            `json:"KeyId"`
		Plaintext         []byte            `json:"Plaintext"`
		CiphertextBlob    []byte            `json:"CiphertextBlob"`
		EncryptionContext map[string]string `json:"EncryptionContext"`
	}
	if json.Unmarshal(body, &in) != nil || in.KeyID != arn {
		answer(w, http.StatusBadRequest, map[string]string{"__type": "NotFoundException"})
		return
	}
	context := fmt.Sprint(in.EncryptionContext)
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".Encrypt") {
		answer(w, http.StatusOK, map[string]any{"KeyId": arn, "CiphertextBlob": c.wrap(in.Plaintext, context)})
		return
	}
	plain, err := c.unwrap(in.CiphertextBlob, context)
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"__type": "InvalidCiphertextException"})
		return
	}
	answer(w, http.StatusOK, map[string]any{"KeyId": arn, "Plaintext": plain})
}

// amazonSTS gives a session for a web identity token, or for the credentials.
func (c *cloud) amazonSTS(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm() // what is not there is empty
	c.exchanged = append(c.exchanged, r.Form.Get("Action")+" "+r.Form.Get("RoleArn")+" "+r.Form.Get("WebIdentityToken"))
	action := r.Form.Get("Action")
	fmt.Fprintf(w, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult><Credentials><AccessKeyId>%[2]s</AccessKeyId><SecretAccessKey>session-secret</SecretAccessKey><SessionToken>session</SessionToken><Expiration>%[3]s</Expiration></Credentials></%[1]sResult></%[1]sResponse>`,
		action, awsID, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

// google serves projects.locations.keyRings.cryptoKeys.decrypt.
func (c *cloud) google(w http.ResponseWriter, r *http.Request) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	_, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return c.key.Public(), nil }, jwt.WithIssuer("sa@p.iam.gserviceaccount.com"))
	if err != nil && token != "federated" {
		answer(w, http.StatusForbidden, map[string]string{"error": token})
		return
	}
	var in struct {
		Ciphertext []byte `json:"ciphertext"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.PathValue("name") != resource+":decrypt" {
		answer(w, http.StatusNotFound, nil)
		return
	}
	plain, err := c.unwrap(in.Ciphertext, "")
	if err != nil {
		answer(w, http.StatusBadRequest, nil)
		return
	}
	answer(w, http.StatusOK, map[string]any{"plaintext": plain})
}

func (c *cloud) googleSTS(w http.ResponseWriter, r *http.Request) {
	var in map[string]string
	_ = json.NewDecoder(r.Body).Decode(&in) // what is not there is empty
	c.exchanged = append(c.exchanged, in["audience"]+" "+in["subjectToken"])
	answer(w, http.StatusOK, map[string]string{"access_token": "federated"})
}

func (c *cloud) discovery(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"token_endpoint": c.URL + "/tenant/oauth2/v2.0/token", "authorization_endpoint": c.URL + "/a", "issuer": c.URL + "/tenant/v2.0"})
}

func (c *cloud) azureToken(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm() // what is not there is empty
	known := r.Form.Get("client_secret") == "azure-client-secret" || r.Form.Get("client_assertion") == "token-for:api://AzureADTokenExchange"
	if !known || r.Form.Get("client_id") != "client" || !strings.HasPrefix(r.Form.Get("scope"), "https://vault.azure.net/.default") {
		answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		return
	}
	c.exchanged = append(c.exchanged, r.Form.Get("client_assertion"))
	answer(w, http.StatusOK, map[string]any{"access_token": "azure-token", "token_type": "Bearer", "expires_in": 3600})
}

func (c *cloud) azure(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Alg   string `json:"alg"`
		Value string `json:"value"`
	}
	err := json.NewDecoder(r.Body).Decode(&in)
	if err != nil || r.Header.Get("Authorization") != "Bearer azure-token" || in.Alg != "RSA-OAEP-256" || r.URL.Query().Get("api-version") == "" {
		answer(w, http.StatusForbidden, nil)
		return
	}
	raw, err := base64.RawURLEncoding.DecodeString(in.Value)
	if err != nil {
		answer(w, http.StatusBadRequest, nil)
		return
	}
	plain, err := c.key.Decrypt(rand.Reader, raw, &rsa.OAEPOptions{Hash: crypto.SHA256})
	if err != nil {
		answer(w, http.StatusBadRequest, nil)
		return
	}
	answer(w, http.StatusOK, map[string]string{"value": base64.RawURLEncoding.EncodeToString(plain)})
}

// files are encrypted for one cloud each.
func (c *cloud) files(t *testing.T, plain, role string) map[string][]byte {
	t.Helper()
	key := testkit.Random(t)
	t.Setenv("AWS_ENDPOINT_URL_KMS", c.URL+"/kms")
	t.Setenv("AWS_CA_BUNDLE", "") // the library refuses it with a client
	env := "prod"
	amazon := kms.NewMasterKey(arn, "", map[string]*string{"env": &env})
	kms.NewCredentialsProvider(credentials.NewStaticCredentialsProvider(awsID, awsSecret, "")).ApplyToMasterKey(amazon)
	kms.NewHTTPClient(c.Client()).ApplyToMasterKey(amazon)
	if err := amazon.Encrypt(key); err != nil {
		t.Fatal(err)
	}
	amazon.Role = role
	google := gcpkms.NewMasterKeyFromResourceID(resource)
	google.EncryptedKey = base64.StdEncoding.EncodeToString(c.wrap(key, ""))
	azure := azkv.NewMasterKey("https://example.vault.azure.net", "main", "v1")
	wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &c.key.PublicKey, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	azure.EncryptedKey = base64.RawURLEncoding.EncodeToString(wrapped)
	return map[string][]byte{
		"aws":    testkit.Sealer{Store: "yaml", Groups: testkit.Group(amazon), Key: key}.Seal(t, plain),
		"google": testkit.Sealer{Store: "yaml", Groups: testkit.Group(google), Key: key}.Seal(t, plain),
		"azure":  testkit.Sealer{Store: "yaml", Groups: testkit.Group(azure), Key: key}.Seal(t, plain),
	}
}

// secrets are the static credentials of each cloud.
func (c *cloud) secrets(t *testing.T) map[string]map[string]string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		t.Fatal(err)
	}
	account, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "sa@p.iam.gserviceaccount.com", "private_key_id": "1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": "https://thief.example.com/",
	})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]map[string]string{
		"aws":    {"sops.aws-kms": "aws_access_key_id: " + awsID + "\naws_secret_access_key: " + awsSecret + "\n"},
		"google": {"sops.gcp-kms": string(account)},
		"azure":  {"sops.azure-kv": "tenantId: tenant\nclientId: client\nclientSecret: azure-client-secret\nauthorityHost: " + c.URL + "\n"},
	}
}

func TestClouds(t *testing.T) {
	canary := testenv.NewCanary(t)
	c := startCloud(t)
	secrets := c.secrets(t)
	for name, sealed := range c.files(t, "password: "+canary.Value()+"\n", "") {
		t.Run(name, func(t *testing.T) {
			got, err := open(t, secrets[name], c.settings()).Open("s.yaml", sealed)
			if err != nil || !strings.Contains(string(got), canary.Value()) {
				t.Fatalf("open: %v", err)
			}
			_, err = open(t, map[string]string{"a.agekey": identity(t)}, c.settings()).Open("s.yaml", sealed)
			if err == nil || !strings.Contains(err.Error(), "no credentials") {
				t.Errorf("without credentials: %v", err)
			}
			wrong := map[string]string{}
			for k, v := range secrets[name] {
				wrong[k] = strings.NewReplacer(awsSecret, "wrong", "azure-client-secret", "wrong", "sa@p", "other@p").Replace(v)
			}
			_, err = open(t, wrong, c.settings()).Open("s.yaml", sealed)
			if err == nil || strings.Contains(err.Error(), "wrong") || strings.Contains(err.Error(), "eyJ") {
				t.Errorf("with wrong credentials: %v", err)
			}
		})
	}
}

func TestWorkloadIdentity(t *testing.T) {
	c := startCloud(t)
	files := c.files(t, "a: b\n", "")
	for name, annotations := range map[string]map[string]string{
		"aws":    {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/sops"},
		"google": {"gcp.auth.fluxcd.io/workload-identity-provider": "projects/1/locations/global/workloadIdentityPools/p/providers/q"},
		"azure":  {"azure.workload.identity/tenant-id": "tenant", "azure.workload.identity/client-id": "client"},
	} {
		t.Run(name, func(t *testing.T) {
			keys := &decrypt.Keys{Identity: &decrypt.Identity{Annotations: annotations, Token: func(_ context.Context, audience string) (string, error) {
				return "token-for:" + audience, nil
			}}}
			if _, err := decrypt.New(t.Context(), keys, c.settings()).Open("s.yaml", files[name]); err != nil {
				t.Fatal(err)
			}
			if len(c.exchanged) == 0 {
				t.Fatal("the cloud was given no token of the account")
			}
			if last := c.exchanged[len(c.exchanged)-1]; !strings.Contains(last, "token-for:") {
				t.Errorf("the cloud got %q", last)
			}
			keys.Identity.Annotations = nil
			if _, err := decrypt.New(t.Context(), keys, c.settings()).Open("s.yaml", files[name]); err == nil || !strings.Contains(err.Error(), "annotation") {
				t.Errorf("without annotations: %v", err)
			}
		})
	}
}

func TestRoleOfTheFile(t *testing.T) {
	c := startCloud(t)
	const role = "arn:aws:iam::123456789012:role/reader"
	sealed := c.files(t, "a: b\n", role)["aws"]
	if _, err := open(t, c.secrets(t)["aws"], c.settings()).Open("s.yaml", sealed); err != nil {
		t.Fatal(err)
	}
	if len(c.exchanged) != 1 || !strings.Contains(c.exchanged[0], "AssumeRole "+role) {
		t.Errorf("STS got %q", c.exchanged)
	}
}

// TestKeyVaultAddress has a file name addresses that are not Azure's.
func TestKeyVaultAddress(t *testing.T) {
	c := startCloud(t)
	settings := c.settings()
	settings.KeyVault = ""
	for _, address := range []string{
		c.URL, "https://vault.azure.net.example.com", "https://examplevault.azure.net", "http://example.vault.azure.net",
		"https://a.b.vault.azure.net", "https://user@example.vault.azure.net", "https://example.vault.azure.net:8443", "https://.vault.azure.net",
	} {
		key := azkv.NewMasterKey(address, "main", "v1")
		key.EncryptedKey = "AAAA"
		_, err := open(t, c.secrets(t)["azure"], settings).Open("s.yaml", testkit.Sealer{Store: "yaml", Groups: testkit.Group(key), Key: testkit.Random(t)}.Seal(t, "a: b\n"))
		if err == nil || !strings.Contains(err.Error(), "address") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestDeadServiceIsAskedOnce has many files that are encrypted with a service
// that does not answer.
func TestDeadServiceIsAskedOnce(t *testing.T) {
	c := startCloud(t)
	sealed := c.files(t, "a: b\n", "")["google"]
	o := open(t, c.secrets(t)["google"], c.settings())
	c.Close()
	begin := time.Now()
	for i := range 50 {
		if _, err := o.Open(fmt.Sprintf("%d.yaml", i), sealed); err == nil || !strings.Contains(err.Error(), "does not answer") {
			t.Fatalf("file %d: %v", i, err)
		}
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("50 files took %s", took)
	}
}
