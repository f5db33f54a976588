//go:build !linux

package worker

import "time"

// processorTime is the time that has passed: there is no clock of another
// process here.
func processorTime(_ int, began time.Time) time.Duration { return time.Since(began) }

func ownTime() time.Duration { return sinceStart() }
