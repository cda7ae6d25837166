package testenv

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
)

// Canary is a secret value that no one would come up with. A test plants it
// where a secret belongs, and then looks for it everywhere else.
type Canary struct {
	value string
	forms [][]byte // spellings in which it could come out
}

// NewCanary makes a canary. Its value is 40 bytes of printable text without
// quotes or spaces, and differs every time.
func NewCanary(t testing.TB) *Canary {
	t.Helper()
	c, err := MakeCanary()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// MakeCanary is NewCanary for programs that are no tests.
func MakeCanary() (*Canary, error) {
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return nil, fmt.Errorf("testenv: make a canary: %w", err)
	}
	return CanaryOf("canary-" + hex.EncodeToString(random) + "+"), nil
}

// CanaryOf looks for a value that is there already.
func CanaryOf(value string) *Canary {
	c := &Canary{value: value}
	c.forms = append(c.forms, []byte(value), []byte(hex.EncodeToString([]byte(value))), []byte(url.QueryEscape(value)))
	// base64 of a longer text that holds the value looks different for each of
	// the three ways in which it can be aligned; the characters at the ends
	// depend on the neighbours, so they are cut off.
	for shift := range 3 {
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + value))
		from := (shift*8 + 5) / 6
		to := (shift + len(value)) * 8 / 6
		c.forms = append(c.forms, []byte(encoded[from:to]), []byte(strings.NewReplacer("+", "-", "/", "_").Replace(encoded[from:to])))
	}
	return c
}

// Value is what to plant.
func (c *Canary) Value() string { return c.value }

// In reports whether text holds the canary, as it is or encoded: base64 of any
// alignment, hex, URL.
func (c *Canary) In(text []byte) bool {
	for _, form := range c.forms {
		if bytes.Contains(text, form) {
			return true
		}
	}
	return false
}

// NotIn fails t if text holds the canary. where names the text.
func (c *Canary) NotIn(t testing.TB, where string, text []byte) {
	t.Helper()
	if c.In(text) {
		t.Errorf("the secret value is in %s", where)
	}
}

// NotInFiles fails t if a file below dir holds the canary. It fails too if
// there is no file at all.
func (c *Canary) NotInFiles(t testing.TB, dir string) {
	t.Helper()
	found, err := c.InFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		t.Errorf("the secret value is in the file %s", path)
	}
}

// InFiles returns the files below dir that hold the canary. It returns an
// error if there is no file at all.
func (c *Canary) InFiles(dir string) ([]string, error) {
	var found []string
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		n++
		data, err := os.ReadFile(path)
		if err == nil && c.In(data) {
			found = append(found, path)
		}
		return err
	})
	if err == nil && n == 0 {
		err = fmt.Errorf("testenv: no files below %s: nothing was looked at", dir)
	}
	return found, err
}

// NotInCluster fails t if any object that the API server holds has the canary
// in it, events among them, but for the Secrets named.
func (c *Canary) NotInCluster(t testing.TB, cp *ControlPlane, secrets ...types.NamespacedName) {
	t.Helper()
	found, err := c.InCluster(t.Context(), cp, secrets...)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range found {
		t.Errorf("the secret value is in %s", name)
	}
}

// InCluster returns the objects that hold the canary, but for the Secrets
// named.
func (c *Canary) InCluster(ctx context.Context, cp *ControlPlane, secrets ...types.NamespacedName) ([]string, error) {
	lists, err := discovery.ServerPreferredResources(cp.Client.Discovery())
	if err != nil {
		return nil, fmt.Errorf("testenv: list the kinds: %w", err)
	}
	allowed := map[string]bool{}
	for _, s := range secrets {
		allowed["secrets "+s.String()] = true
	}
	lists = discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list"}}, lists)
	resources, err := discovery.GroupVersionResources(lists)
	if err != nil {
		return nil, fmt.Errorf("testenv: list the kinds: %w", err)
	}
	var found []string
	n := 0
	for r := range resources {
		objects, err := cp.objects(ctx, r)
		if err != nil {
			return nil, err
		}
		n += len(objects)
		for name, text := range objects {
			if !allowed[name] && c.In(text) {
				found = append(found, name)
			}
		}
	}
	if n == 0 {
		return nil, errors.New("testenv: the API server holds no objects: nothing was looked at")
	}
	slices.Sort(found)
	return found, nil
}

// objects returns the objects of a resource as JSON, by "RESOURCE NAMESPACE/NAME".
func (c *ControlPlane) objects(ctx context.Context, r schema.GroupVersionResource) (map[string][]byte, error) {
	list, err := c.Dynamic.Resource(r).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("testenv: list %s: %w", r.Resource, err)
	}
	objects := map[string][]byte{}
	for _, o := range list.Items {
		name := r.Resource + " " + types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}.String()
		if objects[name], err = json.Marshal(o.Object); err != nil {
			return nil, fmt.Errorf("testenv: %s: %w", name, err)
		}
	}
	return objects, nil
}
