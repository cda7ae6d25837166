package testenv

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// module is the path of the main module; its root folder is found by it.
const module = "github.com/lockstep-dev/lockstep"

// program is one binary that this package starts.
type program struct {
	dir     string   // its module, from the root of the repository
	shared  []string // folders that its go.mod replaces a module with
	pkg     string   // the package to build, from dir
	ldflags string   // for the linker, besides -s -w
	tags    string   // build tags, with commas between them
	maker   bool     // pkg is a command that makes the program at the path that it is given
	cost    string   // what a cold build takes on two cores, said before it starts
	cgo     bool     // it has parts in C
}

// kubernetesVersion is what the control plane says it is: the version of
// k8s.io/kubernetes in test/controlplane/go.mod. Without the linker's help it
// would call itself v0.0.0-master, and Helm would refuse charts with a kubeVersion.
const kubernetesVersion = "v1.37.2"

var programs = map[string]program{
	"controlplane": {dir: "test/controlplane", pkg: ".", cost: "10 to 15 minutes", ldflags: versionFlags(kubernetesVersion)},
	"vault":        {dir: "test/servers/vault", shared: []string{"test/servers/serve"}, pkg: ".", cost: "5 to 10 minutes"},
	"aws":          {dir: "test/servers/aws", shared: []string{"test/servers/serve"}, pkg: ".", cost: "half a minute"},
	"gcp":          {dir: "test/servers/gcp", shared: []string{"test/servers/serve"}, pkg: ".", cost: "a minute"},
	"git":          {dir: "test/servers/git", shared: []string{"test/servers/serve"}, pkg: ".", cost: "20 seconds"},
	"kwok":         {dir: "test/servers/kwok", pkg: ".", cost: "2 to 4 minutes"},
	// Gitea's only database is one in C.
	"gitea": {dir: "test/servers/gitea", pkg: "code.gitea.io/gitea", tags: "sqlite,sqlite_unlock_notify", cgo: true, cost: "6 to 10 minutes"},
	"s3":    {dir: "test/servers/s3", pkg: "github.com/versity/versitygw/cmd/versitygw", cost: "1 to 2 minutes"},
	"flux":  {dir: "tools/flux", pkg: ".", maker: true, cost: "8 to 12 minutes"},
	// What benchmarks run beside ours; nothing else needs them, so Programs does
	// not name them.
	"kustomize-controller": {dir: "tools/fluxcontrollers", pkg: "github.com/fluxcd/kustomize-controller", cost: "8 to 12 minutes"},
	"source-controller":    {dir: "tools/fluxcontrollers", pkg: "github.com/fluxcd/source-controller", cost: "8 to 12 minutes"},

	"kubeseal": {dir: "tools/kubeseal", pkg: "github.com/bitnami-labs/sealed-secrets/cmd/kubeseal", cost: "2 to 3 minutes"},
	// The integration tests of Sealed Secrets.
	"peersuite": {dir: "tools/peersuite", pkg: ".", maker: true, cost: "2 to 3 minutes"},
}

func versionFlags(v string) string {
	const pkg = "k8s.io/component-base/version"
	major, rest, _ := strings.Cut(strings.TrimPrefix(v, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	return fmt.Sprintf("-X %s.gitVersion=%s -X %s.gitMajor=%s -X %s.gitMinor=%s", pkg, v, pkg, major, pkg, minor)
}

// Programs returns the names of what tests need of Binary, in the order in which
// to build them.
func Programs() []string {
	return []string{"controlplane", "vault", "kwok", "aws", "gcp", "git", "s3", "kubeseal", "peersuite", "gitea", "flux"}
}

// Binary returns the path of the named program, and builds it first if the
// cache does not hold it: one file per name, content of the program's module
// and Go version. Several processes may ask at once; one builds, the others
// wait. What happens is said on progress, a line at a time.
func Binary(ctx context.Context, name string, progress io.Writer) (string, error) {
	p, ok := programs[name]
	if !ok {
		return "", fmt.Errorf("testenv: no program %q; there are %s", name, strings.Join(Programs(), ", "))
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	sum, err := p.hash(root)
	if err != nil {
		return "", fmt.Errorf("testenv: hash the sources of %s: %w", name, err)
	}
	cache, err := binaryCache()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, name+"-"+sum)
	if used(path) {
		return path, nil
	}
	if p.cgo && !hasCompiler(ctx) {
		return "", fmt.Errorf("testenv: %s: %w", name, ErrNoCompiler)
	}
	unlock, err := lockFile(ctx, filepath.Join(cache, name+".lock"), func() {
		fmt.Fprintf(progress, "%s: another process builds it; waiting\n", name)
	})
	if err != nil {
		return "", fmt.Errorf("testenv: wait for the build of %s: %w", name, err)
	}
	defer unlock()
	if used(path) {
		return path, nil
	}
	if err := p.build(ctx, name, root, path, progress); err != nil {
		return "", err
	}
	removeUnused(cache, name)
	return path, nil
}

// Root returns the folder of the main module, at or above the working folder.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("testenv: find the repository: %w", err)
	}
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module "+module+"\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("testenv: no go.mod of %s above the working folder; run this inside the repository", module)
		}
		dir = parent
	}
}

