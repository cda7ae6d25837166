package testenv_test

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

func TestCanaryIsFoundInEverySpelling(t *testing.T) {
	c := testenv.NewCanary(t)
	cases := map[string]string{
		"Plain":   "x" + c.Value() + "y",
		"Base64":  base64.StdEncoding.EncodeToString([]byte(c.Value())),
		"Base64a": base64.StdEncoding.EncodeToString([]byte(`{"password":"` + c.Value() + `"}`)),
		"Base64b": base64.StdEncoding.EncodeToString([]byte(`{"passwords":"` + c.Value() + `"}`)),
		"Base64c": base64.StdEncoding.EncodeToString([]byte(`{"passwords":["` + c.Value() + `"]}`)),
		"URL64":   base64.RawURLEncoding.EncodeToString([]byte("a" + c.Value())),
		"Hex":     hex.EncodeToString([]byte(c.Value())),
		"URL":     "https://x/?p=" + url.QueryEscape(c.Value()),
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			if !c.In([]byte(text)) {
				t.Errorf("In(%q): got false", text)
			}
		})
	}
	if other := testenv.NewCanary(t); c.In([]byte(other.Value())) {
		t.Error("In of another canary: got true")
	}
}

func TestCanaryInFiles(t *testing.T) {
	c, dir := testenv.NewCanary(t), t.TempDir()
	if _, err := c.InFiles(dir); err == nil {
		t.Error("InFiles of an empty folder: got no error")
	}
	if err := os.WriteFile(filepath.Join(dir, "log"), []byte("password="+c.Value()), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := c.InFiles(dir)
	if err != nil || len(found) != 1 {
		t.Errorf("InFiles: got %v, %v, want the one file", found, err)
	}
}
