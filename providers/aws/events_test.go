package aws_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
)

// queue is an SQS queue with the JSON protocol: a message that was received is
// hidden, and gone once it is deleted.
type queue struct {
	mu       sync.Mutex
	waiting  []string
	received map[string]bool // receipt handles
	deleted  int
	denied   bool
	unsigned int
}

// ServeHTTP implements http.Handler.
func (q *queue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") || !strings.Contains(r.Header.Get("Authorization"), "/"+region+"/sqs/aws4_request") {
		q.unsigned++
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if q.denied {
		w.Header().Set("X-Amzn-Errortype", "com.amazonaws.sqs#AccessDenied")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"__type":"com.amazonaws.sqs#AccessDenied","message":"no"}`))
		return
	}
	var in struct {
		Most    int `json:"MaxNumberOfMessages"`
		Entries []struct {
			ID     string `json:"Id"`
			Handle string `json:"ReceiptHandle"`
		} `json:"Entries"`
	}
	_ = json.NewDecoder(r.Body).Decode(&in) // an empty one is refused below
	switch r.Header.Get("X-Amz-Target") {
	case "AmazonSQS.ReceiveMessage":
		q.receive(w, in.Most)
	case "AmazonSQS.DeleteMessageBatch":
		var done []map[string]string
		for _, e := range in.Entries {
			if q.received[e.Handle] {
				delete(q.received, e.Handle)
				q.deleted++
				done = append(done, map[string]string{"Id": e.ID})
			}
		}
		_ = json.NewEncoder(w).Encode(map[string][]map[string]string{"Successful": done, "Failed": {}}) //nolint:errchkjson // the client is gone
	default:
		w.WriteHeader(http.StatusBadRequest)
	}
}

func (q *queue) receive(w http.ResponseWriter, most int) {
	var messages []map[string]string
	for len(q.waiting) > 0 && len(messages) < most {
		handle := fmt.Sprint("handle-", len(q.received)+q.deleted)
		q.received[handle] = true
		messages = append(messages, map[string]string{"MessageId": handle, "ReceiptHandle": handle, "Body": q.waiting[0]})
		q.waiting = q.waiting[1:]
	}
	if len(messages) == 0 { // a long poll, cut short
		q.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		q.mu.Lock()
	}
	_ = json.NewEncoder(w).Encode(map[string][]map[string]string{"Messages": messages}) //nolint:errchkjson // the client is gone
}

func (q *queue) put(bodies ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, bodies...)
}

// watcher opens a store whose service is at url.
func watcher(t *testing.T, url string, settings map[string]any) providers.Watcher {
	t.Helper()
	open := aws.New(aws.Endpoints{SecretsManager: url, ParameterStore: url})
	r, err := open(t.Context(), store(t, settings, keyPair("AKIATEST", secretKey)))
	if err != nil {
		t.Fatal(err)
	}
	w, ok := r.(providers.Watcher)
	if !ok {
		t.Fatalf("%T is no Watcher", r)
	}
	return w
}

// Bodies as EventBridge sends them.
const (
	putValue = `{"version":"0","detail-type":"AWS API Call via CloudTrail","source":"aws.secretsmanager","detail":{"eventName":"PutSecretValue",
		"requestParameters":{"secretId":"arn:aws:secretsmanager:eu-central-1:1:secret:prod/db-AbCdEf"},"responseElements":{"arn":"arn:aws:secretsmanager:eu-central-1:1:secret:prod/db-AbCdEf"}}}`
	rotated = `{"detail-type":"AWS Service Event via CloudTrail","source":"aws.secretsmanager","detail":{"eventName":"RotationSucceeded",
		"requestParameters":null,"responseElements":null,"additionalEventData":{"SecretId":"prod/api"}}}`
	parameter = `{"detail-type":"Parameter Store Change","source":"aws.ssm","resources":["arn:aws:ssm:eu-central-1:1:parameter/prod/key"],"detail":{"operation":"Update","name":"/prod/key","type":"SecureString"}}`
)

func TestWatch(t *testing.T) {
	q := &queue{received: map[string]bool{}}
	server := httptest.NewServer(q)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	wrapped, err := json.Marshal(map[string]string{"Type": "Notification", "Message": putValue})
	if err != nil {
		t.Fatal(err)
	}
	q.put(putValue, "no JSON", `{"detail":{}}`, rotated, string(wrapped), parameter)
	var got [][]string
	err = watcher(t, server.URL, byKey()).Watch(ctx, server.URL+"/123456789012/changes", func(keys ...string) {
		if got = append(got, keys); len(got) == 4 {
			time.AfterFunc(500*time.Millisecond, cancel) // the messages are deleted first
		}
	})
	if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Fatalf("Watch ended with %v after %v", err, got)
	}
	const arn = "arn:aws:secretsmanager:eu-central-1:1:secret:prod/db"
	db := []string{arn + "-AbCdEf", arn, "prod/db-AbCdEf", "prod/db"}
	if want := [][]string{db, {"prod/api"}, db, {"arn:aws:ssm:eu-central-1:1:parameter/prod/key", "/prod/key", "prod/key"}}; !cmp.Equal(want, got) {
		t.Error(cmp.Diff(want, got))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.deleted != 6 || q.unsigned != 0 {
		t.Errorf("%d messages were deleted, want all 6; %d requests were not signed for SQS", q.deleted, q.unsigned)
	}
}

func TestWatchWithPrefix(t *testing.T) {
	q := &queue{received: map[string]bool{}}
	server := httptest.NewServer(q)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	settings := byKey()
	settings["prefix"] = "prod/"
	q.put(rotated)
	var got []string
	_ = watcher(t, server.URL, settings).Watch(ctx, server.URL+"/1/changes", func(keys ...string) {
		got = keys
		cancel()
	})
	if !slices.Equal(got, []string{"api"}) {
		t.Errorf("got %v, want the key without the store's prefix", got)
	}
}

func TestWatchFails(t *testing.T) {
	q := &queue{denied: true}
	server := httptest.NewServer(q)
	defer server.Close()
	for name, tc := range map[string]struct {
		endpoint, source string
		want             error
	}{
		"Denied":      {server.URL, server.URL + "/1/changes", providers.ErrDenied},
		"NoURL":       {server.URL, "changes", providers.ErrInvalid},
		"NoAccount":   {server.URL, server.URL + "/changes", providers.ErrInvalid},
		"Credentials": {server.URL, "https://user:password@sqs.eu-central-1.amazonaws.com/1/changes", providers.ErrInvalid},
		"NoTLS":       {"https://secretsmanager.example.com", "http://sqs.eu-central-1.amazonaws.com/1/changes", providers.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			err := watcher(t, tc.endpoint, byKey()).Watch(t.Context(), tc.source, nil)
			if !errors.Is(err, tc.want) || strings.Contains(err.Error(), "password") {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}
