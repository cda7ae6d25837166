package egress_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/providers/egress"
)

func TestCheck(t *testing.T) {
	refused := []string{
		"169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.0.1", "169.254.255.255", "169.254.169.253", "169.254.169.123",
		"::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "::ffff:169.254.170.2", "::ffff:168.63.129.16", "::ffff:100.100.100.200", "::ffff:0.0.0.0",
		"64:ff9b::a9fe:a9fe", "64:ff9b::169.254.170.2", "64:ff9b::168.63.129.16", "64:ff9b::100.100.100.200", "64:ff9b::192.0.0.192", "64:ff9b::0.0.0.0",
		"64:ff9b:1::a9fe:a9fe", "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1:7:a9:fea9:fe00:7", "2002:a9fe:a9fe::1", "2002:a83f:8110::", "::a9fe:a9fe", "::100.100.100.200",
		"fe80::1", "fe80::1%eth0", "fe80::a9fe:a9fe", "fe80::ffff:ffff:ffff:ffff", "febf::1",
		"fd00:ec2::254", "fd00:ec2::23", "fd00:ec2::254%eth0", "fd20:ce::254", "168.63.129.16", "100.100.100.200", "192.0.0.192",
		"0.0.0.0", "::", "224.0.0.1", "239.255.255.255", "ff02::1", "ff05::1:3", "ff0e::1", "::ffff:224.0.0.1", "64:ff9b::224.0.0.1",
	}
	for _, a := range refused {
		if err := egress.Check(netip.MustParseAddr(a)); !errors.Is(err, egress.ErrRefused) {
			t.Errorf("Check(%s): got %v, want ErrRefused", a, err)
		}
	}
	for _, a := range []string{"10.0.0.1", "127.0.0.1", "::1", "192.0.2.1", "64:ff9b::c000:201", "2001:db8::1", "2002:c000:201::1", "::192.0.2.1", "64:ff9b:1::c000:201", "64:ff9b:1:c000:2:100::"} {
		if err := egress.Check(netip.MustParseAddr(a)); err != nil {
			t.Errorf("Check(%s): got %v, want nil", a, err)
		}
	}
}

func TestDialRefuses(t *testing.T) {
	c := egress.Client(egress.Options{Timeout: time.Second})
	for _, url := range []string{"http://169.254.169.254/latest/meta-data", "http://[::ffff:169.254.169.254]/", "http://2852039166/", "http://[fe80::1]/"} {
		answer, err := c.Get(url)
		if err == nil {
			_ = answer.Body.Close()
			t.Errorf("GET %s: got an answer", url)
			continue
		}
		if strings.Contains(url, "2852039166") {
			continue // no resolver takes it for an address: it is refused as a name
		}
		if !errors.Is(err, egress.ErrRefused) || !strings.Contains(egress.Why(err, time.Second), "link-local") {
			t.Errorf("GET %s: got %v, want ErrRefused", url, err)
		}
	}
}

func TestNoRedirect(t *testing.T) {
	reached := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer other.Close()
	first := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer first.Close()
	answer, err := egress.Client(egress.Options{Timeout: time.Second}).Get(first.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusTemporaryRedirect || reached {
		t.Errorf("a redirect was followed: status %d", answer.StatusCode)
	}
}
