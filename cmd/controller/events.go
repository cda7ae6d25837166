package main

import (
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
)

// newRecorder returns who writes Events. Unlike that of the manager it sends
// them as protobuf, as the manager's client does with Secrets: the API server
// spends less on each. It ends with the process.
func newRecorder(config *rest.Config, client *http.Client, scheme *runtime.Scheme) (record.EventRecorder, error) {
	config = rest.CopyConfig(config)
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	core, err := corev1client.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("build client of Events: %w", err)
	}
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: core.Events("")})
	return broadcaster.NewRecorder(scheme, corev1.EventSource{Component: "lockstep"}), nil
}
