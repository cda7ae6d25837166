package seeds_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// Every fuzz target of the repository begins with something.
func TestEveryTargetHasSeeds(t *testing.T) {
	targets := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			target, ok := decl.(*ast.FuncDecl)
			if !ok || target.Recv != nil || !strings.HasPrefix(target.Name.Name, "Fuzz") {
				continue
			}
			targets++
			stored, err := filepath.Glob(filepath.Join(filepath.Dir(path), "testdata", "fuzz", target.Name.Name, "*"))
			if err != nil {
				return err
			}
			if !adds(target) && len(stored) == 0 {
				t.Errorf("%s: %s has no seeds: give it some with seeds.Add", path, target.Name.Name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if targets == 0 {
		t.Error("no fuzz target was found")
	}
	t.Logf("%d fuzz targets", targets)
}

// adds says whether a target calls f.Add or seeds.Add.
func adds(target *ast.FuncDecl) bool {
	found := false
	ast.Inspect(target, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if f, ok := call.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Add" {
				found = true
			}
		}
		return !found
	})
	return found
}
