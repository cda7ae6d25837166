package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// forgetCode unmaps the resident pages of the program's own code and constants.
// More than half of them were touched by the initialisation of packages only;
// those that are needed again come back from the page cache, at the price of a
// minor fault.
// Source: madvise(2), MADV_DONTNEED: "subsequent accesses of pages in the range
// will succeed, but will result in [...] repopulating the memory contents from
// the up-to-date contents of the underlying mapped file".
func forgetCode() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for line := range bytes.Lines(maps) {
		// address, mode, offset, device, inode and file: proc_pid_maps(5).
		// Writable ranges are private copies, whose contents would be lost.
		fields := bytes.Fields(line)
		if len(fields) != 6 || string(fields[5]) != program || bytes.ContainsRune(fields[1], 'w') {
			continue
		}
		from, to, err := addresses(fields[0])
		if err != nil {
			return fmt.Errorf("read /proc/self/maps: %w", err)
		}
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise: %w", errno)
		}
	}
	return nil
}

// addresses reads a range like 00400000-0244b000.
func addresses(text []byte) (from, to uintptr, err error) {
	first, last, _ := bytes.Cut(text, []byte("-"))
	a, err := strconv.ParseUint(string(first), 16, strconv.IntSize)
	if err != nil {
		return 0, 0, err
	}
	b, err := strconv.ParseUint(string(last), 16, strconv.IntSize)
	return uintptr(a), uintptr(b), err
}
