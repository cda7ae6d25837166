package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/yaml"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/cmd/internal/manifest"
)

// readSealed reads a stream of SealedSecrets in YAML or JSON. What is in them
// is no secret, so the decoder may say what it does not like.
func readSealed(in io.Reader) ([]*bitnamiv1alpha1.SealedSecret, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(io.LimitReader(in, manifest.MaxInput), 4096)
	var all []*bitnamiv1alpha1.SealedSecret
	for {
		var raw json.RawMessage
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if len(raw) == 0 || string(raw) == "null" || string(raw) == "{}" {
			continue
		}
		ss, err := parseSealed(raw)
		if err != nil {
			return nil, err
		}
		all = append(all, ss)
	}
}

// errMetadata says that a template would lose its metadata if it were written
// again.
var errMetadata = errors.New("spec.template.metadata is no metadata: labels and annotations are texts, in quotes where they look like numbers")

func parseSealed(text []byte) (*bitnamiv1alpha1.SealedSecret, error) {
	ss := &bitnamiv1alpha1.SealedSecret{}
	if err := json.Unmarshal(text, ss); err != nil {
		return nil, err
	}
	if ss.Spec.Template.MalformedMetadata {
		return nil, errMetadata
	}
	return ss, nil
}

// controller is the HTTP API of the controller, through the API server.
type controller struct {
	*options
	client *corev1client.CoreV1Client
	port   string
}

// connect finds the controller's Service.
func (o *options) connect(ctx context.Context, accept string) (*controller, error) {
	config, err := o.client().ClientConfig()
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.AcceptContentTypes = accept
	client, err := corev1client.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	service, err := client.Services(o.controllerNamespace).Get(ctx, o.controllerName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("cannot get sealed secret service: %w.\nPlease, use the flag --controller-name and --controller-namespace to set up the name and namespace of the sealed secrets controller", err)
	}
	if len(service.Spec.Ports) == 0 {
		return nil, fmt.Errorf("service %s/%s has no ports: is it the controller's?", o.controllerNamespace, o.controllerName)
	}
	return &controller{options: o, client: client, port: service.Spec.Ports[0].Name}, nil
}

func (c *controller) post(ctx context.Context, path string, ss *bitnamiv1alpha1.SealedSecret) rest.Result {
	body, err := json.Marshal(ss)
	if err != nil {
		body = nil // no SealedSecret that was read cannot be written
	}
	return c.client.RESTClient().Post().Namespace(c.controllerNamespace).Resource("services").SubResource("proxy").
		Name(utilnet.JoinSchemeNamePort("http", c.controllerName, c.port)).Suffix(path).Body(body).Do(ctx)
}

func isConflict(err error) bool {
	status := apierrors.APIStatus(nil)
	return errors.As(err, &status) && status.Status().Code == http.StatusConflict
}

// validateAll asks the controller whether it can open each SealedSecret.
func (o *options) validateAll(ctx context.Context, in io.Reader) error {
	c, err := o.connect(ctx, "")
	if err != nil {
		return err
	}
	all, err := readSealed(in)
	if err != nil {
		return errors.New("unable to decrypt sealed secret")
	}
	for _, ss := range all {
		switch err := c.post(ctx, "/v1/verify", ss).Error(); {
		case isConflict(err):
			return fmt.Errorf("unable to decrypt sealed secret: %s", ss.Name)
		case err != nil:
			return fmt.Errorf("cannot validate sealed secret: %w", err)
		}
	}
	return nil
}

// reEncryptAll has the controller seal each SealedSecret with its newest key.
func (o *options) reEncryptAll(ctx context.Context, in io.Reader, out *bytes.Buffer) error {
	c, err := o.connect(ctx, "")
	if err != nil {
		return err
	}
	all, err := readSealed(in)
	if err != nil {
		return err
	}
	for _, ss := range all {
		result := c.post(ctx, "/v1/rotate", ss)
		if err := result.Error(); isConflict(err) {
			return errors.New("unable to rotate secret")
		} else if err != nil {
			return fmt.Errorf("cannot re-encrypt secret: %w", err)
		}
		body, err := result.Raw()
		if err != nil {
			return err
		}
		next := &bitnamiv1alpha1.SealedSecret{}
		if err := json.Unmarshal(body, next); err != nil {
			return err
		}
		next.CreationTimestamp, next.DeletionTimestamp, next.Generation = metav1.Time{}, nil, 0
		if err := write(out, o.format, next); err != nil {
			return err
		}
	}
	return nil
}
