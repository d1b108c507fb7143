//go:build linux

// Package osspecific on Linux: the module as it is served lacks this one file, so the five names its other
// platforms define are given here, with the same behaviour.
package osspecific

import (
	"os"
	"syscall"
	"time"

	"github.com/argoproj/argo-workflows/v3/util/errors"
)

// Term is the signal that asks a process to end.
var Term = syscall.SIGTERM

// CanIgnoreSignal tells whether a signal need not reach the program.
func CanIgnoreSignal(s os.Signal) bool {
	switch s {
	case syscall.SIGCHLD, syscall.SIGURG: // a child ended; the Go runtime woke itself
		return true
	default:
		return false
	}
}

// Setpgid makes a new process the leader of a group of its own.
func Setpgid(a *syscall.SysProcAttr) { a.Setpgid = true }

// Kill signals the whole group of a process, or the process alone where its group is gone.
func Kill(pid int, s syscall.Signal) error {
	if group, err := syscall.Getpgid(pid); err == nil {
		pid = -group
	}
	return syscall.Kill(pid, s)
}

// Wait reaps every child until the given process has ended, as a container's first process must. It asks once a
// second, like the other platforms', so that times measured with it are not better than theirs.
func Wait(process *os.Process) error {
	main := process.Pid
	if err := process.Release(); err != nil {
		return err
	}
	for ; ; time.Sleep(time.Second) {
		var status syscall.WaitStatus
		reaped, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err != nil {
			return err
		}
		if reaped != main {
			continue
		}
		if status.Signaled() {
			return errors.NewExitErr(128 + int(status.Signal()))
		}
		if status.Exited() {
			return errors.NewExitErr(status.ExitStatus())
		}
	}
}
