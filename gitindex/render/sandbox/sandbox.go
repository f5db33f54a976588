// Package sandbox answers: how does a process give up all but its memory and
// the files it has open? Children that render, or unpack what others wrote,
// enter it before they read a byte of that.
package sandbox
