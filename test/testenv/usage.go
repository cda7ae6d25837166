package testenv

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// usage returns what the process of a number has used, and "self" this one; see
// Controller.Usage.
func usage(pid string) (cpu time.Duration, rss, peak int64, err error) {
	stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return 0, 0, 0, fmt.Errorf("testenv: %w", err)
	}
	// The fields after the name, which may hold spaces: utime and stime are the
	// 14th and 15th of all, in ticks of 10 ms. Source: proc(5).
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	ticks := number(fields[11]) + number(fields[12])
	status, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
	if err != nil {
		return 0, 0, 0, fmt.Errorf("testenv: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kib := number(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch name {
		case "VmRSS":
			rss = kib << 10
		case "VmHWM":
			peak = kib << 10
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond, rss, peak, nil
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSpace(s), 10, 64) // 0 for lines that hold no number
	return n
}

// CPU returns the processor time that each component has used, by name; see
// Controller.Usage.
func (c *ControlPlane) CPU() (map[string]time.Duration, error) {
	all := map[string]time.Duration{}
	for _, p := range c.processes {
		cpu, _, _, err := usage(strconv.Itoa(p.cmd.Process.Pid))
		if err != nil {
			return nil, err
		}
		all[p.name] += cpu
	}
	return all, nil
}

// OwnCPU returns the processor time that this process has used.
func OwnCPU() (time.Duration, error) {
	cpu, _, _, err := usage("self")
	return cpu, err
}
