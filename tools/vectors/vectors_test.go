package main

import (
	"os"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

// What the genuine kubeseal makes today has the shape of the vectors of envelope
// 1, and so does what a newcomer makes of nothing.
func TestMadeAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the genuine kubeseal; not under -short")
	}
	kubeseal, err := testenv.Binary(t.Context(), "kubeseal", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir("../..")
	if different := newSet1(folder1, kubeseal).compare(); len(different) > 0 {
		t.Error(strings.Join(different, "\n"))
	}
	empty := newSet1(t.TempDir(), kubeseal)
	empty.save()
	if different := empty.compare(); len(different) > 0 {
		t.Error(strings.Join(different, "\n"))
	}
	if err := os.Remove(empty.folder + "/vectors/matrix-2048-strict-text.txtar"); err != nil {
		t.Fatal(err)
	}
	if different := empty.compare(); len(different) != 1 || !strings.Contains(different[0], "matrix-2048-strict-text: there is no such file") {
		t.Errorf("with one file less: %q", different)
	}
}
