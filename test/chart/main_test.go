// Package chart tests what is installed: the chart as Helm's engine renders it,
// applied to a real API server.
package chart

import (
	"os"
	"testing"

	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/server"
)

func TestMain(m *testing.M) {
	code := controlplane.Run(m)
	server.RemoveBuilt()
	os.Exit(code)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
