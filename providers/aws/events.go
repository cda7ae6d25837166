package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/lockstep-dev/lockstep/providers"
)

const (
	// pollSeconds is how long a request waits for messages, and messages how
	// many it takes: the most that SQS allows. It is less than requestTimeout.
	// Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
	pollSeconds = 8
	messages    = 10
)

// queue returns a client for the SQS queue at a URL. The requests go to the
// URL's host, so that VPC endpoints work, and only over TLS unless the store's
// own endpoint has none either, as in a test.
func (a *account) queue(source string, own *string) (*sqs.Client, error) {
	u, err := url.Parse(source)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || strings.Count(u.Path, "/") != 2 {
		return nil, fmt.Errorf("%w: the queue must be a URL such as https://sqs.eu-central-1.amazonaws.com/123456789012/name", providers.ErrInvalid)
	}
	if plain := own != nil && strings.HasPrefix(*own, "http:"); u.Scheme != "https" && !plain {
		return nil, fmt.Errorf("%w: the URL of the queue must begin with https", providers.ErrInvalid)
	}
	base := u.Scheme + "://" + u.Host
	return sqs.New(sqs.Options{
		Region: a.region, Credentials: a.keys, HTTPClient: a.web, HTTPSignerV4: signer{}, BaseEndpoint: &base, Retryer: aws.NopRetryer{},
	}), nil
}

// Watch implements providers.Watcher: source is the URL of an SQS queue that
// EventBridge sends the events of Secrets Manager to.
func (s *secrets) Watch(ctx context.Context, source string, changed func(keys ...string)) error {
	return s.watch(ctx, source, s.endpoint, changed)
}

// Watch implements providers.Watcher: source is the URL of an SQS queue that
// EventBridge sends the events of Parameter Store to.
func (p *parameters) Watch(ctx context.Context, source string, changed func(keys ...string)) error {
	return p.watch(ctx, source, p.endpoint, changed)
}

func (a *account) watch(ctx context.Context, source string, own *string, changed func(keys ...string)) error {
	client, err := a.queue(source, own)
	if err != nil {
		return err
	}
	in := &sqs.ReceiveMessageInput{QueueUrl: &source, MaxNumberOfMessages: messages, WaitTimeSeconds: pollSeconds}
	for {
		out, err := send(ctx, a, client.ReceiveMessage, in)
		if err != nil {
			return fmt.Errorf("receive from the queue: %w", err)
		}
		for i := range out.Messages {
			if keys := a.keysOf(aws.ToString(out.Messages[i].Body)); len(keys) > 0 {
				changed(keys...)
			}
		}
		// A hint that is lost costs nothing but time: it is not kept until the
		// reads are done.
		if err := a.remove(ctx, client, source, out.Messages); err != nil {
			return err
		}
	}
}

// remove takes messages off the queue.
func (a *account) remove(ctx context.Context, client *sqs.Client, source string, all []types.Message) error {
	if len(all) == 0 {
		return nil
	}
	in := &sqs.DeleteMessageBatchInput{QueueUrl: &source}
	for i := range all {
		in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), ReceiptHandle: all[i].ReceiptHandle})
	}
	if _, err := send(ctx, a, client.DeleteMessageBatch, in); err != nil {
		return fmt.Errorf("remove from the queue: %w", err)
	}
	return nil
}

// event is an event of EventBridge: that of a call of Secrets Manager by way
// of CloudTrail, or a Parameter Store Change.
// Source: https://docs.aws.amazon.com/secretsmanager/latest/userguide/monitoring-eventbridge.html
// and https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-cwe.html
type event struct {
	Message   string   `json:"Message"` // of SNS, with the event in it
	Resources []string `json:"resources"`
	Detail    struct {
		Name              string `json:"name"` // of a parameter
		RequestParameters struct {
			SecretID string `json:"secretId"`
			Name     string `json:"name"`
		} `json:"requestParameters"`
		ResponseElements struct {
			ARN  string `json:"arn"`
			Name string `json:"name"`
		} `json:"responseElements"`
		AdditionalEventData struct {
			SecretID string `json:"SecretId"` // of a rotation
		} `json:"additionalEventData"`
	} `json:"detail"`
}

// keysOf returns the keys that a message is about, in every spelling. One that
// is something else has none.
func (a *account) keysOf(body string) []string {
	var e event
	if json.Unmarshal([]byte(body), &e) != nil {
		return nil
	}
	if e.Message != "" && json.Unmarshal([]byte(e.Message), &e) != nil {
		return nil
	}
	d := &e.Detail
	seen, keys := map[string]bool{"": true}, []string(nil)
	for _, name := range append(e.Resources, d.Name, d.RequestParameters.SecretID, d.RequestParameters.Name, d.ResponseElements.ARN, d.ResponseElements.Name, d.AdditionalEventData.SecretID) {
		for _, spelling := range spellings(name) {
			key, ok := strings.CutPrefix(spelling, a.prefix)
			if ok && !seen[key] {
				seen[key] = true
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// spellings are the ways in which a store takes a name or an ARN: as it is;
// without the dash and six characters that AWS puts behind a secret's name;
// and the name alone.
func spellings(name string) []string {
	all := []string{name}
	parts := strings.SplitN(name, ":", 7) // arn:aws:secretsmanager:region:account:secret:name-abcdef
	switch {
	case len(parts) == 7 && parts[0] == "arn" && parts[5] == "secret" && len(parts[6]) > 7:
		all = append(all, name[:len(name)-7], parts[6], parts[6][:len(parts[6])-7])
	case len(parts) == 6 && parts[0] == "arn" && strings.HasPrefix(parts[5], "parameter/"):
		path := strings.TrimPrefix(parts[5], "parameter")
		all = append(all, path, path[1:])
	}
	return all
}
