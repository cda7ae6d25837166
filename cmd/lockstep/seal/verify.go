package seal

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/lockstep-dev/lockstep/cmd/internal/cluster"
	"github.com/lockstep-dev/lockstep/cmd/internal/manifest"
	"github.com/lockstep-dev/lockstep/reconciler/reseal/rewrite"
	"github.com/lockstep-dev/lockstep/sealer"
)

// verifying is one run of verify.
type verifying struct {
	trust
	online   bool
	quiet    bool
	clusters []sealer.ClusterID
	ids      []sealer.KeyID
	bits     int // of the certificate; 0 if there is none
}

func verifyCmd() *cobra.Command {
	v := &verifying{}
	cmd := &cobra.Command{
		Use:   "verify PATH...",
		Short: "Check that sealed files are whole, and sealed for where they stand",
		Long: `Check every SealedSecret in files and folders, without a cluster and without a
secret key: that values are well-formed, and, of envelope 2, that they were
sealed for this namespace, name, item and scope, and for a cluster that is
pinned, or whose published keys --cert names.

With --online the controller is asked too whether it opens them.`,
		Example: `  lockstep verify clusters/ --cert keys.json
  lockstep verify db.yaml --online`,
		Args: cluster.Args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v.errs = cmd.ErrOrStderr()
			return v.run(cmd.Context(), cmd.OutOrStdout(), args)
		},
	}
	v.Bind(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVar(&v.cert, "cert", "", "file with the published keys (lockstep seal fetch) or a certificate")
	flags.StringVar(&v.pins, "pins", "", "file that remembers the key of each cluster (default .lockstep-pins.json of the repository)")
	flags.BoolVar(&v.online, "online", false, "ask the controller too")
	flags.BoolVarP(&v.quiet, "quiet", "q", false, "print only what is wrong")
	return cmd
}

// finding is what is said of one item.
type finding struct {
	file, object, item, result string
	failed                     bool
}

// errVerify says that something is wrong, and that it was said what.
var errVerify = errors.New("not every value is sealed for where it stands")

func (v *verifying) run(ctx context.Context, out io.Writer, paths []string) error {
	if err := v.known(); err != nil {
		return err
	}
	var r *cluster.Controller
	if v.online {
		var err error
		if r, err = v.Controller(ctx); err != nil {
			return err
		}
	}
	files, err := manifests(paths)
	if err != nil {
		return err
	}
	var all []finding
	for _, path := range files {
		found, err := v.file(ctx, r, path)
		if err != nil {
			return err
		}
		all = append(all, found...)
	}
	return v.report(out, all)
}

func (v *verifying) report(out io.Writer, all []finding) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	bad := 0
	for _, f := range all {
		if f.failed {
			bad++
		}
		if f.failed || !v.quiet {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.file, f.object, f.item, f.result)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	switch {
	case len(all) == 0:
		return errors.New("there is no SealedSecret in what was named")
	case bad > 0:
		return fmt.Errorf("%w: %d of %d", errVerify, bad, len(all))
	}
	return nil
}

// known loads what is known of clusters: the published keys, a certificate, or
// at least who the clusters are.
func (v *verifying) known() error {
	if v.cert != "" {
		return v.fromCert()
	}
	pins, err := v.openPins()
	if err != nil {
		return err
	}
	for _, p := range pins.Clusters {
		if p.Cluster == "" {
			continue // it has no envelope 2
		}
		id, err := sealer.ParseClusterID(p.Cluster)
		if err != nil {
			return fmt.Errorf("%s: %w", pins.path, err)
		}
		v.clusters = append(v.clusters, id)
	}
	return nil
}

// fromCert loads what --cert names.
func (v *verifying) fromCert() error {
	text, err := readLimited(v.cert)
	if err != nil {
		return fmt.Errorf("--cert: %w", err)
	}
	if text = bytes.TrimSpace(text); bytes.HasPrefix(text, []byte("{")) {
		b, err := sealer.ParseBundle(text)
		if err != nil {
			return fmt.Errorf("--cert: %w", err)
		}
		v.clusters, v.ids = []sealer.ClusterID{b.Cluster()}, b.IDs()
		_, public := b.Certificate()
		v.bits = public.Size() * 8
		return nil
	}
	cert, err := sealer.ParseCertificate(text)
	if err != nil {
		return fmt.Errorf("--cert: %w: %w", errEmpty, err)
	}
	if public, ok := cert.PublicKey.(*rsa.PublicKey); ok {
		v.bits = public.Size() * 8
	}
	return nil
}

