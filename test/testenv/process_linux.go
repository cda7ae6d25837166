package testenv

import "syscall"

// dieWithParent lets the system end the child when this process is gone, even
// by SIGKILL.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
