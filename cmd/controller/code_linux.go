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
	mappings, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return err
	}
	var from, to uintptr // of the range whose lines are read; none if it is not the program's
	for line := range bytes.Lines(mappings) {
		fields := bytes.Fields(line)
		if isRange(fields) {
			from, to, err = 0, 0, nil
			if len(fields) == 6 && string(fields[5]) == program && !bytes.ContainsRune(fields[1], 'w') {
				from, to, err = addresses(fields[0])
			}
		} else if from != to && untouched(fields) {
			err = forget(from, to)
		}
		if err != nil {
			return fmt.Errorf("forget %s: %w", fields[0], err)
		}
	}
	return nil
}

// isRange reports whether a line of /proc/self/smaps begins a range.
// Source: proc_pid_smaps(5)
func isRange(fields [][]byte) bool {
	return len(fields) >= 5 && bytes.ContainsRune(fields[0], '-')
}

// untouched reports whether a line says that all pages of its range are still
// the file's. Others, such as those that the dynamic linker has relocated and
// then protected, would be lost.
func untouched(fields [][]byte) bool {
	return len(fields) == 3 && string(fields[0]) == "Anonymous:" && string(fields[1]) == "0"
}

func forget(from, to uintptr) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED); errno != 0 {
		return errno
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
