package aws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/lockstep-dev/lockstep/providers"
)

// account is what the readers of both services share.
type account struct {
	keys            *aws.CredentialsCache
	prefix, service string
	refs            providers.References
	renewing        sync.Mutex
	region          string
	web             *http.Client
	endpoint        *string // of the service; nil is AWS's own

	single atomic.Int64 // until when nothing is read in batches, in Unix seconds
}

// id returns what AWS calls the secret at path.
func (a *account) id(path string) (string, error) {
	if path == "" {
		return "", fmt.Errorf("remoteRef.key: %w: it is empty", providers.ErrInvalid)
	}
	return a.prefix + path, nil
}

// classify says what went wrong with a request.
func (a *account) classify(ctx context.Context, err error) error {
	return classify(ctx, err, a.service)
}

// send makes a request, and makes it again if its credentials are refused and
// there are others by now: a new key in the Secret, or a new session. Its
// errors are those of package providers.
func send[In, Out, Options any](ctx context.Context, a *account, request func(context.Context, *In, ...func(*Options)) (*Out, error), in *In) (*Out, error) {
	used, err := a.keys.Retrieve(ctx)
	if err != nil {
		return nil, a.classify(ctx, fmt.Errorf("get credentials: %w", err))
	}
	out, refused := request(ctx, in)
	if refused == nil {
		return out, nil
	}
	if !badCredentials[code(refused)] {
		return nil, a.classify(ctx, refused)
	}
	now, err := a.other(ctx, used)
	if err != nil {
		return nil, a.classify(ctx, fmt.Errorf("get other credentials: %w", err))
	}
	if same(now, used) {
		return nil, a.classify(ctx, refused)
	}
	if out, err = request(ctx, in); err != nil {
		return nil, a.classify(ctx, err)
	}
	return out, nil
}

// noList says that an answer has no list in it, not even an empty one: it must
// not pass for one of nothing.
func (a *account) noList() error {
	return fmt.Errorf("%w: %s gave no list", providers.ErrUnavailable, a.service)
}

// other gets credentials anew, unless another goroutine has done so since used
// were given out.
func (a *account) other(ctx context.Context, used aws.Credentials) (aws.Credentials, error) {
	a.renewing.Lock()
	defer a.renewing.Unlock()
	if now, err := a.keys.Retrieve(ctx); err != nil || !same(now, used) {
		return now, err //nolint:wrapcheck // our own words, found by classify
	}
	a.keys.Invalidate()
	return a.keys.Retrieve(ctx) //nolint:wrapcheck // our own words, found by classify
}

func same(a, b aws.Credentials) bool {
	return a.AccessKeyID == b.AccessKeyID && a.SecretAccessKey == b.SecretAccessKey && a.SessionToken == b.SessionToken
}

// noBatches is how long batches are not tried again once the right to them was
// found missing. It costs requests only.
const noBatches = 10 * time.Minute

// batches reports whether to read in batches.
func (a *account) batches() bool {
	return time.Now().Unix() >= a.single.Load() //nolint:forbidigo // the clock decides about load only
}

func (a *account) withoutBatches() {
	a.single.Store(time.Now().Add(noBatches).Unix()) //nolint:forbidigo // as above
}

// alone reports whether an error of a batch may be one ref's only, so that
// each is to be read by itself.
func alone(err error) bool {
	return errors.Is(err, providers.ErrDenied) || errors.Is(err, providers.ErrInvalid) || errors.Is(err, providers.ErrNotFound)
}

// group sorts the indices of refs by what AWS calls them, and cuts the names
// into batches of size. Refs that fail, or that only reports false of, are in
// no batch, and are read by one.
func (a *account) group(refs []providers.Ref, size int, name func(providers.Ref) (string, bool)) (batches [][]string, at map[string][]int, rest []int) {
	at = map[string][]int{}
	var names []string
	for i, ref := range refs {
		id, ok := name(ref)
		if !ok || !a.batches() {
			rest = append(rest, i)
			continue
		}
		if at[id] == nil {
			names = append(names, id)
		}
		at[id] = append(at[id], i)
	}
	return slices.Collect(slices.Chunk(names, size)), at, rest
}

// fill gives every ref of the indices its own copy of a value.
func fill(results []providers.Result, indices []int, value []byte, version string) {
	for _, i := range indices {
		results[i] = providers.Result{Value: providers.NewValue(slices.Clone(value)), Version: version}
	}
}

// readEach reads the refs at the indices by one.
func readEach(ctx context.Context, r providers.Reader, refs []providers.Ref, indices []int, results []providers.Result) {
	providers.Parallel(len(indices), func(n int) {
		i := indices[n]
		results[i].Value, results[i].Err = r.Read(ctx, refs[i])
	})
}
