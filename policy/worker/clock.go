package worker

import "time"

var started = time.Now()

// sinceStart is the time that has passed since this process began.
func sinceStart() time.Duration { return time.Since(started) }
