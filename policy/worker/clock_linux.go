package worker

import (
	"time"

	"golang.org/x/sys/unix"
)

// processorTime is what a process has used so far: its own clock's, which
// clock_getcpuclockid(3) names by the process's id.
func processorTime(pid int, began time.Time) time.Duration {
	const ofProcess = 2 // CPUCLOCK_SCHED of include/linux/posix-timers.h
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|ofProcess), &t); err != nil {
		return time.Since(began)
	}
	return time.Duration(t.Nano())
}

// ownTime is what this process has used so far.
func ownTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		return sinceStart()
	}
	return time.Duration(t.Nano())
}
