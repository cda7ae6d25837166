// Command vault is OpenBao's core and HTTP API, unsealed, with storage in
// memory: KV version 1 and 2, transit, PKI, and the auth methods AppRole, JWT, Kubernetes,
// LDAP, userpass and TLS certificates. Nothing is mounted yet but what OpenBao mounts.
//
// It prints one line of JSON: its address, root token, unseal key and, with
// --tls, its authority. /_admin/counters and /_admin/faults are not Vault's.
package main

import (
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/openbao/openbao/builtin/credential/approle"
	"github.com/openbao/openbao/builtin/credential/cert"
	jwt "github.com/openbao/openbao/builtin/credential/jwt"
	kubernetes "github.com/openbao/openbao/builtin/credential/kubernetes"
	"github.com/openbao/openbao/builtin/credential/ldap"
	"github.com/openbao/openbao/builtin/credential/userpass"
	"github.com/openbao/openbao/builtin/logical/kv"
	"github.com/openbao/openbao/builtin/logical/pki"
	"github.com/openbao/openbao/builtin/logical/transit"
	vaulthttp "github.com/openbao/openbao/http"
	"github.com/openbao/openbao/sdk/v2/helper/consts"
	"github.com/openbao/openbao/sdk/v2/logical"
	"github.com/openbao/openbao/sdk/v2/physical"
	"github.com/openbao/openbao/sdk/v2/physical/inmem"
	"github.com/openbao/openbao/vault"

	"github.com/lockstep-dev/lockstep/test/servers/serve"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "vault:", err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	secure := flag.Bool("tls", false, "speak TLS, under an authority of its own")
	flag.Parse()
	ctx, cancel := serve.Context()
	defer cancel()

	l, ca, err := serve.Listen(*listen, *secure)
	if err != nil {
		return err
	}
	address := "http://" + l.Addr().String()
	if *secure {
		address = "https://" + l.Addr().String()
	}
	core, err := newCore(address)
	if err != nil {
		return err
	}
	root, key, err := open(ctx, core)
	if err != nil {
		return err
	}
	api := vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core})
	if err := serve.Ready(map[string]string{"address": address, "rootToken": root, "unsealKey": key, "ca": ca}); err != nil {
		return err
	}
	return serve.HTTP(ctx, l, handler(api))
}

func newCore(address string) (*vault.Core, error) {
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr})
	storage, err := inmem.NewInmem(nil, log)
	if err != nil {
		return nil, fmt.Errorf("make storage: %w", err)
	}
	secrets := map[string]logical.Factory{"kv": kv.Factory, "pki": pki.Factory, "transit": transit.Factory}
	auth := map[string]logical.Factory{
		"approle": approle.Factory, "cert": cert.Factory, "jwt": jwt.Factory, "oidc": jwt.Factory,
		"kubernetes": kubernetes.Factory, "ldap": ldap.Factory, "userpass": userpass.Factory,
	}
	return vault.NewCore(&vault.CoreConfig{
		Physical:           plain{storage},
		Logger:             log,
		RedirectAddr:       address,
		BuiltinRegistry:    registry{consts.PluginTypeSecrets: secrets, consts.PluginTypeCredential: auth},
		LogicalBackends:    secrets,
		CredentialBackends: auth,
	})
}

// plain hides that a storage has transactions. Those of inmem copy all that it
// holds at each commit: with 10,000 secrets every write would take milliseconds.
type plain struct{ physical.Backend }

// open initializes the core with one unseal key, and unseals it.
func open(ctx context.Context, core *vault.Core) (rootToken, unsealKey string, err error) {
	seal := &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}
	result, err := core.Initialize(ctx, &vault.InitParams{BarrierConfig: seal, RecoveryConfig: seal})
	if err != nil {
		return "", "", fmt.Errorf("initialize: %w", err)
	}
	key := result.SecretShares[0]
	unsealKey = base64.StdEncoding.EncodeToString(key) // before Unseal, which wipes its argument
	if _, err := core.Unseal(key); err != nil {
		return "", "", fmt.Errorf("unseal: %w", err)
	}
	return result.RootToken, unsealKey, nil
}

// handler counts the requests to api and lets them fail on demand.
func handler(api http.Handler) http.Handler {
	control := &serve.Control{}
	mux := http.NewServeMux()
	control.Handle(mux)
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		fault := control.Begin(r, operation(r))
		if fault == nil {
			api.ServeHTTP(w, r)
			return
		}
		status := fault.Status
		if status == 0 {
			status = http.StatusInternalServerError
		}
		serve.WriteJSON(w, status, map[string][]string{"errors": {fault.Code}})
	})
	return mux
}

// operation names a request by its method and mount, as "GET secret/data":
// few enough to count, and without the name of a secret.
func operation(r *http.Request) string {
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/v1/"), "/", 3)
	return r.Method + " " + strings.Join(parts[:min(2, len(parts))], "/")
}
