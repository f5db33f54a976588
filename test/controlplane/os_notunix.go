//go:build !unix

package controlplane

import (
	"os"
	"os/exec"
)

// The control plane is for Unix; this is what lets the rest of the command
// compile elsewhere.

func tryLock(*os.File) error { return nil }

func ownGroup(*exec.Cmd) {}

func killGroup(pid int) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return process.Kill()
}

func terminate(process *os.Process) error { return process.Kill() }

func alive(int) bool { return true }
