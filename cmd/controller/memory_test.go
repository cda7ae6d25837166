package main

import (
	"os"
	"os/exec"
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
	if os.Getenv("FORGET_CODE") == "" { // in a process that has not forgotten yet
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestForgetCode$")
		again.Env = append(os.Environ(), "FORGET_CODE=1")
		if out, err := again.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
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

// TestHeld sees what a burst of work leaves behind, and that it can be given
// back.
func TestHeld(t *testing.T) {
	burst := make([]byte, 64<<20)
	for i := range burst {
		burst[i] = 1
	}
	runtime.KeepAlive(burst)
	runtime.GC() // what is live is known from here on, and the burst is not
	if got := held(); got < heldMax {
		t.Errorf("%d bytes are held after a burst of %d, want more than %d", got, len(burst), heldMax)
	}
	giveBack(t.Context())
	if got := held(); got > heldMax {
		t.Errorf("%d bytes are held after they were given back", got)
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
