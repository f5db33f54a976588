package gate

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestReleaseCosts: a manifest that is small as text and immense as objects is
// refused before it is unfolded.
func TestReleaseCosts(t *testing.T) {
	text := strings.Repeat("x", 64<<10)
	nested := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'j'; c++ {
		nested += fmt.Sprintf("%c: &%c [%s*%c]\n", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 8), c-1)
	}
	for name, manifest := range map[string]string{
		"long text, many times": "a: &a " + text + "\nb: [" + strings.Repeat("*a,", 20000) + "*a]\n",
		"long text as a key":    "a: &a " + text + "\nb: [" + strings.Repeat("{*a : 1},", 20000) + "]\n",
		"in flow":               "{a: &a " + text + ", b: [" + strings.Repeat("*a,", 20000) + "*a]}\n",
		"behind JSON":           "{}\n---\na: &a " + text + "\nb: [" + strings.Repeat("*a,", 20000) + "*a]\n",
		"nested":                nested,
		"after JSON":            "{}\na: &a " + text + "\nb: [" + strings.Repeat("*a,", 20000) + "*a]\n",
		"as a JSON key":         "{}: &a " + text + "\nb: [" + strings.Repeat("*a,", 20000) + "*a]\n",
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, err := objectsOf(manifest)
			runtime.ReadMemStats(&after)
			took, mib := time.Since(start), (after.TotalAlloc-before.TotalAlloc)>>20
			t.Logf("%v, %d MiB", took, mib)
			if err == nil || mib > 200 {
				t.Errorf("%v: %d MiB in %v", err, mib, took)
			}
		})
	}
}
