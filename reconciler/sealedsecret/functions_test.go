package sealedsecret

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/Masterminds/sprig/v3"
)

// TestDocs sees that docs/templates-sealed.md names every function that is
// served, and every one of sprig's that is not. Forms that only report errors
// in another way stand beside theirs on the page: "and each with must".
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/templates-sealed.md")
	if err != nil {
		t.Fatal(err)
	}
	served, missing, ok := strings.Cut(string(text), "## What is left out")
	if !ok {
		t.Fatal("no table of what is left out")
	}
	funcs := allowed()
	for name := range funcs {
		if !named(served, name) || named(missing, name) {
			t.Errorf("%s is served, and docs/templates-sealed.md does not say so", name)
		}
	}
	for name := range sprig.TxtFuncMap() {
		if funcs[name] == nil && (!named(missing, name) || named(served, name)) {
			t.Errorf("%s is not served, and docs/templates-sealed.md does not say so", name)
		}
	}
}

// named says whether text names a function, by itself or by the name that it is
// another form of.
func named(text, name string) bool {
	base := strings.TrimPrefix(strings.TrimPrefix(name, "must_"), "must")
	for _, n := range []string{name, strings.ToLower(base[:1]) + base[1:]} {
		if regexp.MustCompile("[`( ]" + n + "[`) ]").MatchString(text) {
			return true
		}
	}
	return false
}
