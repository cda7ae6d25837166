package vault

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"golang.org/x/net/websocket"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/egress"
)

// eventTypes is what a subscription can be for: kv-v2/data-write, kv*, *.
var eventTypes = regexp.MustCompile(`^[a-z0-9*][a-z0-9*/_-]{0,99}$`)

// maxEvent is far above any event: some hundred bytes.
const maxEvent = 64 << 10

// Watch implements providers.Watcher: source is a type of event, such as
// kv-v2/data-write, or * in place of any part. Vault Enterprise has events;
// the token needs the rights to read sys/events/subscribe and to subscribe to
// the secrets.
// Source: https://developer.hashicorp.com/vault/docs/concepts/events
func (r *reader) Watch(ctx context.Context, source string, changed func(keys ...string)) error {
	return r.told(r.watch(ctx, source, changed))
}

func (r *reader) watch(ctx context.Context, source string, changed func(keys ...string)) error {
	if !eventTypes.MatchString(source) || strings.Contains(source, "//") {
		return fmt.Errorf("%w: the source must be a type of event, such as kv-v2/data-write", providers.ErrInvalid)
	}
	token, err := r.session.token(ctx, providers.Value{})
	if err != nil {
		return err
	}
	conn, err := r.client.connect(ctx)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // what is being read ends with it
	defer func() { _ = conn.Close() }()
	events, err := r.subscribe(conn, source, token)
	if err != nil {
		return err
	}
	for {
		var text []byte
		if err := websocket.Message.Receive(events, &text); err != nil {
			return fmt.Errorf("%w: Vault at %s has ended the events, as it does with the token", providers.ErrUnavailable, r.client.address)
		}
		var e event
		if json.Unmarshal(text, &e) != nil {
			continue // of another form: not about a secret
		}
		if keys := r.engine.keysOf(e); len(keys) > 0 {
			changed(keys...)
		}
	}
}

// connect opens a connection to the server, under the rules of all others.
func (c *client) connect(ctx context.Context) (net.Conn, error) {
	base, err := url.Parse(c.address)
	if err != nil {
		return nil, fmt.Errorf("spec.provider.vault.server: %w", providers.ErrInvalid)
	}
	port := base.Port()
	if port == "" {
		port = base.Scheme // its name is as good as its number
	}
	conn, err := egress.Dial(c.wire.LinkLocal)(ctx, "tcp", net.JoinHostPort(base.Hostname(), port))
	if err != nil {
		return nil, fmt.Errorf("%w: Vault at %s: %s", providers.ErrUnavailable, c.address, egress.Why(err, requestTimeout))
	}
	if base.Scheme == "http" {
		return conn, nil
	}
	secure := tls.Client(conn, &tls.Config{RootCAs: c.wire.Roots, Certificates: c.wire.Certificates, ServerName: base.Hostname(), MinVersion: tls.VersionTLS12})
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("%w: Vault at %s: %s", providers.ErrUnavailable, c.address, egress.Why(err, requestTimeout))
	}
	return secure, nil
}

// subscribe asks for events on a connection.
func (r *reader) subscribe(conn net.Conn, source string, token providers.Value) (*websocket.Conn, error) {
	server := strings.Replace(r.client.address, "http", "ws", 1)
	config, err := websocket.NewConfig(server+"/v1/sys/events/subscribe/"+source+"?json=true", r.client.address)
	if err != nil {
		return nil, fmt.Errorf("spec.provider.vault.server: %w", providers.ErrInvalid)
	}
	config.Header = http.Header{"X-Vault-Request": {"true"}, "X-Vault-Token": {string(token.Bytes())}}
	maps.Copy(config.Header, r.client.api.Headers())
	if r.namespace != "" {
		config.Header.Set("X-Vault-Namespace", r.namespace)
	}
	if err := conn.SetDeadline(time.Now().Add(requestTimeout)); err != nil { //nolint:forbidigo // a connection has the process's clock
		return nil, fmt.Errorf("%w: Vault at %s: no connection", providers.ErrUnavailable, r.client.address)
	}
	events, err := websocket.NewClient(config, conn)
	if err != nil {
		return nil, fmt.Errorf("%w: Vault at %s does not open its events: only Vault Enterprise has them, and the token needs read on sys/events/subscribe/%s", providers.ErrUnavailable, r.client.address, source)
	}
	events.MaxPayloadBytes = maxEvent
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("%w: Vault at %s: no connection", providers.ErrUnavailable, r.client.address)
	}
	return events, nil
}

// event is what matters of one.
type event struct {
	Data struct {
		Event struct {
			Metadata struct {
				Path     string `json:"path"`
				DataPath string `json:"data_path"`
			} `json:"metadata"`
		} `json:"event"`
		Plugin struct {
			Mount string `json:"mount_path"`
		} `json:"plugin_info"`
	} `json:"data"`
}

// keysOf returns the keys that an event is about, in every spelling that
// locate takes. One of another engine has none.
func (e engine) keysOf(of event) []string {
	path := of.Data.Event.Metadata.DataPath
	if path == "" {
		path = of.Data.Event.Metadata.Path
	}
	mount := strings.Trim(of.Data.Plugin.Mount, "/")
	rest, ok := strings.CutPrefix(strings.Trim(path, "/"), mount+"/")
	if !ok || mount == "" || e.mount != "" && e.mount != mount {
		return nil
	}
	if !e.versioned {
		return []string{rest, mount + "/" + rest}
	}
	for _, part := range []string{"data/", "metadata/", "delete/", "undelete/", "destroy/"} {
		if below, ok := strings.CutPrefix(rest, part); ok {
			return []string{below, "data/" + below, mount + "/" + below, mount + "/data/" + below}
		}
	}
	return nil
}
