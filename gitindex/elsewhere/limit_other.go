//go:build !linux

package elsewhere

import "runtime/debug"

// limitProcess can only ask the collector where there is no RLIMIT_DATA that
// counts what Go uses. The byte limits and the deadline hold as everywhere.
func limitProcess(l Limits) error {
	debug.SetMemoryLimit(l.Memory * 3 / 4)
	return nil
}
