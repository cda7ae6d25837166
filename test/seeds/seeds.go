// Package seeds gives fuzz targets what they begin with.
package seeds

import "testing"

// Add gives a target of one argument its seeds, and fails if there are none:
// a target that begins with nothing finds nothing in the time that it has.
func Add[T string | []byte](f *testing.F, all ...T) {
	f.Helper()
	if len(all) == 0 {
		f.Fatal("this target has no seeds: give it some of what it reads")
	}
	for _, seed := range all {
		f.Add(seed)
	}
}
