// Command vectors makes the vectors of envelope 2 in sealer/testkit/envelope2.
// They are frozen: run it only when the format has a new version, as what it
// makes is another every time.
package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/lockstep-dev/lockstep/sealer"
)

// folder is where the vectors go, from the root of the repository.
const folder = "sealer/testkit/envelope2"

// set are the vectors and their keys.
type set struct {
	keys  map[string]*sealer.HybridKey
	names map[string]bool
}

func main() {
	s := &set{keys: map[string]*sealer.HybridKey{}, names: map[string]bool{}}
	here, there := sealer.NewClusterID(), sealer.NewClusterID()
	check(os.MkdirAll(filepath.Join(folder, "keys"), 0o755))
	for name, cluster := range map[string]sealer.ClusterID{"a": here, "b": here, "lost": here, "foreign": there, "offline": {}} {
		key, err := sealer.NewHybridKey(cluster)
		check(err)
		s.keys[name] = key
		check(os.WriteFile(filepath.Join(folder, "keys", name+".pem"), key.Encode(), 0o644))
	}
	s.good()
	s.places()
	s.unknown()
	s.formats()
	s.tampered()
	fmt.Println(len(s.names), "vectors in", folder)
}

// vector is one file.
type vector struct {
	name, about, expect string
	place               place
	keys                string // names of those that the opener has
	sealed              string
	value               []byte
}

func (s *set) write(v vector) {
	if s.names[v.name] {
		panic("two vectors " + v.name)
	}
	s.names[v.name] = true
	if v.keys == "" {
		v.keys = "a b"
	}
	var out strings.Builder
	fmt.Fprintf(&out, "expect: %s\n%s\n-- place --\n%v\n-- keys --\n%s\n", v.expect, v.about, v.place, v.keys)
	if plain := strings.TrimSpace(v.sealed) == v.sealed && v.sealed != "" && !strings.ContainsAny(v.sealed, "\n\r"); plain {
		fmt.Fprintf(&out, "-- sealed --\n%s\n", v.sealed)
	} else {
		fmt.Fprintf(&out, "-- sealed-base64 --\n%s\n", base64.StdEncoding.EncodeToString([]byte(v.sealed)))
	}
	if v.expect == "ok" {
		fmt.Fprintf(&out, "-- plaintext --\n%s\n", base64.StdEncoding.EncodeToString(v.value))
	}
	check(os.WriteFile(filepath.Join(folder, v.name+".txtar"), []byte(out.String()), 0o644))
}

func (s *set) to(names ...string) []*sealer.HybridKey {
	var all []*sealer.HybridKey
	for _, n := range names {
		all = append(all, s.keys[n])
	}
	return all
}

// strangers are keys that nobody has.
func strangers(n int) []*sealer.HybridKey {
	var all []*sealer.HybridKey
	for range n {
		key, err := sealer.NewHybridKey(sealer.NewClusterID())
		check(err)
		all = append(all, key)
	}
	return all
}
