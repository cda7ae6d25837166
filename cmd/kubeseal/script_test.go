package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			certificate(t, e.WorkDir)
			e.Setenv("KUBECONFIG", filepath.Join(e.WorkDir, "none"))
			return nil
		},
	})
}

// TestNoPlaintextInErrors checks that what cannot be read is not repeated.
func TestNoPlaintextInErrors(t *testing.T) {
	cert := certificate(t, t.TempDir())
	t.Setenv("KUBECONFIG", os.DevNull)
	for _, in := range []string{
		"metadata: {name: a, namespace: b}\ndata: {password: hunter2 is not base64}\n",
		"hunter2\n",
		"{\"data\": {\"a\": hunter2}}",
		"data: [hunter2]\n",
	} {
		out, err := ours(t.Context(), in, "--cert", cert)
		if err == nil {
			t.Errorf("%q: no error", in)
			continue
		}
		if text := out + err.Error(); strings.Contains(text, "hunter") {
			t.Errorf("%q: it is repeated: %s", in, text)
		}
	}
}
