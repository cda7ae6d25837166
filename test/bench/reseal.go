package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// sealedItems is how many items each SealedSecret has.
const sealedItems = 5

// resealFiles measures lockstep reseal of as many files as the size says, which
// are sealed with the older of two keys of 4096 bits, against the time that the
// RSA operations alone take. It is run once.
func resealFiles(ctx context.Context, b *bench) error {
	if _, err := b.Controller.Certificate(ctx); err != nil {
		return err
	}
	old, err := b.sealingKey(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "lockstep-reseal-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder; the system has the last word
	for i := range b.size {
		text, err := sealedFile(old, fmt.Sprintf("app%d", i))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("app%d.yaml", i)), []byte(text), 0o600); err != nil {
			return err
		}
	}
	time.Sleep(1100 * time.Millisecond) // certificates count in seconds
	secret, err := keys.NewSecret(keys.Template{Namespace: stage.SystemNamespace, Prefix: "sealed-secrets-key", Size: 4096, TTL: time.Hour})
	if err != nil {
		return err
	}
	if err := b.Client.Create(ctx, secret); err != nil {
		return err
	}
	one, err := decryption(old.Private)
	if err != nil {
		return err
	}
	first, err := b.reseal(ctx, dir)
	if err != nil {
		return err
	}
	again, err := b.reseal(ctx, dir)
	if err != nil {
		return err
	}
	items := b.size * sealedItems
	if want := fmt.Sprintf("%d of %d values are sealed again", items, items); !strings.Contains(first.out, want) {
		return fmt.Errorf("lockstep reseal does not say %q", want)
	}
	bound := float64(items) * one.Seconds() / float64(runtime.NumCPU())
	b.result.Runs = 1
	m := b.result.More
	m["items"], m["reseal_s"], m["again_s"], m["reseal_cpu_s"] = items, round(first.took.Seconds()), round(again.took.Seconds()), round(first.cpu.Seconds())
	m["rsa_operation_s"], m["rsa_bound_s"], m["of_bound"] = one.Seconds(), round(bound), round(first.took.Seconds()/bound)
	return nil
}

// sealingKey returns the key that the controller made.
func (b *bench) sealingKey(ctx context.Context) (sealer.Key, error) {
	var all corev1.SecretList
	if err := b.Client.List(ctx, &all, client.InNamespace(stage.SystemNamespace), client.MatchingLabelsSelector{Selector: keys.Selector()}); err != nil {
		return sealer.Key{}, err
	}
	if len(all.Items) != 1 {
		return sealer.Key{}, fmt.Errorf("there are %d sealing keys, not one", len(all.Items))
	}
	return keys.Parse(&all.Items[0])
}

func sealedFile(k sealer.Key, name string) (string, error) {
	text := fmt.Sprintf("apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: %s\n  namespace: bench\nspec:\n  encryptedData:\n", name)
	for i := range sealedItems {
		sealed, err := sealer.Seal(&k.Private.PublicKey, []byte("a value of usual size"), sealer.Binding{Namespace: "bench", Name: name}.Label())
		if err != nil {
			return "", err
		}
		text += fmt.Sprintf("    item%d: %s\n", i, base64.StdEncoding.EncodeToString(sealed))
	}
	return text, nil
}

// decryption is how long one RSA operation takes: the median of some.
func decryption(key *rsa.PrivateKey) (time.Duration, error) {
	sealed, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, []byte("x"), nil)
	if err != nil {
		return 0, err
	}
	var took []time.Duration
	for range 51 {
		begin := time.Now()
		if _, err := rsa.DecryptOAEP(sha256.New(), nil, key, sealed, nil); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// resealed is one run of lockstep reseal.
type resealed struct {
	took, cpu time.Duration
	out       string
}

// reseal runs lockstep reseal as a user does who may read the keys.
func (b *bench) reseal(ctx context.Context, dir string) (resealed, error) {
	path, err := testenv.Command(ctx, "lockstep")
	if err != nil {
		return resealed{}, err
	}
	cmd := exec.CommandContext(ctx, path, "reseal", dir, "--cluster-keys", "--controller-namespace", stage.SystemNamespace)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+b.Cluster.Kubeconfig())
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		return resealed{}, fmt.Errorf("lockstep reseal: %w: %s", err, errs.String())
	}
	return resealed{took: time.Since(begin), cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), out: out.String()}, nil
}
