package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCgroupLimit(t *testing.T) {
	for name, c := range map[string]struct {
		self  string
		files map[string]string
		want  int64
	}{
		"version 2":              {"0::/pods/a\n", map[string]string{"pods/a/memory.max": "402653184\n", "pods/memory.max": "max\n"}, 402653184},
		"version 2, above":       {"0::/pods/a\n", map[string]string{"pods/a/memory.max": "max\n", "pods/memory.max": "1000\n"}, 1000},
		"version 1":              {"5:cpu:/x\n4:memory:/a\n", map[string]string{"memory/a/memory.limit_in_bytes": "2000\n"}, 2000},
		"version 1, none":        {"4:memory:/a\n", map[string]string{"memory/a/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		"no cgroup at all":       {"", nil, 0},
		"nothing that it can be": {"0::/a\n", map[string]string{"a/memory.max": "lots\n"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for f, text := range c.files {
				f = filepath.Join(dir, f)
				if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			self := filepath.Join(dir, "self")
			if err := os.WriteFile(self, []byte(c.self), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := cgroupLimit(self, dir); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}
