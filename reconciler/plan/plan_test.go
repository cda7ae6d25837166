package plan_test

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/object"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/lockstep-dev/lockstep/reconciler/plan"
)

//go:embed testdata/*.txtar
var vectors embed.FS

// TestCompute runs the vectors of testdata. Each has the sections desired
// (id hash [skip]), inventory (id), applied (id hash [drifted]), prune (true,
// false or allowed), and plan, which is the plan as printed by show.
func TestCompute(t *testing.T) {
	names, err := fs.Glob(vectors, "testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			data, err := vectors.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			archive := txtar.Parse(data)
			in, want := parse(t, archive)
			if diff := cmp.Diff(want, show(plan.Compute(in))); diff != "" {
				t.Errorf("%s-want +got\n%s", archive.Comment, diff)
			}
		})
	}
}

func parse(t *testing.T, archive *txtar.Archive) (in plan.Input, want string) {
	t.Helper()
	in.Applied = map[object.ObjMetadata]plan.State{}
	for _, f := range archive.Files {
		if f.Name == "plan" {
			want = string(f.Data)
			continue
		}
		for line := range strings.SplitSeq(strings.TrimSpace(string(f.Data)), "\n") {
			fields := strings.Fields(line)
			if len(fields) == 0 {
				continue
			}
			switch f.Name {
			case "desired":
				in.Desired = append(in.Desired, plan.Object{Entry: entry(t, fields[0]), Hash: fields[1], Skip: len(fields) > 2})
			case "inventory":
				in.Inventory = append(in.Inventory, entry(t, fields[0]))
			case "applied":
				in.Applied[entry(t, fields[0]).ID] = plan.State{Hash: fields[1], Drifted: len(fields) > 2}
			case "prune":
				in.Prune = fields[0] != "false"
				in.AllowMass = fields[0] == "allowed"
			default:
				t.Fatalf("unknown section %q", f.Name)
			}
		}
	}
	return in, want
}

func entry(t *testing.T, id string) plan.Entry {
	t.Helper()
	parsed, err := object.ParseObjMetadata(id)
	if err != nil {
		t.Fatal(err)
	}
	return plan.Entry{ID: parsed, Version: "v1"}
}

func show(p plan.Plan) string {
	var b strings.Builder
	list := func(title string, entries []plan.Entry) {
		for _, e := range entries {
			fmt.Fprintf(&b, "%s %s\n", title, e.ID)
		}
	}
	list("before", p.Before)
	for i, stage := range p.Stages {
		for _, a := range stage {
			fmt.Fprintf(&b, "apply %d %s %s\n", i, a.ID, a.Why)
		}
	}
	list("prune", p.Prune)
	list("held", p.Held)
	list("after", p.After)
	return b.String()
}