// manifests returns the files that may hold SealedSecrets.
func manifests(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		err := filepath.WalkDir(path, func(at string, d fs.DirEntry, err error) error {
			switch ext := strings.ToLower(filepath.Ext(at)); {
			case err != nil:
				return err
			case d.IsDir() && d.Name() == ".git":
				return fs.SkipDir
			case at == path && !d.IsDir(), d.Type().IsRegular() && (ext == ".yaml" || ext == ".yml" || ext == ".json"):
				files = append(files, at)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

func (v *verifying) file(ctx context.Context, r *cluster.Controller, path string) ([]finding, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !rewrite.Mentions(text) {
		return nil, nil
	}
	m, err := rewrite.Parse(text)
	if err != nil {
		return []finding{{file: path, result: err.Error(), failed: true}}, nil //nolint:nilerr // it is the finding
	}
	var all []finding
	for _, o := range m.Objects {
		found, err := v.object(ctx, r, path, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func (v *verifying) object(ctx context.Context, r *cluster.Controller, path string, o *rewrite.Object) ([]finding, error) {
	at := sealer.Binding{Namespace: o.Namespace, Name: o.Name, Scope: o.Scope}
	name := o.Namespace + "/" + o.Name
	var all []finding
	for _, i := range o.Items {
		result, err := v.item(strings.TrimSpace(i.Value), sealer.Place{Binding: at, Item: i.Name})
		if err != nil {
			result = err.Error()
		}
		all = append(all, finding{path, name, i.Name, result, err != nil})
	}
	if len(o.Items) == 0 {
		all = append(all, finding{path, name, "-", "ok: it holds no sealed value", false})
	}
	if r == nil {
		return all, nil
	}
	manifest, err := asManifest(o)
	if err != nil {
		return nil, err
	}
	ok, err := verified(ctx, r, manifest)
	if err != nil {
		return nil, err
	}
	result := "the controller opens it"
	if !ok {
		result = "the controller does not open it"
	}
	return append(all, finding{path, name, "-", result, !ok}), nil
}

// asManifest returns what the controller looks at of an object.
func asManifest(o *rewrite.Object) ([]byte, error) {
	data := map[string]string{}
	for _, i := range o.Items {
		data[i.Name] = strings.TrimSpace(i.Value)
	}
	return sigsyaml.Marshal(map[string]any{
		"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret",
		"metadata": map[string]any{"namespace": o.Namespace, "name": o.Name, "annotations": manifest.WithScope(nil, o.Scope)},
		"spec":     map[string]any{"encryptedData": data},
	})
}

// item checks one value with all that is public.
func (v *verifying) item(text string, at sealer.Place) (string, error) {
	if !sealer.IsEnvelope2(text) {
		return v.item1(text)
	}
	s, err := sealer.ParseSealed(text)
	if err != nil {
		return "", err
	}
	if err := s.Check(at); err != nil {
		return "", err
	}
	result := fmt.Sprintf("ok: envelope 2, key %v", s.Addresses()[0].Key)
	if n := len(s.Addresses()) - 1; n > 0 {
		result += fmt.Sprintf(" and %d more", n)
	}
	if len(v.clusters) == 0 {
		return result + ", cluster not checked", nil
	}
	err = sealer.ErrCluster
	for _, c := range v.clusters {
		if err = s.CheckCluster(c, v.ids...); err == nil {
			return result + ", cluster " + c.String(), nil
		}
	}
	return "", err
}

// item1 checks a value of envelope 1, of which little is public.
func (v *verifying) item1(text string) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", fmt.Errorf("%w: it is neither base64 nor envelope 2", sealer.ErrFormat)
	}
	bits, err := sealer.KeyBits(raw)
	if err != nil {
		return "", err
	}
	if v.bits != 0 && bits != v.bits {
		return "", fmt.Errorf("%w: it was sealed with a key of %d bits, and the certificate has %d", sealer.ErrNoKey, bits, v.bits)
	}
	return fmt.Sprintf("ok: envelope 1, RSA-%d; its place shows only when it is opened", bits), nil
}
