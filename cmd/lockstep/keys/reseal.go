package keys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/lockstep-dev/lockstep/cmd/internal/cluster"
	"github.com/lockstep-dev/lockstep/reconciler/reseal"
	"github.com/lockstep-dev/lockstep/sealer"
)

// resealing are the settings of reseal.
type resealing struct {
	backup
	file        string // a backup with the keys
	clusterKeys bool   // read the keys from the cluster
	dryRun      bool
	namespace   string // of manifests that say none
	exclude     []string
	others      []string // that have public keys of envelope 2
}

func resealCmd() *cobra.Command {
	r := &resealing{}
	cmd := &cobra.Command{
		Use:   "reseal PATH...",
		Short: "Seal again, with the newest key, the SealedSecrets of a working tree that are on an older one",
		Long: "Only the sealed values change: comments, order and format of the manifests stay.\n\n" +
			"The controller opens and seals, through the API server, unless --cluster-keys or --keys says where the keys are: " +
			"then it is done here, which is faster for many files, and tells of each item its key.\n\n" +
			"A value that others open too stays sealed for them: give their public keys with --recipient, and the keys of this cluster " +
			"with --cluster-keys or --keys. Without, such a value is left alone.",
		Example: "  lockstep reseal .\n  lockstep reseal apps/ --dry-run --cluster-keys\n  lockstep reseal . --keys keys.age --identity ~/age.txt --recipient offline.pub",
		Args:    cluster.Args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.run(cmd.Context(), cmd.OutOrStdout(), args)
		},
	}
	r.bind(cmd)
	r.bindOpen(cmd)
	flags := cmd.Flags()
	flags.StringVar(&r.file, "keys", "", "a backup with the keys (lockstep keys backup), instead of a cluster")
	flags.BoolVar(&r.clusterKeys, "cluster-keys", false, "read the keys from the cluster; that needs the right to")
	flags.BoolVar(&r.dryRun, "dry-run", false, "say what would be sealed again, and write nothing")
	flags.StringVarP(&r.namespace, "namespace", "n", "", "namespace of SealedSecrets whose manifest says none, and that are not in the cluster")
	flags.StringArrayVar(&r.exclude, "exclude", nil, "pattern of paths to leave out, such as charts/*/templates/*; may be given several times")
	flags.StringArrayVar(&r.others, "recipient", nil, "public key of another whom values are sealed for too, so that they stay so: a file of published keys or of public keys, or a key ls2pub...; may be given several times")
	cmd.MarkFlagsMutuallyExclusive("keys", "cluster-keys")
	return cmd
}

func (r *resealing) run(ctx context.Context, out io.Writer, paths []string) error {
	work, err := scan(ctx, paths, r.exclude)
	if err != nil {
		return err
	}
	open, where, err := r.opener(ctx)
	if err != nil {
		return err
	}
	bar := progress(work.count())
	steps, err := work.seal(ctx, open, where, func() { _ = bar.Add(1) })
	_ = bar.Finish() // a bar that cannot be drawn is no reason to stop
	if err != nil {
		return err
	}
	if err := table(out, steps); err != nil {
		return err
	}
	written := 0
	if !r.dryRun {
		if written, err = work.write(); err != nil {
			return err
		}
	}
	return r.summary(out, work, steps, written)
}

// opener returns what opens and seals, and what knows where SealedSecrets are.
func (r *resealing) opener(ctx context.Context) (reseal.Opener, reseal.Locator, error) {
	known, err := r.recipients()
	if err != nil {
		return nil, nil, err
	}
	if r.file != "" {
		secrets, err := r.open(r.file)
		if err != nil {
			return nil, nil, err
		}
		_, ring, err := parse(secrets)
		return &reseal.Keys{Ring: ring, Known: known}, reseal.ByManifest{Namespace: r.namespace}, err
	}
	kube, err := r.connect()
	if err != nil {
		return nil, nil, err
	}
	objects, err := sealedSecrets(ctx, kube)
	if err != nil {
		return nil, nil, err
	}
	where := reseal.ByManifest{Namespace: r.namespace, Known: reseal.Known(objects)}
	if !r.clusterKeys {
		if len(known) > 0 {
			return nil, nil, errors.New("--recipient needs the keys here: give --cluster-keys or --keys too")
		}
		remote, err := r.remote(ctx, objects)
		return remote, where, err
	}
	secrets, err := r.secrets(ctx, kube)
	if err != nil {
		return nil, nil, err
	}
	_, ring, err := parse(secrets)
	return &reseal.Keys{Ring: ring, Known: known}, where, err
}

// recipients reads what --recipient names. It is not asked whether they can be
// trusted: a value names the keys that it is sealed for, and no other comes in
// their place.
func (r *resealing) recipients() ([]sealer.Recipient, error) {
	var all []sealer.Recipient
	for _, name := range r.others {
		text := []byte(name)
		if !strings.HasPrefix(name, "ls2pub.") {
			var err error
			if text, err = os.ReadFile(name); err != nil {
				return nil, fmt.Errorf("--recipient: %w", err)
			}
		}
		some, err := sealer.ParseRecipients(text)
		if err != nil {
			return nil, fmt.Errorf("--recipient %.40s: %w", name, err)
		}
		all = append(all, some...)
	}
	return all, nil
}

// progress returns a bar on a terminal, and one that shows nothing else.
func progress(n int) *progressbar.ProgressBar {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return progressbar.DefaultSilent(int64(n))
	}
	return progressbar.NewOptions(n, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetDescription("SealedSecrets"),
		progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
}

// table lists what is sealed again, and what cannot be.
func table(out io.Writer, steps []*step) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	shown := false
	for _, s := range steps {
		if s.Next == "" && s.Err == nil {
			continue
		}
		if !shown {
			fmt.Fprintln(w, "FILE\tOBJECT\tITEM\tKEY\tWHAT")
			shown = true
		}
		what, key := "sealed again", "unknown"
		if s.From != "" {
			key = short(s.From)
		}
		if s.Err != nil {
			what = "left alone: " + s.Err.Error()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.path, s.At.Namespace+"/"+s.Object.Name, s.Item.Name, key, what)
	}
	return w.Flush()
}

// summary counts, and is an error if something had to be left alone.
func (r *resealing) summary(out io.Writer, w *tree, steps []*step, written int) error {
	again, failed := 0, 0
	for _, s := range steps {
		if s.Err != nil {
			failed++
		} else if s.Next != "" {
			again++
		}
	}
	for _, s := range w.skipped() {
		fmt.Fprintf(out, "%s: left alone: %v\n", s.Path, s.Err)
		failed++
	}
	verb := fmt.Sprintf("are sealed again, in %d files", written)
	if r.dryRun {
		verb = "would be sealed again"
	}
	fmt.Fprintf(out, "%d of %d values %s.\n", again, len(steps), verb)
	if failed > 0 {
		return fmt.Errorf("%d values or files could not be sealed again: they are as they were; leave out with --exclude what is none", failed)
	}
	return nil
}

// excluded says whether a pattern matches a path or its last element.
func excluded(patterns []string, name string) bool {
	for _, p := range patterns {
		for _, candidate := range []string{name, filepath.Base(name)} {
			if ok, err := filepath.Match(p, candidate); ok && err == nil {
				return true
			}
		}
	}
	return false
}
