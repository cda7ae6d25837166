package attacks

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/Masterminds/sprig/v3"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/template"
)

// TestK2TemplatesReachNothing reads the imports of the packages that render:
// without a client, a network, a file system or a program to run, no template
// reads what it was not given.
func TestK2TemplatesReachNothing(t *testing.T) {
	for _, dir := range []string{"externalsecrets/template", "externalsecrets/fetch"} {
		files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(dir), "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", dir, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range parsed.Imports {
				name, _ := strconv.Unquote(spec.Path.Value)
				reaches := slices.Contains([]string{"os", "net", "os/exec", "syscall", "plugin", "unsafe", "io/ioutil", "math/rand", "math/rand/v2"}, name)
				if reaches || strings.HasPrefix(name, "net/http") || strings.HasPrefix(name, "k8s.io/client-go") || strings.HasPrefix(name, "sigs.k8s.io/controller-runtime") {
					t.Errorf("%s imports %s", file, name)
				}
			}
		}
	}
}

// impure are the functions of sprig and others that tell of, or depend on,
// anything but their arguments.
var impure = []string{
	"env", "expandenv", "getHostByName", "now", "date", "ago", "htmlDate", "uuidv4", "randAlphaNum", "randAlpha", "randAscii", "randNumeric", "randBytes", "randInt",
	"genPrivateKey", "genCA", "genSelfSignedCert", "genSignedCert", "genCAWithKey", "genSelfSignedCertWithKey", "genSignedCertWithKey", "encryptAES", "bcrypt", "htpasswd", "derivePassword",
	"shuffle", "getSecretKey", "include", "tpl", "lookup", "osBase", "osDir", "osExt", "osClean", "osIsAbs",
}

// TestK6FunctionsOfTemplates calls every function that sprig has by its name:
// none that is impure is there.
func TestK6FunctionsOfTemplates(t *testing.T) {
	names := impure
	for name := range sprig.GenericFuncMap() {
		names = append(names, name)
	}
	refused := 0
	for _, name := range names {
		_, err := template.Render(t.Context(), &esv1.Template{Data: map[string]string{"a": "{{ " + name + " }}"}}, nil, map[string][]byte{})
		unknown := err != nil && (strings.Contains(err.Error(), "there is no function "+name) || strings.Contains(err.Error(), "function "+name+" is not available"))
		if unknown {
			refused++
		}
		if slices.Contains(impure, name) && !unknown {
			t.Errorf("%s: got %v, want that there is no such function", name, err)
		}
	}
	if len(names) < 200 || refused < len(impure) {
		t.Errorf("%d functions were tried, and %d refused: the test proves nothing", len(names), refused)
	}
}
