package webhook

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/lockstep-dev/lockstep/providers"
)

// text is a template. A loop or a function that can run for long is not in the
// language, so none does.
type text struct {
	field string
	made  *template.Template
}

// functions are those of the language, besides builtin.
var functions = template.FuncMap{
	"b64enc": func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"toJson": func(s string) (string, error) { b, err := json.Marshal(s); return string(b), err },
	"trim":   strings.TrimSpace,
	"lower":  strings.ToLower,
	"upper":  strings.ToUpper,
}

// builtin are functions of Go's templates that take no time and no format.
var builtin = []string{"eq", "ne", "and", "or", "not", "index", "print", "urlquery"}

func newText(field, s string) (*text, error) {
	t, err := template.New(field).Option("missingkey=error").Funcs(functions).Parse(s)
	if err != nil {
		return nil, fmt.Errorf("spec.provider.webhook.%s: %w: it is no template, or calls a function that there is not", field, providers.ErrInvalid)
	}
	if t.Tree != nil {
		if err := check(t.Root); err != nil {
			return nil, fmt.Errorf("spec.provider.webhook.%s: %w: %w", field, providers.ErrInvalid, err)
		}
	}
	return &text{field: field, made: t}, nil
}

// check returns an error unless everything in a template is known here.
func check(node parse.Node) error {
	switch n := node.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, inner := range n.Nodes {
			if err := check(inner); err != nil {
				return err
			}
		}
		return nil
	case *parse.ActionNode:
		return checkPipe(n.Pipe)
	case *parse.IfNode:
		for _, err := range []error{checkPipe(n.Pipe), check(n.List), check(n.ElseList)} {
			if err != nil {
				return err
			}
		}
		return nil
	case *parse.TextNode, *parse.CommentNode:
		return nil
	}
	return fmt.Errorf("a template here has no %q: only values, functions and if", strings.Fields(node.String() + " x")[0])
}

func checkPipe(p *parse.PipeNode) error {
	for _, command := range p.Cmds {
		for _, arg := range command.Args {
			if err := checkArgument(arg); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkArgument(arg parse.Node) error {
	switch a := arg.(type) {
	case *parse.PipeNode:
		return checkPipe(a)
	case *parse.IdentifierNode:
		if _, ok := functions[a.Ident]; !ok && !slices.Contains(builtin, a.Ident) {
			return fmt.Errorf("a template here has no function %s", a.Ident)
		}
	case *parse.FieldNode:
		name := strings.Join(a.Ident, ".")
		if a.Ident[0] == "remoteRef" && !slices.Contains([]string{"remoteRef.key", "remoteRef.version", "remoteRef.namespace"}, name) {
			return fmt.Errorf("a template here has no .%s, only .remoteRef.key, .version and .namespace: a property is taken out of the answer here", name)
		}
	}
	return nil
}

// plain renders with the data as they are.
func (t *text) plain(data map[string]any) (string, error) {
	out := &limited{}
	if err := t.made.Execute(out, data); err != nil {
		// The error may hold a value.
		return "", fmt.Errorf("spec.provider.webhook.%s: %w: it cannot be rendered: it names a secret or key that there is not, or becomes too long", t.field, providers.ErrInvalid)
	}
	return out.String(), nil
}

// escaped renders with the data as a URL spells them: nothing that is put in
// can become another part of it.
func (t *text) escaped(data map[string]any) (string, error) {
	safe := map[string]any{}
	for name, keys := range data {
		values, ok := keys.(map[string]string)
		if !ok {
			continue
		}
		quoted := map[string]string{}
		for key, value := range values {
			if value == "." || value == ".." {
				return "", fmt.Errorf("%s.%s: %w: it is only dots, which a URL would follow", name, key, providers.ErrInvalid)
			}
			quoted[key] = url.QueryEscape(value)
		}
		safe[name] = quoted
	}
	return t.plain(safe)
}
