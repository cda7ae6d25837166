package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// TestForgetCode sees the pages of the program go, and the program go on.
func TestForgetCode(t *testing.T) {
	if runtime.GOOS != "linux" {
		if err := forgetCode(); err != nil {
			t.Fatal(err)
		}
		return
	}
	before := residentFile(t)
	if err := forgetCode(); err != nil {
		t.Fatal(err)
	}
	if after := residentFile(t); after > before*9/10 {
		t.Errorf("%d KiB of files are resident, and were %d: nothing was given back", after, before)
	}
	if o, err := parse([]string{"--namespace=lockstep-system"}); err != nil || o.keySize != 4096 {
		t.Errorf("after that, parse says %+v, %v", o, err)
	}
}

// residentFile returns how many KiB of mapped files are resident.
func residentFile(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "RssFile:" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no RssFile in /proc/self/status")
	return 0
}
