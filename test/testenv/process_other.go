//go:build unix && !linux

package testenv

import "syscall"

// dieWithParent has no counterpart outside Linux: there the test servers end
// with their standard input, and the control plane by Stop only.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