func binaryCache() (string, error) {
	user, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("testenv: find the cache folder: %w", err)
	}
	dir := filepath.Join(user, "lockstep", "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("testenv: make the cache folder: %w", err)
	}
	return dir, nil
}

// hash identifies what a build of p would give.
func (p program) hash(root string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH, p.pkg, p.ldflags+p.tags)
	n := 0
	for _, dir := range append([]string{p.dir}, p.shared...) {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(root, path)
			fmt.Fprintln(h, filepath.ToSlash(rel), len(data))
			h.Write(data)
			n++
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	if n == 0 {
		return "", errors.New("no files")
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// ErrNoCompiler says that a program has parts in C, and there is no compiler.
var ErrNoCompiler = errors.New("it needs a C compiler, and there is none")

func hasCompiler(ctx context.Context) bool {
	cc, err := exec.CommandContext(ctx, "go", "env", "CC").Output()
	if err != nil {
		return false
	}
	_, err = exec.LookPath(strings.TrimSpace(string(cc)))
	return err == nil
}

// build compiles p to path. The file appears there only when it is whole.
func (p program) build(ctx context.Context, name, root, path string, progress io.Writer) error {
	start := time.Now()
	fmt.Fprintf(progress, "%s: building; the first time this takes about %s\n", name, p.cost)
	tmp := path + ".new"
	args := []string{
		"build", "-mod=readonly", "-trimpath", "-buildvcs=false",
		"-tags", p.tags, "-ldflags", strings.TrimSpace("-s -w " + p.ldflags), "-o", tmp, p.pkg,
	}
	if p.maker {
		args = []string{"run", "-mod=readonly", p.pkg, tmp}
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(root, p.dir)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "GOFLAGS=") }), "GOWORK=off")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second

	stop := every(15*time.Second, func() {
		fmt.Fprintf(progress, "%s: building, %s\n", name, time.Since(start).Round(time.Second))
	})
	err := cmd.Run()
	stop()
	if err != nil {
		return fmt.Errorf("testenv: build %s in %s: %w\n%s", name, p.dir, err, tail(out.String(), 40))
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("testenv: keep %s: %w", name, err)
	}
	fmt.Fprintf(progress, "%s: built in %s\n", name, time.Since(start).Round(time.Second))
	return nil
}

// every calls f each interval, in a goroutine, until the returned function is called.
func every(interval time.Duration, f func()) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	ticker := time.NewTicker(interval)
	go func() {
		defer close(ended)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				f()
			}
		}
	}()
	return func() { close(done); <-ended }
}

// used says whether path is there, and notes that it was asked for.
func used(path string) bool {
	now := time.Now()
	return os.Chtimes(path, now, now) == nil
}

// keepUnused is how long a binary that nobody asks for stays: long enough for
// a branch that is left and taken up again.
const keepUnused = 14 * 24 * time.Hour

// removeUnused removes older builds of the same program. What cannot be
// removed is tried again after the next build.
func removeUnused(cache, name string) {
	old, _ := filepath.Glob(filepath.Join(cache, name+"-*"))
	for _, path := range old {
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > keepUnused {
			_ = os.Remove(path)
		}
	}
}
