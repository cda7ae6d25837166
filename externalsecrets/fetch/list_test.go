package fetch_test

import (
	"testing"

	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
)

func TestListPages(t *testing.T) {
	for name, tc := range map[string]struct{ reads, size, held, want int }{
		"nothing to read":                      {0, 20, 0, 0},
		"one batch":                            {20, 20, 0, 0},
		"two batches, one page":                {21, 20, 0, 1},
		"a thousand, not known":                {1000, 20, 0, 25},
		"a thousand, and no others":            {1000, 20, 10, 25},
		"a thousand of 2,500":                  {1000, 20, 25, 25},
		"a thousand of 2,501":                  {1000, 20, 26, 0},
		"a thousand of 100,000":                {1000, 20, 1000, 0},
		"two batches of a store of two pages":  {40, 20, 2, 0},
		"one at a time, as without batches":    {100, 1, 1, 50},
		"the last batch is not full":           {61, 20, 2, 2},
		"one that is left of a store of pages": {1, 20, 3, 0},
	} {
		if got := fetch.ListPages(tc.reads, tc.size, tc.held); got != tc.want {
			t.Errorf("%s: ListPages(%d, %d, %d): got %d, want %d", name, tc.reads, tc.size, tc.held, got, tc.want)
		}
	}
}
