package sandbox

import (
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	var w Words
	if got := w.String(); got != "" {
		t.Errorf("of a child that said nothing: %q", got)
	}
	for _, said := range []string{"\n", "fatal error: \x1b[31mout of", " memory\ngoroutine 1 [running]:\n", strings.Repeat("x", 2*mostWords)} {
		if n, err := w.Write([]byte(said)); n != len(said) || err != nil {
			t.Fatalf("took %d of %d bytes, %v: the child would stand still, or die of it", n, len(said), err)
		}
	}
	got := w.String()
	if !strings.HasPrefix(got, "fatal error: ") || !strings.HasSuffix(got, "out of memory") || strings.ContainsAny(got, "\x1b\n") {
		t.Errorf("the first line is %q", got)
	}
	if len(w.text) != mostWords {
		t.Errorf("%d bytes are kept, at most %d are to be", len(w.text), mostWords)
	}
}
