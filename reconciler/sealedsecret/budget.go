package sealedsecret

import (
	"context"
	"fmt"
	"reflect"
	"text/template"
	"text/template/parse"
)

const (
	// maxResults is how many bytes the functions of all templates of one
	// SealedSecret may return together: sixteen times what a Secret can hold,
	// so that some may be intermediate, and no sum of them fills the memory.
	maxResults = 16 << 20

	// maxProduct bounds the product of the sizes of the arguments of a function
	// that repeats one by another, whose result is too large before it returns.
	maxProduct = maxResults
)

// repeating are the functions whose result is as large as the product of their
// arguments.
var repeating = map[string]bool{
	"repeat": true, "indent": true, "nindent": true, "replace": true, "join": true, "wrapWith": true,
	"until": true, "untilStep": true, "seq": true,
	"regexReplaceAll": true, "regexReplaceAllLiteral": true, "mustRegexReplaceAll": true, "mustRegexReplaceAllLiteral": true,
}

// tick is the function that guard calls in each turn of a loop. It prints
// nothing.
const tick = "lockstepTick"

// budget is what the templates of one SealedSecret may use up. Its methods
// panic with an error, which the template engine turns into one of Execute.
type budget struct {
	ctx  context.Context //nolint:containedctx // a budget lives as long as one render
	left int
}

// functions returns those that templates have, each within the budget.
func (b *budget) functions() template.FuncMap {
	all := allowed()
	for name, f := range all {
		all[name] = b.wrap(name, reflect.ValueOf(f))
	}
	all[tick] = func() string {
		b.check()
		return ""
	}
	return all
}

func (b *budget) wrap(name string, f reflect.Value) any {
	return reflect.MakeFunc(f.Type(), func(args []reflect.Value) []reflect.Value {
		b.check()
		if repeating[name] {
			checkProduct(args)
		}
		var out []reflect.Value
		if f.Type().IsVariadic() {
			out = f.CallSlice(args)
		} else {
			out = f.Call(args)
		}
		for _, v := range out {
			b.left -= size(v)
		}
		b.check()
		return out
	}).Interface()
}

func (b *budget) check() {
	if b.ctx.Err() != nil {
		panic(errTime)
	}
	if b.left < 0 {
		panic(errMemory)
	}
}

func checkProduct(args []reflect.Value) {
	product := 1
	for _, arg := range args {
		if product *= 1 + extent(arg); product > maxProduct {
			panic(errMemory)
		}
	}
}

// extent is how much of a result one argument can make: of a number, as many
// times as it says.
func extent(v reflect.Value) int {
	for v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	switch {
	case !v.IsValid():
		return 0
	case v.CanInt():
		return int(min(max(v.Int(), -v.Int(), 0), maxProduct))
	case v.CanUint():
		return int(min(v.Uint(), maxProduct))
	case v.CanFloat():
		return int(min(max(v.Float(), -v.Float()), maxProduct))
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Interface:
		sum := 0
		for i := range v.Len() {
			sum += 1 + extent(v.Index(i))
		}
		return min(sum, maxProduct)
	default:
		return min(size(v), maxProduct)
	}
}

// size is how many bytes a result takes, without following what it points to.
func size(v reflect.Value) int {
	const word = 16 // of an element, as an interface or a string
	for v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.String:
		return v.Len()
	case reflect.Slice, reflect.Array, reflect.Map:
		sum := 0
		if v.Kind() != reflect.Map && v.Type().Elem().Kind() == reflect.String {
			for i := range v.Len() {
				sum += v.Index(i).Len()
			}
		}
		return sum + v.Len()*word
	default:
		return 0
	}
}

// guard makes each turn of a loop, and each template that calls another, look
// at the budget: without a function in it, it would have none to answer to.
func guard(t *template.Template) error {
	probe, err := template.New("").Funcs(template.FuncMap{tick: func() string { return "" }}).Parse("{{" + tick + "}}")
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	node := probe.Root.Nodes[0]
	for _, each := range t.Templates() {
		if each.Tree != nil && each.Root != nil {
			insert(each.Root, node)
			prepend(each.Root, node)
		}
	}
	return nil
}

// insert puts tick at the beginning of each loop below list.
func insert(list *parse.ListNode, tick parse.Node) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.RangeNode:
			insert(n.List, tick)
			insert(n.ElseList, tick)
			prepend(n.List, tick)
		case *parse.IfNode:
			insert(n.List, tick)
			insert(n.ElseList, tick)
		case *parse.WithNode:
			insert(n.List, tick)
			insert(n.ElseList, tick)
		}
	}
}

func prepend(list *parse.ListNode, n parse.Node) {
	list.Nodes = append([]parse.Node{n.Copy()}, list.Nodes...)
}
