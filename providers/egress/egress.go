// Package egress makes connections to the services that stores name, and
// refuses those that no store has any business with: the metadata service of
// the machine, which gives its identity to whoever asks, and what else is
// reachable on the local link only.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// ErrRefused says that an address must not be connected to.
var ErrRefused = errors.New("link-local and metadata addresses are not connected to")

// dialTimeout is how long a connection may take to come about.
const dialTimeout = 5 * time.Second

// metadata are the addresses of metadata services that are not link-local.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),   // AWS, https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
	netip.MustParseAddr("fd00:ec2::23"),    // EKS Pod Identity
	netip.MustParseAddr("fd20:ce::254"),    // Google Cloud, https://cloud.google.com/compute/docs/metadata/overview
	netip.MustParseAddr("168.63.129.16"),   // Azure, https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
	netip.MustParseAddr("100.100.100.200"), // Alibaba Cloud
	netip.MustParseAddr("192.0.0.192"),     // Oracle Cloud
}

// embeddings are the prefixes behind which an address of IPv4 stands within one
// of IPv6, and which bytes it may be: a translator's own prefix may end at 48,
// 56, 64 or 96 bits.
var embeddings = map[netip.Prefix][][4]int{
	netip.MustParsePrefix("64:ff9b::/96"):   {{12, 13, 14, 15}},                                                 // RFC 6052, section 2.1
	netip.MustParsePrefix("64:ff9b:1::/48"): {{6, 7, 9, 10}, {7, 9, 10, 11}, {9, 10, 11, 12}, {12, 13, 14, 15}}, // RFC 8215; RFC 6052, section 2.2
	netip.MustParsePrefix("2002::/16"):      {{2, 3, 4, 5}},                                                     // 6to4, RFC 3056
	netip.MustParsePrefix("::/96"):          {{12, 13, 14, 15}},                                                 // RFC 4291, section 2.5.5.1
}

// Check returns ErrRefused if no store may connect to address.
func Check(address netip.Addr) error {
	a := address.Unmap().WithZone("")
	if refused(a) {
		return fmt.Errorf("%w: %s", ErrRefused, address)
	}
	if !a.Is6() || a.IsLoopback() {
		return nil
	}
	b := a.As16()
	for prefix, places := range embeddings {
		for _, p := range places {
			four := netip.AddrFrom4([4]byte{b[p[0]], b[p[1]], b[p[2]], b[p[3]]})
			elsewhere := len(places) > 1 && four.IsUnspecified() // zeros fill up what another length leaves
			if prefix.Contains(a) && !elsewhere && refused(four) {
				return fmt.Errorf("%w: %s", ErrRefused, address)
			}
		}
	}
	return nil
}

func refused(a netip.Addr) bool {
	return a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || slices.Contains(metadata, a)
}

// Dial connects as net.Dialer does. Unless linkLocal, it refuses what Check
// does, after the name has been resolved: who answers for the name cannot say
// one address first and another one then.
func Dial(linkLocal bool) func(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{Timeout: dialTimeout}
	if linkLocal {
		return d.DialContext
	}
	d.Control = func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: not an address of IP", ErrRefused)
		}
		return Check(at.Addr())
	}
	return d.DialContext
}

// Options of a client. The zero value trusts the authorities of the system.
type Options struct {
	Roots        *x509.CertPool    // who may sign for the server; nil: those of the system
	Certificates []tls.Certificate // of the client
	LinkLocal    bool              // whether link-local and metadata addresses may be connected to
	Timeout      time.Duration     // of a whole request
	// Single says that there is one connection at a time, of HTTP/1.1: for what
	// belongs to a connection and not to a request.
	Single bool
}

// Client returns a client that follows no redirect, as one would carry
// credentials to whom the server names, and uses no proxy of the environment.
func Client(o Options) *http.Client {
	wire := &http.Transport{
		DialContext:         Dial(o.LinkLocal),
		TLSClientConfig:     &tls.Config{RootCAs: o.Roots, Certificates: o.Certificates, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: dialTimeout,
		ForceAttemptHTTP2:   !o.Single,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     90 * time.Second,
	}
	if o.Single {
		wire.MaxConnsPerHost = 1
	}
	return &http.Client{
		Timeout:       o.Timeout,
		Transport:     wire,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Why says why a request had no answer, without repeating anything of it.
func Why(err error, timeout time.Duration) string {
	var (
		untrusted *tls.CertificateVerificationError
		name      *net.DNSError
		late      net.Error
	)
	switch {
	case errors.Is(err, ErrRefused):
		return "its address is link-local or that of a metadata service, which stores may not connect to"
	case errors.As(err, &untrusted):
		return "its certificate is not trusted; set caBundle or caProvider to who signed it"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "it does not speak TLS"
	case errors.As(err, &name):
		return "its name cannot be resolved"
	case errors.As(err, &late) && late.Timeout():
		return "it did not answer within " + timeout.String()
	}
	return "no connection"
}
