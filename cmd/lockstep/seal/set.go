package seal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/lockstep-dev/lockstep/cmd/internal/cluster"
	"github.com/lockstep-dev/lockstep/cmd/internal/manifest"
	"github.com/lockstep-dev/lockstep/reconciler/reseal/rewrite"
	"github.com/lockstep-dev/lockstep/sealer"
)

// setting is one run of seal set.
type setting struct {
	trust
	object   string
	fromFile string
}

func setCmd() *cobra.Command {
	s := &setting{}
	cmd := &cobra.Command{
		Use:   "set FILE ITEM",
		Short: "Add or replace one item of a sealed file",
		Long: `Seal one value into a file that holds a SealedSecret. Every other byte of the
file stays as it is.`,
		Example: `  lockstep seal set db.yaml password < password.txt
  lockstep seal set db.yaml tls.key --from-file tls.key`,
		Args: cluster.Args(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.errs = cmd.ErrOrStderr()
			return s.run(cmd.Context(), cmd.InOrStdin(), args[0], args[1])
		},
	}
	s.bind(cmd)
	cmd.Flags().StringVar(&s.object, "object", "", "[NAMESPACE/]NAME of the SealedSecret, if the file holds several")
	cmd.Flags().StringVar(&s.fromFile, "from-file", "-", "file with the value; - is the standard input")
	return cmd
}

func (s *setting) run(ctx context.Context, stdin io.Reader, path, item string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	m, err := rewrite.Parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	o, err := s.pick(m)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	at := sealer.Place{Binding: sealer.Binding{Namespace: o.Namespace, Name: o.Name, Scope: o.Scope}, Item: item}
	if at.Namespace == "" && at.Scope != sealer.ClusterWide {
		return fmt.Errorf("%s: SealedSecret %s has no metadata.namespace: write it into the file, as the value is bound to it", path, o.Name)
	}
	if problems := validation.IsConfigMapKey(item); len(problems) > 0 {
		return fmt.Errorf("%q is no name for an item: %s", item, strings.Join(problems, "; "))
	}
	to, err := s.resolve(ctx)
	if err != nil {
		return err
	}
	value, err := s.value(stdin)
	if err != nil {
		return err
	}
	defer clear(value)
	sealed, err := to.seal(value, at)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	next, err := put(text, m, o, item, sealed)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return manifest.ReplaceFile(path, next, 0o644)
}

// pick returns the one object that is meant.
func (s *setting) pick(m *rewrite.Manifest) (*rewrite.Object, error) {
	var found []*rewrite.Object
	for _, o := range m.Objects {
		if s.object == "" || s.object == o.Name || s.object == o.Namespace+"/"+o.Name {
			found = append(found, o)
		}
	}
	switch {
	case len(m.Objects) == 0:
		return nil, errors.New("it holds no SealedSecret")
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0:
		return nil, fmt.Errorf("there is no SealedSecret %q among %s", s.object, namesOf(m.Objects))
	default:
		return nil, fmt.Errorf("it holds %s: name one of them with --object", namesOf(found))
	}
}

func namesOf(objects []*rewrite.Object) string {
	var names []string
	for _, o := range objects {
		names = append(names, o.Namespace+"/"+o.Name)
	}
	return strings.Join(names, ", ")
}

// value reads the value; from a terminal, without showing it.
func (s *setting) value(stdin io.Reader) ([]byte, error) {
	if f, ok := stdin.(*os.File); ok && s.fromFile == "-" && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(s.errs, "Value: ")
		value, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(s.errs)
		return value, err
	}
	return readValue(s.fromFile, stdin)
}

// put returns the manifest with the sealed value as an item of o.
func put(text []byte, m *rewrite.Manifest, o *rewrite.Object, item, sealed string) ([]byte, error) {
	if i := slices.IndexFunc(o.Items, func(i *rewrite.Item) bool { return i.Name == item }); i >= 0 {
		o.Items[i].Replace(sealed)
		return m.Bytes()
	}
	roots, err := manifest.Roots(text)
	if err != nil || len(roots) != len(m.Objects) {
		return nil, errInsert
	}
	next, err := manifest.Set(text, roots[slices.Index(m.Objects, o)], []string{"spec", "encryptedData", item}, sealed)
	if err != nil {
		return nil, errInsert
	}
	return next, added(m, o, next, item, sealed)
}

// added returns an error unless next says what m does, and the item.
func added(m *rewrite.Manifest, o *rewrite.Object, next []byte, item, sealed string) error {
	after, err := rewrite.Parse(next)
	if err != nil || len(after.Objects) != len(m.Objects) {
		return errInsert
	}
	for n, was := range m.Objects {
		want := itemsOf(was)
		if was == o {
			want[item] = sealed
		}
		is := after.Objects[n]
		if is.Name != was.Name || is.Namespace != was.Namespace || is.Scope != was.Scope || len(is.Items) != len(want) || !maps.Equal(itemsOf(is), want) {
			return errInsert
		}
	}
	return nil
}

func itemsOf(o *rewrite.Object) map[string]string {
	all := map[string]string{}
	for _, i := range o.Items {
		all[i.Name] = i.Value
	}
	return all
}

// errInsert says that there is no safe place for a new item.
var errInsert = errors.New("it is written in a way that an item cannot be added to; nothing was written: write spec.encryptedData with one item a line, and try again")
