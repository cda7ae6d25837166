// Package test holds what is checked about the repository as a whole.
package test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/lockstep-dev/lockstep"

// floor is what the packages of a folder may import besides the standard
// library: our own folders, Kubernetes modules, and "*" for any other module.
// "x$" means package x without its sub-packages.
type floor struct {
	allowed []string
	// denied are packages of the standard library that are out of bounds.
	denied []string
}

// floors is the import picture of the house. The longest name that fits a
// package counts.
var floors = map[string]floor{
	"apis":   {allowed: []string{"apis", "k8s.io/api", "k8s.io/apimachinery"}},
	"sealer": {allowed: []string{"sealer", "golang.org/x/crypto", "golang.org/x/tools/txtar"}},

	"providers$": {allowed: []string{"apis", "k8s.io/api", "k8s.io/apimachinery"}},
	// What all backends connect with: one place that refuses addresses.
	"providers/egress": {},
	// A backend; floorOf adds the backend itself. Its settings come from a store,
	// never from the process that it runs in.
	"providers": {allowed: []string{"providers$", "providers/egress", "apis", "k8s.io/api", "k8s.io/apimachinery", "*"}, denied: []string{"os", "os/exec"}},

	"reconciler$":     {allowed: []string{"apis", "k8s.io", "sigs.k8s.io", "*"}},
	"reconciler":      {allowed: []string{"reconciler", "apis", "sealer", "k8s.io", "sigs.k8s.io", "*"}},
	"externalsecrets": {allowed: []string{"externalsecrets", "reconciler$", "providers$", "apis", "k8s.io", "sigs.k8s.io", "*"}},

	// The controller is the only importer of backends.
	"cmd/controller": {allowed: []string{"cmd/controller", "externalsecrets", "reconciler", "providers", "sealer", "apis", "k8s.io", "sigs.k8s.io", "*"}},
	"cmd":            {allowed: []string{"cmd", "externalsecrets", "reconciler", "providers$", "sealer", "apis", "k8s.io", "sigs.k8s.io", "*"}},
}

// TestFloors reads the sources itself rather than asking go list, whose reads
// the test cache does not see.
func TestFloors(t *testing.T) {
	seen := map[string]int{}
	for _, top := range []string{"apis", "sealer", "providers", "reconciler", "externalsecrets", "cmd"} {
		err := filepath.WalkDir(filepath.Join("..", top), func(file string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
				return err
			}
			rel := strings.TrimPrefix(filepath.ToSlash(file), "../")
			name, f := floorOf(path.Dir(rel))
			seen[name]++
			imports, err := importsOf(file)
			for _, imp := range imports {
				if !f.allows(imp) {
					t.Errorf("%s must not import %s; see the table in docs/development.md", rel, imp)
				}
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	for name := range floors {
		if seen[name] == 0 {
			t.Errorf("floor %s: no files: the folder moved and this test went blind", name)
		}
	}
}

// importsOf returns what file imports, our own packages without the module.
func importsOf(file string) ([]string, error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	var imports []string
	for _, spec := range f.Imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		imports = append(imports, strings.TrimPrefix(imp, module+"/"))
	}
	return imports, nil
}

// floorOf returns the floor of the package in folder pkg, and its name in floors.
func floorOf(pkg string) (string, floor) {
	name := pkg + "$"
	for f, ok := floors[name]; ; f, ok = floors[name] {
		if ok && name == "providers" {
			backend := strings.Join(strings.Split(pkg, "/")[:2], "/")
			return name, floor{allowed: append(slices.Clone(f.allowed), backend), denied: f.denied}
		}
		if ok || name == "." {
			return name, f
		}
		if exact, only := strings.CutSuffix(name, "$"); only {
			name = exact
		} else {
			name = path.Dir(name)
		}
	}
}

// allows reports whether a package of this floor may import imp.
func (f floor) allows(imp string) bool {
	if !governed(imp) {
		return !slices.Contains(f.denied, imp)
	}
	return slices.ContainsFunc(f.allowed, func(a string) bool { return under(imp, a) })
}

// governed reports whether imp is outside the standard library.
func governed(imp string) bool {
	top, _, _ := strings.Cut(imp, "/")
	ours := slices.Contains([]string{"apis", "sealer", "providers", "reconciler", "externalsecrets", "cmd", "test", "tools"}, top)
	return strings.Contains(top, ".") || ours
}

func under(imp, folder string) bool {
	if folder == "*" {
		top, _, _ := strings.Cut(imp, "/")
		return strings.Contains(top, ".") && !strings.HasSuffix(top, "k8s.io")
	}
	exact, only := strings.CutSuffix(folder, "$")
	return imp == exact || !only && strings.HasPrefix(imp, folder+"/")
}

// TestFloorsBite fails if the table above stopped to forbid what it is there for.
func TestFloorsBite(t *testing.T) {
	for _, c := range []struct {
		pkg, imp string
		want     bool
	}{
		{"apis/bitnami/v1alpha1", "k8s.io/apimachinery/pkg/runtime", true},
		{"apis/bitnami/v1alpha1", "sigs.k8s.io/controller-runtime", false},
		{"apis/bitnami/v1alpha1", "sealer", false},
		{"sealer", "golang.org/x/crypto/hkdf", true},
		{"sealer", "k8s.io/api/core/v1", false},
		{"providers", "k8s.io/client-go/kubernetes", false},
		{"providers", "providers/aws", false},
		{"providers/aws", "github.com/aws/aws-sdk-go-v2/aws", true},
		{"providers/aws", "providers", true},
		{"providers/aws", "providers/egress", true},
		{"providers/egress", "providers", false},
		{"providers/aws", "providers/vault", false},
		{"providers/aws/internal/sign", "providers/aws", true},
		{"providers/aws", "os", false},
		{"providers/aws", "io", true},
		{"reconciler", "reconciler/plan", false},
		{"reconciler/plan", "reconciler", true},
		{"reconciler/keys", "sealer", true},
		{"reconciler/plan", "providers", false},
		{"externalsecrets/pull", "reconciler", true},
		{"externalsecrets/pull", "reconciler/apply", false},
		{"externalsecrets/pull", "providers/vault", false},
		{"externalsecrets/pull", "sealer", false},
		{"cmd/controller", "providers/vault", true},
		{"cmd/lockstep", "providers/vault", false},
		{"cmd/lockstep", "os", true},
		{"cmd/controller", "test/testenv", false},
	} {
		if _, f := floorOf(c.pkg); f.allows(c.imp) != c.want {
			t.Errorf("%s imports %s: allowed is %v, want %v", c.pkg, c.imp, !c.want, c.want)
		}
	}
}
