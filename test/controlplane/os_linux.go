package controlplane

import (
	"os/exec"
	"syscall"
)

// dieWithUs has the kernel end a command when the thread that started it ends,
// so that a test that panics or is killed leaves no server behind. The caller
// keeps its goroutine on that thread for as long as the command runs.
func dieWithUs(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}
