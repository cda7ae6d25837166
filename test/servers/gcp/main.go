// Command gcp is the part of Google Cloud that secrets come from: Secret
// Manager over gRPC, and, at the same address, the exchanges that give tokens
// for it: STS, the identity binding of GKE, the keys of service accounts, and
// generateAccessToken of IAM. It checks every token.
//
// It is written from Google's API reference and has not been compared with
// Google Cloud: a green test against it proves our client, not Google.
//
// It prints one line of JSON: its address and its authority. Who there is and
// what they may do is set up, requests counted and faults ordered under
// /_admin/; see admin.go.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"

	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/grpc"

	"github.com/lockstep-dev/lockstep/test/servers/serve"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gcp:", err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	_ = flag.Bool("tls", true, "speak TLS, under an authority of its own; it always does: gRPC sends no token without")
	issuer := flag.String("issuer", "", "issuer of the tokens of ServiceAccounts")
	issuerCA := flag.String("issuer-ca", "", "file with the certificates that the issuer is reached under")
	sts := flag.String("aws-sts", "", "URL of AWS STS, which says who signed a request")
	stsCA := flag.String("aws-sts-ca", "", "file with the certificates that it is reached under")
	flag.Parse()
	ctx, cancel := serve.Context()
	defer cancel()

	keys, err := newKeySet(*issuer, "", *issuerCA)
	if err != nil {
		return err
	}
	aws, err := newKeySet("", *sts, *stsCA)
	if err != nil {
		return err
	}
	l, ca, err := serve.Listen(*listen, true)
	if err != nil {
		return err
	}
	s := newServer(keys, aws)
	api := grpc.NewServer(grpc.UnaryInterceptor(s.intercept))
	secretmanagerpb.RegisterSecretManagerServiceServer(api, s)
	mux := http.NewServeMux()
	s.control.Handle(mux)
	s.handleAdmin(mux)
	s.handleTokens(mux)
	if err := serve.Ready(map[string]string{"address": "https://" + l.Addr().String(), "ca": ca}); err != nil {
		return err
	}
	return serve.HTTP(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			api.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
}
