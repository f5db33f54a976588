package interop

import (
	"testing"
	"time"

	"github.com/gitward/gitward/test/server"
)

// daemon is a program of a tool.
type daemon struct {
	server.Process
	health string // a page or an address that answers when it is ready
	token  string // of its account
}

// ready waits until the program answers, or fails with what it said.
func (d *daemon) ready(t testing.TB) {
	t.Helper()
	d.Await(t, time.Minute, func() error { return server.Answers(d.health) })
}

const patience = 90 * time.Second
