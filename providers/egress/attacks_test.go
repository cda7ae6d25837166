package egress_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/providers/egress"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// resolver makes this process ask a name server of the test, which answers with
// what says returns for a name.
func resolver(t *testing.T, says func(name string) []netip.Addr) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	go func() {
		question := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(question)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(answer(question[:n], says), from)
		}
	}()
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

// answer is that of RFC 1035, section 4, to a question for A or AAAA.
func answer(question []byte, says func(name string) []netip.Addr) []byte {
	var labels []string
	end := 12
	for question[end] != 0 {
		labels = append(labels, string(question[end+1:end+1+int(question[end])]))
		end += 1 + int(question[end])
	}
	kind := binary.BigEndian.Uint16(question[end+1:])
	var records [][]byte
	for _, a := range says(strings.Join(labels, ".")) {
		if a.Is4() == (kind == 1) {
			record := binary.BigEndian.AppendUint16([]byte{0xc0, 12}, kind)
			record = append(record, 0, 1, 0, 0, 0, 0) // IN, not to be kept
			record = binary.BigEndian.AppendUint16(record, uint16(a.BitLen()/8))
			records = append(records, append(record, a.AsSlice()...))
		}
	}
	out := append([]byte{question[0], question[1], 0x81, 0x80, 0, 1, 0, byte(len(records)), 0, 0, 0, 0}, question[12:end+5]...)
	for _, record := range records {
		out = append(out, record...)
	}
	return out
}

// TestK9Forms spells the metadata address in every form that some resolver or
// parser takes. The name server gives that address for whatever is asked as a
// name, as the resolvers of some systems do.
func TestK9Forms(t *testing.T) {
	resolver(t, func(string) []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("fd00:ec2::254")}
	})
	hosts := []string{
		"169.254.169.254", "169.254.169.254.", "2852039166", "0xa9fea9fe", "0XA9FEA9FE", "025177524776", "0251.0376.0251.0376", "0xa9.0xfe.0xa9.0xfe",
		"0xa9.254.169.254", "169.254.43518", "169.16689662", "0251.254.169.254", "169.0xfe.0251.254", "0000251.00376.000251.0000376", "169.254.169.0376",
		"[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[0:0:0:0:0:ffff:a9fe:a9fe]", "[0000:0000:0000:0000:0000:ffff:a9fe:a9fe]", "[::a9fe:a9fe]", "[::169.254.169.254]",
		"[64:ff9b::a9fe:a9fe]", "[64:ff9b::169.254.169.254]", "[64:ff9b:1::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "[2002:a9fe:a9fe::1]",
		"[fd00:ec2::254]", "[fd00:0ec2:0:0:0:0:0:254]", "[fd20:ce::254]", "[fe80::1]", "[fe80::a9fe:a9fe]", "[fe80::1%25lo]", "[::]", "0.0.0.0", "[ff02::1]",
		"metadata.google.internal", "metadata.google.internal.", "instance-data", "169.254.169.254.nip.io", "METADATA.example.com", "xn--metadata-9d4c.example.com",
		"168.63.129.16", "100.100.100.200", "192.0.0.192", "169.254.170.2", "169.254.170.23",
	}
	c := egress.Client(egress.Options{Timeout: 10 * time.Second})
	for _, host := range hosts {
		got, err := c.Get("http://" + host + "/latest/meta-data/")
		if err == nil {
			_ = got.Body.Close()
		}
		// Numbers are no name to the resolver of Go, and none is looked up.
		var unknown *net.DNSError
		if number := strings.Trim(host, "0123456789.") == ""; !errors.Is(err, egress.ErrRefused) && (!number || !errors.As(err, &unknown)) {
			t.Errorf("%s: got %v, want ErrRefused", host, err)
		}
	}
	if len(hosts) < 40 {
		t.Errorf("%d forms, want 40", len(hosts))
	}
}

