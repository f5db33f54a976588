package server

import (
	"os/exec"
	"syscall"
)

// dieWithUs has the kernel kill a command when the thread that started it ends,
// so that a test that is killed leaves nothing running. The caller keeps its
// goroutine on that thread for as long as the command runs.
func dieWithUs(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
