package sealedsecret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"text/template"
	"time"

	"github.com/lockstep-dev/lockstep/sealer"
)

const (
	// maxOutput is the largest rendered item in bytes: what a Secret can hold.
	maxOutput = sealer.MaxValue

	// maxRender is how long all templates of one SealedSecret may take
	// together. Real ones take less than a millisecond; a hundred bcrypt
	// hashes take five seconds on a busy machine.
	maxRender = 5 * time.Second
)

var (
	errOutput = fmt.Errorf("its output is larger than a Secret can be, %d bytes", maxOutput)
	errTime   = fmt.Errorf("it takes longer than %v", maxRender)
	errMemory = fmt.Errorf("its functions return more than %d bytes", maxResults)
)

// Render returns the items of a Secret: those that were sealed, and those of
// spec.template.data, rendered with the sealed ones, and the raw text of the
// other templates, as fields. What is sealed wins over what is rendered, as in
// Sealed Secrets since v0.37; a template that is null removes the sealed item
// of its name, as there since v0.40.
//
// Its errors name the item and where in the template, but never a value: a
// template may well put one into its own error.
func Render(ctx context.Context, templates map[string]*string, data map[string][]byte) (map[string][]byte, error) {
	fields := map[string]string{}
	out := map[string][]byte{}
	maps.Copy(out, data)
	for item, text := range templates {
		if text == nil {
			delete(out, item)
			continue
		}
		fields[item] = *text
	}
	texts := maps.Clone(fields)
	for item, value := range data {
		fields[item] = string(value)
	}
	ctx, cancel := context.WithTimeout(ctx, maxRender)
	defer cancel()
	limits := &budget{ctx: ctx, left: maxResults}
	functions := limits.functions()
	for _, item := range slices.Sorted(maps.Keys(texts)) {
		value, err := renderItem(item, texts[item], functions, fields)
		if err != nil {
			return nil, fmt.Errorf("spec.template.data[%s]: %w", item, err)
		}
		if _, sealed := data[item]; !sealed {
			out[item] = value
		}
	}
	return out, nil
}

func renderItem(item, text string, functions template.FuncMap, fields map[string]string) ([]byte, error) {
	t, err := template.New(item).Funcs(functions).Parse(text)
	if err != nil {
		return nil, err // of the text in Git, not of values
	}
	if err := guard(t); err != nil {
		return nil, err
	}
	w := &limited{}
	if err := t.Execute(w, fields); err != nil {
		return nil, mute(err)
	}
	return w.Bytes(), nil
}

// limited is a buffer that takes maxOutput bytes.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxOutput {
		return 0, errOutput
	}
	return l.Buffer.Write(p)
}

var position = regexp.MustCompile(`^template: .*?:(\d+):(\d+): executing `)

// calling finds the function that failed. Only names of functions match: what
// a function says follows, and may hold values.
var calling = regexp.MustCompile(`^template: [^<]*<[^<>]*>: error calling ([A-Za-z0-9_]+): `)

// mute keeps of an error of the template engine where it happened, in which
// function, and which of our limits was reached. The rest may hold values.
func mute(err error) error {
	for _, limit := range []error{errOutput, errTime, errMemory} {
		if errors.Is(err, limit) {
			return limit
		}
	}
	text := "it cannot be rendered"
	if at := position.FindStringSubmatch(err.Error()); at != nil {
		text += fmt.Sprintf(": line %s, column %s", at[1], at[2])
	}
	if call := calling.FindStringSubmatch(err.Error()); call != nil {
		text += ": the function " + call[1] + " fails"
	}
	return errors.New(text + " (the engine's own words are left out, as they may hold secret values)")
}
