package webhook_test

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"golang.org/x/crypto/md4" //nolint:staticcheck // as above

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/webhook"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// windows is a server that lets in a connection whose user answers a challenge
// as MS-NLMP, section 3.3.2, says.
type windows struct {
	user, domain, password string
	basic                  bool // asks for the password in place of an answer
	breaks                 bool // ends the connection in place of a challenge

	mu      sync.Mutex
	sent    []string          // what came, without blobs
	invited map[string][]byte // challenges by connection
}

// serve starts w.
func (w *windows) serve(t *testing.T) *httptest.Server {
	t.Helper()
	w.invited = map[string][]byte{}
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	return server
}

func (w *windows) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	body, _ := io.ReadAll(r.Body) // a body that is cut off is no good one
	scheme, blob, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	w.sent = append(w.sent, strings.Join(strings.Fields(r.Method+" "+scheme+" "+string(body)), " "))
	message, err := base64.StdEncoding.DecodeString(blob)
	switch {
	case w.basic:
		out.Header().Set("WWW-Authenticate", "Basic")
	case err != nil || len(message) < 12 || scheme != "NTLM":
		out.Header().Set("WWW-Authenticate", "NTLM")
	case message[8] == 1 && w.breaks:
		panic(http.ErrAbortHandler)
	case message[8] == 1:
		w.invited[r.RemoteAddr] = []byte("8 random")
		out.Header().Set("WWW-Authenticate", "NTLM "+base64.StdEncoding.EncodeToString(challenge(w.invited[r.RemoteAddr])))
	case message[8] == 3 && w.right(message, w.invited[r.RemoteAddr]):
		delete(w.invited, r.RemoteAddr)
		fmt.Fprint(out, `{"items":[{"value":"opened"}]}`)
		return
	}
	out.WriteHeader(http.StatusUnauthorized)
}

// challenge is a CHALLENGE_MESSAGE: Unicode, NTLM, target information that is
// empty but for its end.
func challenge(random []byte) []byte {
	m := append([]byte("NTLMSSP\x00"), 2, 0, 0, 0)
	m = append(m, make([]byte, 8)...) // no name of the target
	m = binary.LittleEndian.AppendUint32(m, 1|1<<9|1<<23)
	m = append(append(m, random...), make([]byte, 8)...)
	m = append(m, 4, 0, 4, 0, 48, 0, 0, 0)
	return append(m, 0, 0, 0, 0)
}

// field is the one that an AUTHENTICATE_MESSAGE describes at an offset.
func field(m []byte, at int) []byte {
	if len(m) < at+8 {
		return nil
	}
	n, from := int(binary.LittleEndian.Uint16(m[at:])), int(binary.LittleEndian.Uint32(m[at+4:]))
	if from+n > len(m) {
		return nil
	}
	return m[from : from+n]
}

func wide(text string) (out []byte) {
	for _, unit := range utf16.Encode([]rune(text)) {
		out = binary.LittleEndian.AppendUint16(out, unit)
	}
	return out
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(md5.New, key)
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}

// right reports whether a message answers the challenge of its connection.
func (w *windows) right(m, random []byte) bool {
	answer := field(m, 20)
	if random == nil || len(answer) < 16 || string(field(m, 28)) != string(wide(w.domain)) || string(field(m, 36)) != string(wide(w.user)) {
		return false
	}
	h := md4.New()
	_, _ = h.Write(wide(w.password)) // it never fails
	key := mac(h.Sum(nil), wide(strings.ToUpper(w.user)), wide(w.domain))
	return hmac.Equal(answer[:16], mac(key, random, answer[16:]))
}

// asWindowsUser are the settings of a store with a user of Windows.
func asWindowsUser(url string) map[string]any {
	with := settings(url)
	delete(with, "headers")
	with["result"] = map[string]string{"jsonPath": "$.items[0].value"}
	with["url"], with["method"], with["body"] = url+"/read", "POST", "key={{ .remoteRef.key }}"
	with["auth"] = map[string]any{"ntlm": map[string]any{
		"usernameSecret": map[string]string{"name": "w", "key": "user"}, "passwordSecret": map[string]string{"name": "w", "key": "password"}}}
	return with
}

