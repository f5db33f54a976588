//go:build unix

package main

import (
	"context"
	"testing"
	"time"
)

// TestLockDir: two commands never work in one state directory at a time.
func TestLockDir(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lockDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := lockDir(short, dir); err == nil {
		t.Fatal("a second one got in")
	}
	got := make(chan error)
	go func() {
		again, err := lockDir(t.Context(), dir)
		if err == nil {
			again()
		}
		got <- err
	}()
	unlock()
	if err := <-got; err != nil {
		t.Errorf("after the first is done: %v", err)
	}
}
