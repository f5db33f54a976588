//go:build !linux || !(amd64 || arm64)

package worker

// lockIn can do nothing here: the process is apart, and its memory is bounded
// by the collector's own limit. The server runs on Linux.
func lockIn(int) error { return nil }