func TestNTLM(t *testing.T) {
	canary := testenv.NewCanary(t)
	refs := references()
	refs.Set("w", "user", `CORP\ada`+"\n")
	refs.Set("w", "password", canary.Value()+"\n")
	for name, tc := range map[string]struct {
		reason string
		server *windows
		want   error
		sent   string
	}{
		"Right": {"Who answers the challenge is let in.", &windows{user: "ada", domain: "CORP", password: canary.Value()}, nil, "POST key=app|POST NTLM key=app|POST NTLM key=app"},
		"Wrong": {"Who has another password is not.", &windows{user: "ada", domain: "CORP", password: "other"}, providers.ErrDenied, "POST key=app|POST NTLM key=app|POST NTLM key=app"},
		"User":  {"Neither is someone else.", &windows{user: "bob", domain: "CORP", password: canary.Value()}, providers.ErrDenied, "POST key=app|POST NTLM key=app|POST NTLM key=app"},
		"Basic": {"A server that wants the password does not get it.", &windows{basic: true}, providers.ErrDenied, "POST key=app"},
		"Ends":  {"A server that goes away has refused nobody.", &windows{breaks: true}, providers.ErrUnavailable, "POST key=app|POST NTLM key=app"},
	} {
		t.Run(name, func(t *testing.T) {
			server := tc.server.serve(t)
			r, err := webhook.Open(t.Context(), store(t, asWindowsUser(server.URL), refs))
			if err != nil {
				t.Fatal(err)
			}
			v, err := r.Read(t.Context(), providers.Ref{Path: "app"})
			if !errors.Is(err, tc.want) || err == nil && string(v.Bytes()) != "opened" || err != nil && strings.Contains(err.Error(), canary.Value()) {
				t.Errorf("%s\nRead: got %d bytes, %v, want %v", tc.reason, len(v.Bytes()), err, tc.want)
			}
			tc.server.mu.Lock()
			defer tc.server.mu.Unlock()
			if got := strings.Join(tc.server.sent, "|"); got != tc.sent {
				t.Errorf("%s\nthe server got %q, want %q", tc.reason, got, tc.sent)
			}
		})
	}
}

// TestNTLMChanges wants a new password to be used, each read to have one
// connection, which ends.
func TestNTLMChanges(t *testing.T) {
	w := &windows{user: "ada@corp.example.com", password: "first"}
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	w.invited = map[string][]byte{}
	server := httptest.NewUnstartedServer(w)
	conns := 0
	ended := make(chan struct{}, 10)
	server.Config.ConnState = func(c net.Conn, s http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		switch s { //nolint:exhaustive // what begins and ends
		case http.StateNew:
			open[c], conns = true, conns+1
		case http.StateClosed:
			delete(open, c)
			ended <- struct{}{}
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	refs := references()
	refs.Set("w", "user", w.user)
	r, err := webhook.Open(t.Context(), store(t, asWindowsUser(server.URL), refs))
	if !errors.Is(err, providers.ErrInvalid) || r != nil {
		t.Fatalf("Open without a password: got %v, want ErrInvalid", err)
	}
	refs.Set("w", "password", "first")
	r, err = webhook.Open(t.Context(), store(t, asWindowsUser(server.URL), refs))
	if err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{"first", "second"} {
		refs.Set("w", "password", password)
		w.mu.Lock()
		w.password = password
		w.mu.Unlock()
		if _, err := r.Read(t.Context(), providers.Ref{Path: "app"}); err != nil {
			t.Errorf("Read with the %s password: %v", password, err)
		}
	}
	for range 2 {
		<-ended
	}
	mu.Lock()
	defer mu.Unlock()
	if conns != 2 || len(open) != 0 {
		t.Errorf("two reads took %d connections, of which %d stay, want 2 and 0", conns, len(open))
	}
}

// TestNTLMFaults has a server of NTLM fail.
func TestNTLMFaults(t *testing.T) {
	conformance.TestFaults(t, conformance.Faulty{
		Open: func(t *testing.T, server *httptest.Server) (providers.Reader, providers.Ref, string) {
			t.Helper()
			refs := references()
			refs.Set("w", "user", "ada")
			refs.Set("w", "password", "password-of-the-test")
			with := asWindowsUser(server.URL)
			with["timeout"] = "2s"
			r, err := webhook.Open(t.Context(), store(t, with, refs))
			if err != nil {
				t.Fatal(err)
			}
			return r, providers.Ref{Path: "app"}, "password-of-the-test"
		},
		Any404: true, Hangs: 3 * time.Second,
	})
}
