package main

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	// What the process needs beside the reviews that are in it: indexes, caches.
	ownMemory = 160 << 20
	// What a review takes, decoded and compared, for each byte that arrives.
	expansion = 5

	leastBudget, mostBudget = 24 << 20, 128 << 20
)

// limitMemory makes the garbage collector respect the limit of the process's
// cgroup, unless GOMEMLIMIT says what it is to respect, and returns how many
// bytes of reviews fit.
func limitMemory() (budget int64) {
	limit := debug.SetMemoryLimit(-1)
	if os.Getenv("GOMEMLIMIT") == "" {
		if c := ownCgroupLimit(); c > 0 {
			limit = c / 100 * 60 // a child that renders needs its share: see rendererMemory
			debug.SetMemoryLimit(limit)
		}
	}
	return min(max((limit-ownMemory)/expansion, leastBudget), mostBudget)
}

// rendererMemory is what a child that renders may use: a third of the cgroup's
// limit, within bounds, so that it fails before all of the container does.
func rendererMemory() int {
	const least, most = 192 << 20, 1 << 30
	c := ownCgroupLimit()
	if c == 0 {
		return most
	}
	return int(min(max(c/100*35, least), most))
}

// leastPolicyMemory is what the shipped policies need, and some more.
const leastPolicyMemory = 192 << 20

// policyMemory is what a child that evaluates policies may use: a fifth of the
// cgroup's limit, within bounds. There are two.
func policyMemory() int {
	const most = 512 << 20
	c := ownCgroupLimit()
	if c == 0 {
		return most
	}
	return int(min(max(c/5, leastPolicyMemory), most))
}

func ownCgroupLimit() int64 { return cgroupLimit("/proc/self/cgroup", "/sys/fs/cgroup") }

// cgroupLimit finds the smallest memory limit on the way to the process's cgroup,
// of version 1 or 2; 0 when there is none.
func cgroupLimit(self, root string) int64 {
	data, err := os.ReadFile(self)
	if err != nil {
		return 0
	}
	var least int64
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		parts := strings.SplitN(line, ":", 3)
		if len(parts) != 3 {
			continue
		}
		base, file := root, "memory.max"
		if strings.Contains(","+parts[1]+",", ",memory,") {
			base, file = filepath.Join(root, "memory"), "memory.limit_in_bytes"
		} else if parts[1] != "" {
			continue
		}
		for dir := filepath.Join(base, parts[2]); strings.HasPrefix(dir, base); dir = filepath.Dir(dir) {
			if n := readLimit(filepath.Join(dir, file)); n > 0 && (least == 0 || n < least) {
				least = n
			}
		}
	}
	return least
}

// readLimit reads one limit; 0 when there is none. Version 1 writes a huge number
// for that, version 2 a word.
func readLimit(name string) int64 {
	data, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil || n > 1<<50 {
		return 0
	}
	return n
}
