package keys

import (
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// ReasonMalformed is the reason of the Event about a key Secret that holds no
// key.
const ReasonMalformed = "MalformedKey"

// malformed is 1 for each key Secret that is left out.
func malformed() *prometheus.GaugeVec {
	return reconciler.Register(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "lockstep_sealing_key_malformed", Help: "Secrets that are labelled as sealing keys and hold none.",
	}, []string{"namespace", "name"}))
}

// tellMalformed says what is wrong with a key Secret: a Secret has no
// conditions, so in an Event about it, and in a metric. err holds nothing of
// the key.
func (c *Controller) tellMalformed(secret *corev1.Secret, err error) {
	malformed().WithLabelValues(secret.Namespace, secret.Name).Set(1)
	if c.Recorder != nil {
		c.Recorder.Event(secret, corev1.EventTypeWarning, ReasonMalformed, err.Error())
	}
}

// wellFormed takes that back.
func (c *Controller) wellFormed(name string) { malformed().DeleteLabelValues(c.Namespace, name) }
