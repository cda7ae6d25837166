package seal

import (
	"bytes"
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
		Args: cobra.ExactArgs(2),
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
	return replaceFile(path, next, 0o644)
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
	default:
		var names []string
		for _, o := range m.Objects {
			names = append(names, o.Namespace+"/"+o.Name)
		}
		return nil, fmt.Errorf("it holds %s: name one of them with --object", strings.Join(names, ", "))
	}
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
	next, err := insert(text, o, item, sealed)
	if err != nil {
		return nil, err
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

// insert adds an item in a line of its own: before the first whose name is
// greater, or after the last.
func insert(text []byte, o *rewrite.Object, item, sealed string) ([]byte, error) {
	if len(o.Items) == 0 {
		return nil, errInsert
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	neighbour, before := o.Items[len(o.Items)-1], false
	for _, i := range o.Items {
		if i.Name > item {
			neighbour, before = i, true
			break
		}
	}
	n := neighbour.Line - 1
	line := string(lines[n])
	content := strings.TrimLeft(line, " ")
	indent := line[:len(line)-len(content)]
	end := "\n"
	if strings.HasSuffix(line, "\r\n") {
		end = "\r\n"
	}
	isJSON := strings.HasPrefix(content, `"`) && strings.HasPrefix(strings.TrimSpace(string(text)), "{")
	key, value := item, sealed
	if isJSON {
		key, value = `"`+item+`"`, `"`+sealed+`"`
	}
	entry := indent + key + ": " + value
	switch {
	case !strings.Contains(line, ":"):
		return nil, errInsert // the value stands below its name
	case before && isJSON:
		lines[n] = []byte(entry + "," + end + line)
	case before:
		lines[n] = []byte(entry + end + line)
	case isJSON:
		lines[n] = []byte(strings.TrimRight(line, "\r\n") + "," + end + entry + end)
	case strings.HasSuffix(line, "\n"):
		lines[n] = []byte(line + entry + end)
	default:
		lines[n] = []byte(line + end + entry)
	}
	return bytes.Join(lines, nil), nil
}