// TestK9Rebinding has a name that is good when it is looked at, and that of a
// metadata service when it is used; and one that is both at once.
func TestK9Rebinding(t *testing.T) {
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	loopback, metadata := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("169.254.169.254")
	var mu sync.Mutex
	asked := 0
	resolver(t, func(name string) []netip.Addr {
		mu.Lock()
		defer mu.Unlock()
		if asked++; strings.HasPrefix(name, "both") {
			return []netip.Addr{metadata, loopback}
		}
		if asked <= 2 { // A and AAAA
			return []netip.Addr{loopback}
		}
		return []netip.Addr{metadata}
	})
	c := egress.Client(egress.Options{Timeout: 10 * time.Second})
	get := func(host string) error {
		c.CloseIdleConnections()
		got, err := c.Get("http://" + net.JoinHostPort(host, port))
		if err == nil {
			_ = got.Body.Close()
		}
		return err
	}
	if err := get("rebinds.example.com"); err != nil || served.Load() != 1 {
		t.Fatalf("the first time: %v, %d requests served", err, served.Load())
	}
	if err := get("rebinds.example.com"); !errors.Is(err, egress.ErrRefused) || served.Load() != 1 {
		t.Errorf("the second time: got %v, want ErrRefused; %d requests served", err, served.Load())
	}
	if err := get("both.example.com"); err != nil || served.Load() != 2 {
		t.Errorf("an address of two that may be used: %v, %d requests served", err, served.Load())
	}
}

// TestK8Redirects has a server that names every kind of elsewhere. Nobody there
// hears of the credentials, or of the body.
func TestK8Redirects(t *testing.T) {
	canary := testenv.NewCanary(t)
	var heard sync.Map
	thief := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { heard.Store(r.Host+r.URL.Path, true) })
	plain, secure := httptest.NewServer(thief), httptest.NewTLSServer(thief)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	to := ""
	code := http.StatusTemporaryRedirect
	first := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(code)
	}))
	t.Cleanup(first.Close)
	c := egress.Client(egress.Options{Timeout: 10 * time.Second, Roots: first.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
	_, port, _ := net.SplitHostPort(plain.Listener.Addr().String())
	shapes := map[string]string{
		"Scheme": plain.URL + "/scheme", "Port": secure.URL + "/port", "Host": "http://localhost:" + port + "/host", "Relative": "//localhost:" + port + "/relative",
		"UserInfo": "http://user:password@127.0.0.1:" + port + "/userinfo", "Metadata": "http://169.254.169.254/latest/meta-data/", "File": "file:///etc/passwd", "SamePlace": first.URL + "/again",
	}
	for name, shape := range shapes {
		for _, code = range []int{301, 302, 303, 307, 308} {
			to = shape
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, first.URL, strings.NewReader(url.Values{"password": {canary.Value()}}.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+canary.Value())
			got, err := c.Do(request)
			if err != nil {
				t.Errorf("%s: %d: %v", name, code, err)
				continue
			}
			_ = got.Body.Close()
			if got.StatusCode != code {
				t.Errorf("%s: %d was followed, to a status %d", name, code, got.StatusCode)
			}
		}
	}
	heard.Range(func(where, _ any) bool {
		t.Errorf("a redirect was followed to %s", where)
		return true
	})
}

// TestProxyOfTheEnvironment wants no proxy to see where a store is, or what goes
// there: variables of the controller's environment are not the store's.
func TestProxyOfTheEnvironment(t *testing.T) {
	var seen atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen.Add(1) }))
	t.Cleanup(proxy.Close)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	t.Setenv("NO_PROXY", "")
	t.Setenv("no_proxy", "")
	resolver(t, func(string) []netip.Addr { return nil })
	c := egress.Client(egress.Options{Timeout: 10 * time.Second})
	for _, at := range []string{"http://store.example.com/", "https://store.example.com/"} {
		got, err := c.Get(at)
		if err == nil {
			_ = got.Body.Close()
			t.Errorf("GET %s: got an answer", at)
		}
	}
	if seen.Load() > 0 {
		t.Errorf("the proxy saw %d requests", seen.Load())
	}
	if c.Transport.(*http.Transport).Proxy != nil {
		t.Error("the client has a proxy") // the environment is read once in a process: it could have been earlier
	}
}
