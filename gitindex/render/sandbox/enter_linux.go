//go:build amd64 || arm64

package sandbox

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Enter leaves the process nothing but its memory and the files that are open
// already: no other file, no network, no other program. What Go's runtime needs
// is allowed by name (seccomp(2)); everything else fails with EPERM.
func Enter(memory int) error {
	limit := unix.Rlimit{Cur: uint64(memory), Max: uint64(memory)}
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &limit); err != nil {
		return fmt.Errorf("limiting memory: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("limiting core files: %w", err)
	}
	return filter()
}

var audit = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

const (
	load, ret  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_RET | unix.BPF_K
	equal, set = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K

	allow, refuse, absent, kill = 0x7fff0000, 0x00050000 | uint32(unix.EPERM), 0x00050000 | uint32(unix.ENOSYS), 0x80000000
)

// filter is a seccomp program for all threads: kill what comes by another
// architecture's table, allow threads but no processes, signals to none but
// itself, allow the list, refuse the rest. The numbers of x32, which shares its
// table's name with amd64, are on no list. See
// linux/Documentation/userspace-api/seccomp_filter.rst.
func filter() error {
	arch, ok := audit[runtime.GOARCH]
	if !ok {
		return fmt.Errorf("there is no system call filter for %s", runtime.GOARCH)
	}
	const number, architecture = 0, 4 // offsets in struct seccomp_data
	program := []unix.SockFilter{
		{Code: load, K: architecture},
		{Code: equal, K: arch, Jt: 1},
		{Code: ret, K: kill},
		{Code: load, K: number},
	}
	// What clone3 is asked for lies in memory, out of a filter's sight. Said not to
	// be there, as before Linux 5.3, libc makes its threads with clone.
	program = append(program, unix.SockFilter{Code: equal, K: unix.SYS_CLONE3, Jf: 1}, unix.SockFilter{Code: ret, K: absent})
	program = append(program, only(unix.SYS_CLONE, 0, set, unix.CLONE_THREAD)...)
	program = append(program, only(unix.SYS_TGKILL, 0, equal, uint32(unix.Getpid()))...)
	// Others of fcntl's commands say whom a pipe is to signal, and how.
	program = append(program, only(unix.SYS_FCNTL, 1, equal, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL, unix.F_DUPFD_CLOEXEC)...)
	for _, n := range allowed {
		program = append(program, unix.SockFilter{Code: equal, K: uint32(n), Jf: 1}, unix.SockFilter{Code: ret, K: allow})
	}
	program = append(program, unix.SockFilter{Code: ret, K: refuse})
	runtime.LockOSThread() // the two calls count for the thread that makes them
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up privileges: %w", err)
	}
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&p)))
	switch {
	case errno != 0:
		return fmt.Errorf("filtering system calls: %w", errno)
	case thread != 0: // seccomp(2): the id of a thread that could not be brought along
		return fmt.Errorf("filtering system calls: thread %d has another filter", thread)
	}
	return nil
}

// only allows one system call where an argument's low half passes a test for
// one of some values, and refuses it otherwise.
func only(call uintptr, argument uint32, test uint16, values ...uint32) []unix.SockFilter {
	const arguments = 16 // their offset in struct seccomp_data
	block := []unix.SockFilter{{Code: equal, K: uint32(call), Jf: uint8(2 + 2*len(values))}, {Code: load, K: arguments + 8*argument}}
	for _, v := range values {
		block = append(block, unix.SockFilter{Code: test, K: v, Jf: 1}, unix.SockFilter{Code: ret, K: allow})
	}
	return append(block, unix.SockFilter{Code: ret, K: refuse})
}

// allowed are the system calls of a Go program that computes and talks through
// pipes: memory, threads, signals, time, and reading, writing, polling of what
// is open.
var allowed = append([]uintptr{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_CLOSE, unix.SYS_FSTAT,
	unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_BRK, unix.SYS_MREMAP,
	unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY,
	unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETRLIMIT, unix.SYS_PRCTL,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL,
	unix.SYS_GETTID, unix.SYS_GETPID, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_GETRANDOM,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, unix.SYS_PPOLL,
	unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_SET_TID_ADDRESS, unix.SYS_MEMBARRIER,
	unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE,
}, allowedHere...)
