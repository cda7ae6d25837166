// Command aws is the part of AWS that secrets come from: Secrets Manager,
// Parameter Store (SSM) and STS at one address. It checks every signature
// (version 4), and web identity tokens against the keys of their issuer.
//
// It is written from the AWS API reference and has not been compared with AWS:
// a green test against it proves our client, not AWS.
//
// It prints one line of JSON: its address and, with --tls, its authority.
// Roles, keys and secrets are set up, requests counted and faults ordered
// under /_admin/; see admin.go.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"

	"github.com/lockstep-dev/lockstep/test/servers/serve"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "aws:", err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	secure := flag.Bool("tls", false, "speak TLS, under an authority of its own")
	issuer := flag.String("issuer", "", "issuer of web identity tokens")
	jwks := flag.String("jwks-url", "", "where the keys of the issuer are; default: what its discovery document says")
	issuerCA := flag.String("issuer-ca", "", "file with the certificates that the issuer is reached under")
	flag.Parse()
	ctx, cancel := serve.Context()
	defer cancel()

	keys, err := newKeySet(*issuer, *jwks, *issuerCA)
	if err != nil {
		return err
	}
	l, ca, err := serve.Listen(*listen, *secure)
	if err != nil {
		return err
	}
	address := "http://" + l.Addr().String()
	if *secure {
		address = "https://" + l.Addr().String()
	}
	s := newServer(keys)
	mux := http.NewServeMux()
	s.control.Handle(mux)
	s.handleAdmin(mux)
	mux.Handle("/", s)
	if err := serve.Ready(map[string]string{"address": address, "ca": ca}); err != nil {
		return err
	}
	return serve.HTTP(ctx, l, mux)
}
