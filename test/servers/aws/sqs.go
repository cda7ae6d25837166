//nolint:revive,staticcheck // fields are named as the API names them
package main

import (
	"crypto/md5" // SQS has it as a checksum
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// queues is the part of SQS that a consumer needs. A queue gets the events of
// its region's secrets, as a rule of EventBridge would send them, from when it
// is made by the admin API.
var queues = map[string]operation{
	"DeleteMessageBatch": op(deleteMessages),
	receiveMessage:       op(receiveMessages),
}

const receiveMessage = "ReceiveMessage"

// visibility is how long a message that was received is hidden, unless it is
// deleted: it comes again then.
const visibility = 30 * time.Second

type message struct {
	id, body string
	handle   string    // of who received it last
	hidden   time.Time // until when
}

func (r *region) queue(url string) (*[]*message, error) {
	q := r.queues[path.Base(url)]
	if q == nil {
		return nil, fail("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
	}
	return q, nil
}

type receiveIn struct {
	QueueUrl            string
	MaxNumberOfMessages int
	WaitTimeSeconds     int
}

type receivedMessage struct{ MessageId, ReceiptHandle, Body, MD5OfBody string }

type receiveOut struct {
	Messages []receivedMessage `json:",omitempty"`
}

func receiveMessages(c *call, in receiveIn) (any, error) {
	q, err := c.queue(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	if err := c.authorize("arn:aws:sqs:" + c.name + ":" + accountID + ":" + path.Base(in.QueueUrl)); err != nil {
		return nil, err
	}
	var out receiveOut
	for _, m := range *q {
		if len(out.Messages) == max(min(in.MaxNumberOfMessages, 10), 1) {
			break
		}
		if time.Now().Before(m.hidden) {
			continue
		}
		m.handle, m.hidden = random(16), time.Now().Add(visibility)
		sum := md5.Sum([]byte(m.body))
		out.Messages = append(out.Messages, receivedMessage{m.id, m.handle, m.body, hex.EncodeToString(sum[:])})
	}
	return out, nil
}

// poll receives messages as often as it takes to have one, or the time that
// the request gives. It holds no lock meanwhile.
func (s *server) poll(r *http.Request, body []byte, receive func() (any, error)) (any, error) {
	var in receiveIn
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fail("SerializationException", "the body is not what %s takes", receiveMessage)
	}
	for end := time.Now().Add(time.Duration(in.WaitTimeSeconds) * time.Second); ; {
		out, err := receive()
		if got, ok := out.(receiveOut); err != nil || !ok || len(got.Messages) > 0 || time.Now().After(end) {
			return out, err
		}
		select {
		case <-r.Context().Done():
			return out, nil
		case <-time.After(20 * time.Millisecond):
		}
	}
}

type deleteMessagesIn struct {
	QueueUrl string
	Entries  []struct{ Id, ReceiptHandle string }
}

type batchEntry struct{ Id string }

func deleteMessages(c *call, in deleteMessagesIn) (any, error) {
	q, err := c.queue(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	out := struct{ Successful, Failed []batchEntry }{[]batchEntry{}, []batchEntry{}}
	for _, e := range in.Entries {
		*q = slices.DeleteFunc(*q, func(m *message) bool { return m.handle != "" && m.handle == e.ReceiptHandle })
		out.Successful = append(out.Successful, batchEntry{e.Id})
	}
	return out, nil
}

// events are the operations that CloudTrail tells EventBridge of, and that
// change what a secret reads as.
var events = []string{"CreateSecret", "PutSecretValue", "RestoreSecret", "UpdateSecret", "UpdateSecretVersionStage"}

// tell puts the event of an operation on a secret into all queues of its
// region.
func (r *region) tell(action string, s *secret) {
	name := strings.TrimPrefix(action, "secretsmanager:")
	if s == nil || !slices.Contains(events, name) {
		return
	}
	body, err := json.Marshal(map[string]any{
		"version": "0", "detail-type": "AWS API Call via CloudTrail", "source": "aws.secretsmanager", "account": accountID, "region": r.name,
		"detail": map[string]any{"eventName": name, "eventSource": "secretsmanager.amazonaws.com",
			"requestParameters": map[string]string{"secretId": s.arn}, "responseElements": map[string]string{"arn": s.arn}},
	})
	if err != nil {
		return // strings have a form in JSON
	}
	for _, q := range r.queues {
		*q = append(*q, &message{id: random(8), body: string(body)})
	}
}

// queueIn is a queue to make, and messages to put into it; or one to delete.
type queueIn struct {
	Region   string   `json:"region"`
	Name     string   `json:"name"`
	Messages []string `json:"messages,omitempty"`
	Delete   bool     `json:"delete,omitempty"`
}

func (s *server) putQueue(in queueIn) (any, error) {
	if in.Region == "" || in.Name == "" {
		return nil, errors.New("region and name are required")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.region(in.Region)
	if in.Delete {
		delete(r.queues, in.Name)
		return struct{}{}, nil
	}
	if r.queues[in.Name] == nil {
		r.queues[in.Name] = &[]*message{}
	}
	for _, body := range in.Messages {
		*r.queues[in.Name] = append(*r.queues[in.Name], &message{id: random(8), body: body})
	}
	return map[string]string{"path": "/" + accountID + "/" + in.Name}, nil
}
