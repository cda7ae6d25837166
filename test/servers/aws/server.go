package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/test/servers/serve"
)

// accountID is the account that everything belongs to.
const accountID = "123456789012"

// server is one AWS account.
type server struct {
	control serve.Control
	keys    *keySet

	mu      sync.Mutex
	regions map[string]*region
	roles   map[string]*role       // by ARN
	access  map[string]*credential // by access key id
}

// region holds what lives in one region.
type region struct {
	name       string
	secrets    map[string]*secret    // by name
	parameters map[string]*parameter // by name
	queues     map[string]*[]*message
}

func newServer(keys *keySet) *server {
	return &server{keys: keys, regions: map[string]*region{}, roles: map[string]*role{}, access: map[string]*credential{}}
}

// region returns the named region; mu is held.
func (s *server) region(name string) *region {
	r := s.regions[name]
	if r == nil {
		r = &region{name: name, secrets: map[string]*secret{}, parameters: map[string]*parameter{}, queues: map[string]*[]*message{}}
		s.regions[name] = r
	}
	return r
}

// call is one request to Secrets Manager or SSM. The server's mu is held.
type call struct {
	*region
	by     *credential
	action string // as a policy names it: secretsmanager:GetSecretValue
}

// operation carries out a call with the JSON body of its request.
type operation func(c *call, body []byte) (any, error)

// op makes an operation of a function with a typed input.
func op[In any](f func(*call, In) (any, error)) operation {
	return func(c *call, body []byte) (any, error) {
		var in In
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, &apiError{Code: "SerializationException", Message: "the body is not what " + c.action + " takes"}
		}
		return f(c, in)
	}
}

// apiError is an error as AWS reports it.
type apiError struct {
	Code, Message string
	Status        int // default 400
}

func (e *apiError) Error() string { return e.Code + ": " + e.Message }

func fail(code, format string, args ...any) error {
	return &apiError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// services maps the prefix of X-Amz-Target to the service's name in a policy
// and its operations.
var services = map[string]struct {
	name       string
	operations map[string]operation
}{
	"secretsmanager": {"secretsmanager", secretsManager},
	"AmazonSSM":      {"ssm", parameterStore},
	"AmazonSQS":      {"sqs", queues},

	"AmazonEC2ContainerRegistry_V20150921": {"ecr", registry},
	"SpencerFrontendService":               {"ecr-public", publicRegistry},
}

// maxBody is the largest request body: a secret has 64 KiB, in base64, and a
// web identity token 20 kB.
const maxBody = 1 << 20

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		writeError(w, &apiError{Code: "RequestEntityTooLargeException", Message: err.Error(), Status: http.StatusRequestEntityTooLarge})
		return
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") || r.URL.Query().Has("Action") {
		s.serveSTS(w, r, body)
		return
	}
	out, err := s.serveJSON(r, body)
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, out)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-Requestid", random(16))
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) //nolint:errchkjson // the client is gone
}

func (s *server) serveJSON(r *http.Request, body []byte) (any, error) {
	prefix, name, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	service, ok := services[prefix]
	run := service.operations[name]
	if !ok || run == nil {
		return nil, fail("UnknownOperationException", "no operation %q here", r.Header.Get("X-Amz-Target"))
	}
	action := service.name + ":" + name
	if f := s.control.Begin(r, action); f != nil {
		return nil, faultError(f)
	}
	carryOut := func() (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		who, scope, err := s.authenticate(r, body)
		if err != nil {
			return nil, err
		}
		if scope.service != service.name {
			return nil, fail("InvalidSignatureException", "Credential should be scoped to correct service: '%s'.", service.name)
		}
		c := &call{region: s.region(scope.region), by: who, action: action}
		out, err := run(c, body)
		if done, ok := out.(written); ok && err == nil {
			c.tell(action, c.secrets[done.Name])
		}
		return out, err
	}
	if name == receiveMessage {
		return s.poll(r, body, carryOut)
	}
	return carryOut()
}

func faultError(f *serve.Fault) *apiError {
	return &apiError{Code: f.Code, Message: "as the test asked for", Status: f.Status}
}

func writeError(w http.ResponseWriter, err error) {
	e := asAPIError(err)
	w.Header().Set("X-Amzn-Errortype", e.Code)
	writeJSON(w, e.Status, map[string]string{"__type": e.Code, "message": e.Message})
}

func asAPIError(err error) apiError {
	var e *apiError
	if !errors.As(err, &e) {
		return apiError{Code: "InternalServiceError", Message: err.Error(), Status: http.StatusInternalServerError}
	}
	out := *e
	if out.Status == 0 {
		out.Status = http.StatusBadRequest
	}
	if out.Code == "" {
		out.Code = "InternalServiceError"
	}
	return out
}

// seconds is how JSON protocols of AWS write a time.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// random returns n random bytes in hexadecimal digits.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
