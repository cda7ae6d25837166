package template

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"text/template"
	"text/template/parse"
)

// engine renders the texts of one ExternalSecret against one set of values.
type engine struct {
	values map[string]string
	funcs  template.FuncMap
	left   int // bytes that may still be rendered
}

func newEngine(ctx context.Context, values map[string][]byte) *engine {
	e := &engine{values: make(map[string]string, len(values)), left: maxOutput}
	for key, value := range values {
		e.values[key] = string(value)
	}
	e.funcs = guarded(ctx)
	return e
}

// render executes one text.
func (e *engine) render(field, text string) (string, error) {
	t, err := e.parse(field, text)
	if err != nil {
		return "", err
	}
	for _, each := range t.Templates() {
		if each.Tree != nil {
			guardTree(each.Tree)
		}
	}
	out := &limited{engine: e}
	if err := t.Execute(out, e.values); err != nil {
		return "", e.explain(field, err)
	}
	return out.String(), nil
}

func (e *engine) parse(field, text string) (*template.Template, error) {
	t, err := template.New("").Option("missingkey=error").Funcs(e.funcs).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", field, ErrInvalid, parseProblem(err))
	}
	return t, nil
}

// explain says what is known to be safe about why a template failed: the
// engine's own message can quote values.
func (e *engine) explain(field string, err error) error {
	if errors.Is(err, ErrLimit) {
		key, size := e.largest()
		return fmt.Errorf("%s: %w: the template as a whole may take %s and make %d bytes: make it simpler, or give it less: the largest value is that of key %q with %d bytes", field, ErrLimit, timeLimit, maxOutput, key, size)
	}
	text := err.Error()
	line := ""
	if m := position.FindStringSubmatch(text); m != nil {
		line = "line " + m[1] + ": "
	}
	if m := missingKey.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s: %w: %sthere is no value %q: add it to spec.data, or correct the name", field, ErrInvalid, line, m[1])
	}
	if m := failedCall.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s: %w: %sfunction %s fails for the values at hand", field, ErrInvalid, line, m[1])
	}
	return fmt.Errorf("%s: %w: %sit cannot be executed with the values at hand", field, ErrInvalid, line)
}

// largest names the longest value, and its size in bytes.
func (e *engine) largest() (key string, size int) {
	for k, value := range e.values {
		if len(value) > size || len(value) == size && k < key {
			key, size = k, len(value)
		}
	}
	return key, size
}

// What is taken from the messages of text/template: names that stand in the
// template itself.
var (
	position    = regexp.MustCompile(`^template: :(\d+)`)
	missingKey  = regexp.MustCompile(`^template: :\d+:\d+: executing "[^"]*" at <[^>]*>: map has no entry for key "([-._a-zA-Z0-9]{1,253})"$`)
	failedCall  = regexp.MustCompile(`: error calling (\w{1,64}): `)
	unknownFunc = regexp.MustCompile(`: function "(\w{1,64})" not defined$`)
)

func parseProblem(err error) string {
	line := ""
	if m := position.FindStringSubmatch(err.Error()); m != nil {
		line = "line " + m[1] + ": "
	}
	m := unknownFunc.FindStringSubmatch(err.Error())
	switch {
	case m == nil:
		return line + "it is not a valid Go template"
	case unstable[m[1]]:
		return line + "function " + m[1] + " is not available, because its result differs every time or depends on the controller's host"
	default:
		return line + "there is no function " + m[1]
	}
}

// limited collects output up to the engine's limit.
type limited struct {
	bytes.Buffer
	engine *engine
}

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	if l.engine.left -= len(p); l.engine.left < 0 {
		return 0, ErrLimit
	}
	return l.Buffer.Write(p)
}

// Names of the functions that guardTree inserts. A template that calls them
// gains nothing.
const (
	tickFunc    = "lockstepTick"
	measureFunc = "lockstepMeasure"
)

// guardTree makes every loop and every template look at the clock, and
// measures what is printed before it is: a few nested loops without output
// could run for years, and text/template cannot be interrupted.
func guardTree(tree *parse.Tree) {
	var walk func(list *parse.ListNode)
	walk = func(list *parse.ListNode) {
		if list == nil {
			return
		}
		for _, node := range list.Nodes {
			switch n := node.(type) {
			case *parse.ActionNode:
				if len(n.Pipe.Decl) == 0 {
					n.Pipe.Cmds = append(n.Pipe.Cmds, call(tree, measureFunc, n.Pos))
				}
			case *parse.IfNode:
				walk(n.List)
				walk(n.ElseList)
			case *parse.WithNode:
				walk(n.List)
				walk(n.ElseList)
			case *parse.RangeNode:
				walk(n.List)
				walk(n.ElseList)
				n.List.Nodes = append([]parse.Node{tick(tree, n.Pos)}, n.List.Nodes...)
			}
		}
	}
	walk(tree.Root)
	tree.Root.Nodes = append([]parse.Node{tick(tree, 0)}, tree.Root.Nodes...)
}

func call(tree *parse.Tree, name string, pos parse.Pos) *parse.CommandNode {
	return &parse.CommandNode{NodeType: parse.NodeCommand, Pos: pos, Args: []parse.Node{parse.NewIdentifier(name).SetTree(tree).SetPos(pos)}}
}

func tick(tree *parse.Tree, pos parse.Pos) parse.Node {
	return &parse.ActionNode{NodeType: parse.NodeAction, Pos: pos, Pipe: &parse.PipeNode{
		NodeType: parse.NodePipe, Pos: pos, Cmds: []*parse.CommandNode{call(tree, tickFunc, pos)},
	}}
}
