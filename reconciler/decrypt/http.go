package decrypt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxAnswer bounds the answer of a key service in bytes: it holds one data key
// or one token.
const maxAnswer = 64 << 10

// errDown says that a key service did not answer.
var errDown = errors.New("it does not answer")

// question is a request to a key service.
type question struct {
	client *http.Client
	url    string
	header http.Header
	body   any // as JSON
}

// post sends a question and reads the answer into out. Its errors hold nothing
// of either.
func post(ctx context.Context, q question, out any) error {
	body, err := json.Marshal(q.body)
	if err != nil {
		return errors.New("the request cannot be written")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, q.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("its address cannot be used")
	}
	r.Header = q.header
	r.Header.Set("Content-Type", "application/json")
	answer, err := q.client.Do(r)
	if err != nil {
		return errDown
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	switch {
	case err != nil || answer.StatusCode >= http.StatusInternalServerError:
		return fmt.Errorf("%w (%s)", errDown, answer.Status)
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		return fmt.Errorf("the credentials may not decrypt with it (%s)", answer.Status)
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("it refuses to decrypt (%s)", answer.Status)
	}
	if json.Unmarshal(text, out) != nil {
		return errors.New("its answer cannot be read")
	}
	return nil
}
