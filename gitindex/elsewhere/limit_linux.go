package elsewhere

import (
	"runtime/debug"
	"syscall"
)

// limitProcess bounds this process for good. What Go's heap reserves without
// using it does not count as data, so RLIMIT_DATA is what can be meant
// (setrlimit(2)); the collector keeps well below it.
func limitProcess(l Limits) error {
	debug.SetMemoryLimit(l.Memory * 3 / 4)
	for resource, most := range map[int]uint64{
		syscall.RLIMIT_DATA:   uint64(l.Memory),
		syscall.RLIMIT_CPU:    uint64(l.Time.Seconds()) + 1,
		syscall.RLIMIT_NOFILE: 64,
		syscall.RLIMIT_FSIZE:  0, // it writes to a pipe, never to a file
		syscall.RLIMIT_CORE:   0,
	} {
		if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
			return err
		}
	}
	return nil
}
