package seal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/cmd/internal/manifest"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/seeds/certificates"
)

// refused is what is said of what is no certificate.
var refused = map[string]string{
	"Garbage": "neither published keys", "Empty": "neither published keys", "EC": "only RSA keys can seal", "Expired": "expired on", "Truncated": "neither published keys",
	"Shortened": "parse certificate", "PrivateKey": "neither published keys", "Bundle": "not published sealing keys", "PublicKey": "public key has 3 bytes", "Large": "more than",
}

// A certificate that is none is refused by every command that takes one, in
// words that say what it is, and no file is touched.
func TestNotACertificate(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	good := filepath.Join(dir, "good.yaml")
	putFile(t, "value", "v")
	putFile(t, good, "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: prod}\nspec: {encryptedData: {}}\n")
	for name, text := range certificates.Not(t) {
		says, ok := refused[name]
		if !ok {
			t.Fatalf("nothing is known of %s", name)
		}
		t.Run(name, func(t *testing.T) {
			putFile(t, "cert", string(text))
			for _, args := range [][]string{
				{"seal", "db", "-n", "prod", "--from-literal", "a=v", "-w", good, "--cert", "cert"},
				{"seal", "set", good, "a", "--from-file", "value", "--cert", "cert"},
				{"seal", "fetch", "--cert", "cert"},
			} {
				before := read(t, dir)
				out, err := try(t, append(args, "--pins", "pins.json")...)
				if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(out+err.Error(), "canary") {
					t.Errorf("%v: got %v, want %q", args[:2], err, says)
				}
				if after := read(t, dir); before != after {
					t.Errorf("%v: files became %s", args[:2], after)
				}
			}
		})
	}
}

func putFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// read returns all files of a folder, and what is in them.
func read(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s: %s\n", e.Name(), text)
	}
	return out.String()
}

// Whatever a Secret looks like, it is sealed, or it is said why not, without a
// word of it, and the file that was there stays.
func TestBadSecrets(t *testing.T) {
	files := material(t)
	many := strings.Repeat("  item%d: aHVudGVyMg==\n", 10_000)
	numbers := make([]any, 10_000)
	for i := range numbers {
		numbers[i] = i
	}
	const head = "kind: Secret\napiVersion: v1\nmetadata: {name: db, namespace: prod}\n"
	for name, tc := range map[string]struct {
		in   string
		want error
		good bool
	}{
		"DataIsText":   {in: head + "data: canary\n", want: manifest.ErrNotSecret},
		"DataIsList":   {in: head + "data: [canary]\n", want: manifest.ErrNotSecret},
		"ItemIsNumber": {in: head + "data: {canary: 1}\n", want: manifest.ErrNotSecret},
		"ItemIsMap":    {in: head + "stringData: {a: {canary: b}}\n", want: manifest.ErrNotSecret},
		"NameIsList":   {in: "kind: Secret\nmetadata: {name: [canary]}\n", want: manifest.ErrNotSecret},
		"TooLarge":     {in: head + "stringData: {a: " + strings.Repeat("h", sealer.MaxValue+1) + "}\n", want: sealer.ErrTooLarge},
		"TwoMiB":       {in: head + "stringData:\n  a: " + strings.Repeat("h", sealer.MaxValue) + "\n  b: " + strings.Repeat("h", sealer.MaxValue) + "\n", good: true},
		"ManyItems":    {in: head + "data:\n" + fmt.Sprintf(many, numbers...), good: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			putFile(t, "cert.pem", string(files["cert.pem"]))
			putFile(t, "in.yaml", tc.in)
			putFile(t, "out.yaml", "old")
			before := read(t, dir)
			out, err := try(t, "seal", "-f", "in.yaml", "-w", "out.yaml", "--cert", "cert.pem")
			if tc.good != (err == nil) || tc.want != nil && !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if err != nil && (strings.Contains(out+err.Error(), "canary") || before != read(t, dir)) {
				t.Errorf("the input is repeated, or a file is another: %v", err)
			}
			if tc.good && !strings.Contains(out, "seal fewer or smaller items") {
				t.Errorf("it is larger than a cluster takes, and nothing is said: %s", out)
			}
			if tc.good && strings.Count(read(t, dir), "kind: SealedSecret") != 1 {
				t.Error("nothing was sealed")
			}
		})
	}
}

// A SealedSecret of the wrong types is told by verify, open and seal set, each
// with the file as it was.
func TestBadSealedSecrets(t *testing.T) {
	files := material(t)
	const head = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: prod}\n"
	for name, text := range map[string]string{
		"DataIsText": head + "spec: {encryptedData: text}\n", "DataIsList": head + "spec: {encryptedData: [a]}\n", "ItemIsMap": head + "spec: {encryptedData: {a: {b: c}}}\n",
		"ItemIsList": head + "spec: {encryptedData: {a: [b]}}\n", "SpecIsText": head + "spec: text\n", "MetadataIsText": "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: text\nspec: {}\n",
		"NotYAML": head + "spec: {", "NotBase64": head + "spec: {encryptedData: {a: '!'}}\n", "ItemIsNumber": head + "spec: {encryptedData: {a: 1}}\n", "Number2": head + "spec: {encryptedData: {a: 1e400}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			for _, f := range []string{"cert.pem", "rsa.key"} {
				putFile(t, f, string(files[f]))
			}
			putFile(t, "value", "v")
			putFile(t, "in.yaml", text)
			before := read(t, dir)
			for _, args := range [][]string{{"verify", "in.yaml", "--cert", "cert.pem"}, {"open", "in.yaml", "--key", "rsa.key", "--item", "a"}, {"seal", "set", "in.yaml", "b", "--from-file", "value", "--cert", "cert.pem"}} {
				out, err := try(t, args...)
				good := args[0] == "seal" && (name == "NotBase64" || strings.Contains(name, "Number")) // of another item
				if good != (err == nil) {
					t.Errorf("%v: got %v\n%s", args[0], err, out)
				}
				if !good && before != read(t, dir) {
					t.Errorf("%v: files became %s", args[0], read(t, dir))
				}
			}
		})
	}
}

// A file with ten thousand items gets one more, and every other line stays.
func TestSetManyItems(t *testing.T) {
	files := material(t)
	t.Chdir(t.TempDir())
	in := &strings.Builder{}
	in.WriteString("apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: prod}\nspec:\n  encryptedData:\n")
	for n := range 10_000 {
		fmt.Fprintf(in, "    item-%05d: AgB # %d\n", n, n)
	}
	putFile(t, "db.yaml", in.String())
	putFile(t, "cert.pem", string(files["cert.pem"]))
	putFile(t, "value", "v")
	if out, err := try(t, "seal", "set", "db.yaml", "item-05000-a", "--from-file", "value", "--cert", "cert.pem"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile("db.yaml")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), "    item-05000-a: ")
	_, after, _ := strings.Cut(rest, "\n")
	if !found || before+after != in.String() || !strings.HasSuffix(before, "# 5000\n") {
		t.Error("more than one line is another, or it stands elsewhere")
	}
}
