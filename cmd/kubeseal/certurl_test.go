package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// --cert takes an address, and the proxies of the environment are asked, as with
// the genuine kubeseal.
func TestCertURL(t *testing.T) {
	theirs, mine, files := genuine(t), built(t), folder(t)
	cert, err := os.ReadFile(filepath.Join(files, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Value
	asked.Store("")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.String())
		if strings.HasSuffix(r.URL.Path, "/v1/cert.pem") {
			_, _ = w.Write(cert)
			return
		}
		http.NotFound(w, r)
	}))
	defer server.Close()
	for name, r := range map[string]row{
		"HTTP":      {stdin: plainSecret, args: []string{"--cert", server.URL + "/v1/cert.pem"}},
		"Missing":   {stdin: plainSecret, args: []string{"--cert", server.URL + "/none"}},
		"File":      {stdin: plainSecret, args: []string{"--cert", "file://" + filepath.Join(files, "cert.pem")}},
		"FileGone":  {stdin: plainSecret, args: []string{"--cert", "file:///none/cert.pem"}},
		"FetchCert": {args: []string{"--cert", server.URL + "/v1/cert.pem", "--fetch-cert"}},
		"Env":       {stdin: plainSecret, env: []string{"SEALED_SECRETS_CERT=" + server.URL + "/v1/cert.pem"}},
		"Proxy":     {stdin: plainSecret, env: []string{"http_proxy=" + server.URL}, args: []string{"--cert", "http://sealing.example/v1/cert.pem"}},
	} {
		t.Run(name, func(t *testing.T) {
			want := r.run(t, theirs, files)
			wanted := asked.Swap("")
			got := r.run(t, mine, files)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-genuine +ours):\n%s", diff)
			}
			if asked := asked.Swap(""); asked != wanted {
				t.Errorf("the server was asked for %q, and by the genuine one for %q", asked, wanted)
			}
		})
	}
}
