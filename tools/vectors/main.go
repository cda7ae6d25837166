// Command vectors makes the vectors in sealer/testkit: those of envelope 1 with
// the genuine kubeseal, which tools/kubeseal pins, and those of envelope 2 by
// docs/envelope-2.md.
//
//	go run ./tools/vectors -envelope 1 -check
//
// They are frozen: each run makes others, of the same shape. -check makes them
// and compares the shape with that of the files, which it leaves alone.
package main

import (
	"encoding/base64"
	"flag"
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
	envelope := flag.Int("envelope", 0, "which vectors to make: 1 or 2")
	kubeseal := flag.String("kubeseal", "", "program of the genuine kubeseal (default: tools/kubeseal builds it)")
	compare := flag.Bool("check", false, "compare the shape of the files of envelope 1 with what would be made, and write nothing")
	flag.Parse()
	switch {
	case *envelope == 1:
		s := newSet1(folder1, *kubeseal)
		if *compare {
			if different := s.compare(); len(different) > 0 {
				fmt.Fprintln(os.Stderr, strings.Join(different, "\n"))
				os.Exit(1)
			}
			fmt.Println(len(s.files), "vectors have the shape of those in", folder1)
			return
		}
		s.save()
	case *envelope == 2 && !*compare:
		make2()
	default:
		flag.Usage()
		os.Exit(2)
	}
}

func make2() {
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
