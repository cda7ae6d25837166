package bucket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// keyAccount is the key of a service account in the Secret; it is Flux's.
const keyAccount = "serviceaccount"

// scope is what is asked for: to read.
const scope = "https://www.googleapis.com/auth/devstorage.read_only"

// maxPage is how many bytes a page of a listing may have; 1,000 objects with
// names of 1,024 bytes have less.
const maxPage = 8 << 20

// gcs is Google Cloud Storage, by its JSON API. The library for it would be a
// third of the controller: two requests do.
// Source: https://docs.cloud.google.com/storage/docs/json_api/v1
type gcs struct {
	base   string
	tokens auth.TokenProvider
	client *http.Client
}

func newGCS(b *sourcev1.Bucket, secret map[string][]byte, transport http.RoundTripper) (server, error) {
	client := &http.Client{Transport: transport, CheckRedirect: stay}
	// Only a key: other kinds of credentials could name files and addresses.
	found, err := credentials.NewCredentialsFromJSON(credentials.ServiceAccount, secret[keyAccount], &credentials.DetectOptions{Scopes: []string{scope}, Client: client})
	if err != nil { // whose text may repeat what is in the key
		return nil, reconciler.Final(reasonAuthentication, fmt.Errorf("spec.secretRef: %s is not the key of a service account in JSON", keyAccount))
	}
	scheme := "https://"
	if b.Spec.Insecure {
		scheme = "http://"
	}
	return &gcs{base: scheme + b.Spec.Endpoint + "/storage/v1/b/", tokens: found, client: client}, nil
}

func (g *gcs) list(ctx context.Context, bucket, prefix string, each func(object) error) error {
	query := url.Values{"prefix": {prefix}, "fields": {"nextPageToken,items(name,generation,size)"}}
	for {
		page, err := g.page(ctx, bucket, query)
		if err != nil {
			return err
		}
		for _, i := range page.Items {
			size, err := strconv.ParseInt(i.Size, 10, 64)
			if err != nil || size < 0 {
				return &contentError{fmt.Errorf("%s has no size", i.Name)}
			}
			if err := each(object{key: i.Name, tag: i.Generation, size: size}); err != nil {
				return err
			}
		}
		if page.NextPageToken == "" {
			return nil
		}
		query.Set("pageToken", page.NextPageToken)
	}
}

// page is a part of a listing.
type page struct {
	NextPageToken string `json:"nextPageToken"`
	Items         []struct {
		Name       string `json:"name"`
		Generation string `json:"generation"`
		Size       string `json:"size"`
	} `json:"items"`
}

func (g *gcs) page(ctx context.Context, bucket string, query url.Values) (p page, err error) {
	body, err := g.get(ctx, url.PathEscape(bucket)+"/o", query)
	if err != nil {
		return p, err
	}
	defer func() { _ = body.Close() }() // only read from
	if err := json.NewDecoder(io.LimitReader(body, maxPage)).Decode(&p); err != nil {
		return p, errors.Join(ctx.Err(), errors.New("the listing cannot be read"))
	}
	return p, nil
}

func (g *gcs) read(ctx context.Context, bucket string, o object) ([]byte, error) {
	body, err := g.get(ctx, url.PathEscape(bucket)+"/o/"+url.PathEscape(o.key), url.Values{"alt": {"media"}, "generation": {o.tag}})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return whole(body, o)
}

func (g *gcs) get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	token, err := g.tokens.Token(ctx)
	if err != nil { // whose text may repeat what was sent
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if e, ok := errors.AsType[*auth.Error](err); ok && e.Response != nil {
			return nil, &answerError{status: http.StatusForbidden, code: "to the request for a token"}
		}
		return nil, fmt.Errorf("ask for a token: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.base+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+token.Value)
	resp, err := g.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask the service: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close() // nothing of it is told
		return nil, &answerError{status: resp.StatusCode}
	}
	return resp.Body, nil
}

func (g *gcs) close() { g.client.CloseIdleConnections() }
