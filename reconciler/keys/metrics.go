package keys

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
)

// States of a key, as metrics and lockstep keys list name them.
const (
	StateActive  = "active"
	StateOld     = "old"
	StateRetired = "retired"
)

// State returns the state of a key of ring.
func State(ring *sealer.Keyring, key sealer.Key) string {
	newest, _ := ring.Newest()
	switch {
	case key.Retired:
		return StateRetired
	case key.Fingerprint == newest.Fingerprint:
		return StateActive
	default:
		return StateOld
	}
}

// Use is how much of what is in a cluster was sealed with a key.
type Use struct{ Objects, Items int }

// Count returns, by fingerprint, how much of all was sealed with each key, as
// the status of each remembers.
func Count(all []bitnamiv1alpha1.SealedSecret) map[string]Use {
	uses := map[string]Use{}
	for i := range all {
		for _, u := range all[i].Uses() {
			sum := uses[u.Key]
			sum.Objects++
			sum.Items += int(u.Items)
			uses[u.Key] = sum
		}
	}
	return uses
}

// collector is a prometheus.Collector of what there is to know about the keys.
// Fingerprints are of public keys.
type collector struct {
	ring    *sealer.Keyring
	objects client.Reader // SealedSecrets, from a cache
	now     func() time.Time
}

//nolint:gochecknoglobals // descriptions, which never change
var (
	labelNames  = []string{"key", "state"}
	descAge     = prometheus.NewDesc("lockstep_sealing_key_age_seconds", "Age of the sealing key.", labelNames, nil)
	descExpiry  = prometheus.NewDesc("lockstep_sealing_key_expiry_timestamp_seconds", "When the certificate of the sealing key expires.", labelNames, nil)
	descObjects = prometheus.NewDesc("lockstep_sealing_key_objects", "SealedSecrets in the cluster with an item that was sealed with the key.", labelNames, nil)
	descRSA     = prometheus.NewDesc("lockstep_sealing_rsa_operations_total", "RSA operations that opened values of envelope 1, or failed to: for SealedSecrets, for re-sealing and for the API of kubeseal.", nil, nil)
	descItems   = prometheus.NewDesc("lockstep_sealing_key_items", "Items of SealedSecrets in the cluster that were sealed with the key.", labelNames, nil)
)

// Metrics returns the age, the expiry and the use of each key; objects holds the
// SealedSecrets.
func (c *Controller) Metrics(objects client.Reader) prometheus.Collector {
	return &collector{ring: c.Ring, objects: objects, now: c.now}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descAge, descExpiry, descObjects, descItems, descRSA} {
		out <- d
	}
}

// collectTimeout bounds the wait for a cache that has not been filled yet.
const collectTimeout = time.Second

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout) //nolint:forbidigo // the interface gives none
	defer cancel()
	out <- prometheus.MustNewConstMetric(descRSA, prometheus.CounterValue, float64(c.ring.Operations()))
	var all bitnamiv1alpha1.SealedSecretList
	if err := c.objects.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.Log.Info("the SealedSecrets of each key are not counted", "cause", err.Error())
		return
	}
	uses := Count(all.Items)
	for _, k := range c.ring.Keys() {
		use := uses[k.Fingerprint]
		for desc, value := range map[*prometheus.Desc]float64{
			descAge:     c.now().Sub(k.Made()).Seconds(),
			descExpiry:  float64(k.Certificate.NotAfter.Unix()),
			descObjects: float64(use.Objects),
			descItems:   float64(use.Items),
		} {
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, k.Fingerprint, State(c.ring, k))
		}
	}
}
