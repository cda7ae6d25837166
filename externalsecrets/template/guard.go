package template

import (
	"context"
	"maps"
	"reflect"
	"regexp"
	"text/template"
)

// Limits of what a function takes and gives, all far above what a Secret can
// hold.
const (
	maxNodes   = 50_000   // of a value: itself, its elements, theirs
	maxProduct = 16 << 20 // bytes that a function which multiplies may make
	maxCount   = 10_000   // of a list that is made from a number
)

// guarded returns every function that a template may call, with a guard
// around each: before and after the call the values are measured and the
// clock is looked at. Without it a template could double a string or nest a
// map in itself until the process ends.
func guarded(ctx context.Context) template.FuncMap {
	funcs := template.FuncMap{
		tickFunc: func() (string, error) { return "", alive(ctx) },
		measureFunc: func(v any) (any, error) {
			if err := measure(reflect.ValueOf(v)); err != nil {
				return nil, err
			}
			return v, alive(ctx)
		},
	}
	all := functions()
	maps.Copy(all, files{ctx}.functions())
	for name, f := range all {
		funcs[name] = guard(ctx, name, reflect.ValueOf(f))
	}
	return funcs
}

func alive(ctx context.Context) error {
	if ctx.Err() != nil {
		return ErrLimit
	}
	return nil
}

// guard wraps f. The result is a function of the same arguments that also
// returns an error, which text/template reports.
func guard(ctx context.Context, name string, f reflect.Value) any {
	t := f.Type()
	in := make([]reflect.Type, t.NumIn())
	for i := range in {
		in[i] = t.In(i)
	}
	out := []reflect.Type{t.Out(0), reflect.TypeFor[error]()}
	wrapped := reflect.MakeFunc(reflect.FuncOf(in, out, t.IsVariadic()), func(args []reflect.Value) []reflect.Value {
		result, err := guardedCall(ctx, name, f, args)
		if err != nil {
			return []reflect.Value{reflect.Zero(out[0]), reflect.ValueOf(&err).Elem()}
		}
		return []reflect.Value{result, reflect.Zero(out[1])}
	})
	return wrapped.Interface()
}

func guardedCall(ctx context.Context, name string, f reflect.Value, args []reflect.Value) (reflect.Value, error) {
	if err := alive(ctx); err != nil {
		return reflect.Value{}, err
	}
	for _, arg := range args {
		if err := measure(arg); err != nil {
			return reflect.Value{}, err
		}
	}
	if err := affordable(name, args); err != nil {
		return reflect.Value{}, err
	}
	call := f.Call
	if f.Type().IsVariadic() {
		call = f.CallSlice
	}
	results := call(args)
	if len(results) == 2 && !results[1].IsNil() {
		return reflect.Value{}, results[1].Interface().(error)
	}
	return results[0], measure(results[0])
}

// multiplies lists the functions whose result can be as long as the product of
// the lengths of some arguments, which it gives by position.
var multiplies = map[string][]int{
	"repeat": {0, 1}, "indent": {0, 1}, "nindent": {0, 1}, "join": {0, 1}, "replace": {1, 2}, "wrapWith": {1, 2},
	"printf":          {0, 1},
	"regexReplaceAll": {1, 2}, "regexReplaceAllLiteral": {1, 2}, "mustRegexReplaceAll": {1, 2}, "mustRegexReplaceAllLiteral": {1, 2},
}

// counts lists the functions that make a list as long as their numbers say.
var counts = map[string]bool{"until": true, "untilStep": true, "seq": true}

// wideVerb is a verb of printf with a width or precision above 999 or taken
// from an argument.
var wideVerb = regexp.MustCompile(`%[^a-zA-Z%]*(\d{4}|\*)`)

// affordable refuses calls whose result would be too large to be made at all.
func affordable(name string, args []reflect.Value) error {
	if counts[name] {
		for _, arg := range args {
			if !small(arg) {
				return ErrLimit
			}
		}
	}
	if name == "printf" && wideVerb.MatchString(args[0].String()) {
		return ErrLimit
	}
	product := 1
	for _, i := range multiplies[name] {
		if i >= len(args) {
			continue
		}
		factor := size(args[i])
		if factor > maxProduct || product*factor > maxProduct {
			return ErrLimit
		}
		product *= factor
	}
	return nil
}

// small reports whether all numbers in v are at most maxCount.
func small(v reflect.Value) bool {
	switch {
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			if !small(v.Index(i)) {
				return false
			}
		}
		return true
	case v.CanInt():
		return v.Int() <= maxCount && v.Int() >= -maxCount
	default:
		return true
	}
}

// size is the factor by which v multiplies a result: the number itself, or
// the bytes of all strings in v; at least 1.
func size(v reflect.Value) int {
	if v.CanInt() {
		return int(min(max(v.Int(), 1), maxProduct+1))
	}
	m := meter{}
	m.add(v)
	return max(m.bytes+m.nodes, 1)
}

func measure(v reflect.Value) error {
	m := meter{}
	m.add(v)
	if m.over() {
		return ErrLimit
	}
	return nil
}

// meter adds up a value. It stops when it is over, and so ends for a map that
// holds itself, too.
type meter struct{ nodes, bytes int }

func (m *meter) over() bool { return m.nodes > maxNodes || m.bytes > 2*maxOutput }

func (m *meter) add(v reflect.Value) {
	m.nodes++
	if m.over() {
		return
	}
	switch v.Kind() {
	case reflect.String:
		m.bytes += v.Len()
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			m.add(v.Elem())
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			m.bytes += v.Len()
			return
		}
		for i := 0; i < v.Len() && !m.over(); i++ {
			m.add(v.Index(i))
		}
	case reflect.Map:
		for iter := v.MapRange(); iter.Next() && !m.over(); {
			m.add(iter.Key())
			m.add(iter.Value())
		}
	}
}
