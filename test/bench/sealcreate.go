package main

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/stage"
)

const (
	itemsEach  = 5
	keysThere  = 12
	clientsMax = 16 // that create objects at once
)

// sealCreate measures from the first SealedSecret that is created to the last
// one that is Synced: of envelope 1, with 12 keys.
func sealCreate(ctx context.Context, b *bench) error {
	newest, err := b.moreKeys(ctx)
	if err != nil {
		return err
	}
	one, err := rsaOperation()
	if err != nil {
		return err
	}
	return b.createSealed(ctx, envelope1(newest), one)
}

// seal seals a value for its place.
type seal func(value []byte, at sealer.Place) (string, error)

func envelope1(key *rsa.PublicKey) seal {
	return func(value []byte, at sealer.Place) (string, error) {
		sealed, err := sealer.Seal(key, value, at.Label())
		return base64.StdEncoding.EncodeToString(sealed), err
	}
}

// createSealed creates the SealedSecrets and measures. one is how long an RSA
// operation takes, in seconds; 0 if there is none.
func (b *bench) createSealed(ctx context.Context, with seal, one float64) error {
	objects, err := b.sealedSecrets(with)
	if err != nil {
		return err
	}
	m, err := b.meter(ctx)
	if err != nil {
		return err
	}
	before, err := b.cpuUsed()
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := b.createAll(ctx, objects); err != nil {
		return err
	}
	if err := b.allSynced(ctx); err != nil {
		return err
	}
	took := time.Since(begin)
	if err := b.recordCPU(before, took); err != nil {
		return err
	}
	s, err := m.stop(ctx)
	if err != nil {
		return err
	}
	b.record(s, b.size)
	r := &b.result
	r.ReadyAll = round(took.Seconds())
	r.More["objects_per_s"] = round(float64(b.size) / took.Seconds())
	r.More["reads"] = s.verbs["get"] + s.verbs["list"]
	if one > 0 {
		bound := float64(b.size*itemsEach) * one / float64(runtime.NumCPU())
		r.More["rsa_s"] = round(float64(b.size*itemsEach) * one)
		r.More["rsa_operation_ms"], r.More["bound_s"], r.More["times_bound"] = round(one*1000), round(bound), round(took.Seconds()/bound)
	}
	return nil
}

// moreKeys makes as many key Secrets as are missing, and returns the key that
// the controller publishes then: all are of envelope 1, as they come from a
// cluster with Sealed Secrets.
func (b *bench) moreKeys(ctx context.Context) (*rsa.PublicKey, error) {
	if err := b.Ensure(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return nil, err
	}
	if _, err := b.Controller.Certificate(ctx); err != nil {
		return nil, err
	}
	var group errgroup.Group
	for range keysThere - 1 {
		group.Go(func() error {
			secret, err := keys.NewSecret(keys.Template{Namespace: stage.SystemNamespace, Prefix: "sealed-secrets-key", Size: 4096, TTL: time.Hour})
			if err != nil {
				return err
			}
			return b.Client.Create(ctx, secret)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	time.Sleep(3 * time.Second) // all are loaded, and complete
	text, err := b.Controller.Certificate(ctx)
	if err != nil {
		return nil, err
	}
	cert, err := sealer.ParseCertificate(text)
	if err != nil {
		return nil, err
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("the controller's certificate has no RSA key")
	}
	return key, nil
}

// rsaOperation returns how long one RSA-4096 decryption takes, in seconds, when
// as many run as there are cores.
func rsaOperation() (float64, error) {
	all, err := sealingKeys(1)
	if err != nil {
		return 0, err
	}
	at := sealer.Binding{Namespace: namespace, Name: "db"}
	sealed, err := sealer.Seal(&all[0].Private.PublicKey, []byte("v"), at.Label())
	if err != nil {
		return 0, err
	}
	ring := &sealer.Keyring{}
	ring.Set(all...)
	const each = 200
	begin := time.Now()
	var group errgroup.Group
	for range runtime.NumCPU() {
		group.Go(func() error {
			for range each {
				if _, err := ring.Open(sealed, at, ""); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = group.Wait()
	return time.Since(begin).Seconds() / each, err
}

func (b *bench) sealedSecrets(with seal) ([]*bitnamiv1alpha1.SealedSecret, error) {
	objects := make([]*bitnamiv1alpha1.SealedSecret, b.size)
	var group errgroup.Group
	group.SetLimit(runtime.NumCPU())
	for i := range objects {
		group.Go(func() error {
			ss := &bitnamiv1alpha1.SealedSecret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("sealed-%d", i)}}
			ss.Spec.EncryptedData = bitnamiv1alpha1.EncryptedData{}
			at := sealer.Binding{Namespace: namespace, Name: ss.Name}
			for n := range itemsEach {
				item := fmt.Sprintf("item-%d", n)
				sealed, err := with(fmt.Appendf(nil, "value-%d-%d", i, n), sealer.Place{Binding: at, Item: item})
				if err != nil {
					return err
				}
				ss.Spec.EncryptedData[item] = sealed
			}
			objects[i] = ss
			return nil
		})
	}
	return objects, group.Wait()
}

func (b *bench) createAll(ctx context.Context, objects []*bitnamiv1alpha1.SealedSecret) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(clientsMax)
	for _, ss := range objects {
		group.Go(func() error { return b.Client.Create(ctx, ss) })
	}
	return group.Wait()
}

// allSynced waits until every SealedSecret is Synced. It lists them once and
// watches: a list of all, again and again, would cost the API server more than
// what is measured.
func (b *bench) allSynced(ctx context.Context) error {
	var all bitnamiv1alpha1.SealedSecretList
	if err := b.Client.List(ctx, &all); err != nil {
		return err
	}
	done := map[string]bool{}
	for i := range all.Items {
		done[all.Items[i].Name] = synced(&all.Items[i])
	}
	w, err := b.Client.Watch(ctx, &bitnamiv1alpha1.SealedSecretList{}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: all.ResourceVersion}})
	if err != nil {
		return err
	}
	defer w.Stop()
	for counted(done) < b.size {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d are Synced: %w", counted(done), b.size, ctx.Err())
		case event, ok := <-w.ResultChan():
			ss, is := event.Object.(*bitnamiv1alpha1.SealedSecret)
			if !ok || !is {
				return fmt.Errorf("the watch of SealedSecrets ended with %d of %d Synced", counted(done), b.size)
			}
			done[ss.Name] = synced(ss)
		}
	}
	return nil
}

func synced(ss *bitnamiv1alpha1.SealedSecret) bool {
	c := ss.Status.Conditions
	return len(c) > 0 && c[0].Status == corev1.ConditionTrue
}

func counted(done map[string]bool) int {
	n := 0
	for _, is := range done {
		if is {
			n++
		}
	}
	return n
}
