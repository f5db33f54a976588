package gitindex

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"Ada Lovelace":          "Ada Lovelace",
		"a\nb\x00c\x1b[31m":     "a?b?c?[31m",
		"\u202eevil\u200b":      "?evil?",
		"Zoë 渡辺":                "Zoë 渡辺",
		"\xff":                  "?",
		strings.Repeat("x", 30): strings.Repeat("x", 20) + "…",
	} {
		if got := Clean(in, 20); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCleanURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://git.example.org/a.git":                             "https://git.example.org/a.git",
		"https://ada:hunter2@git.example.org/a.git":                 "https://git.example.org/a.git",
		"oci://hunter2@ghcr.io/acme/web 1.2.3":                      "oci://ghcr.io/acme/web 1.2.3",
		"https://x.org/a?private_token=hunter2&ref=v1":              "https://x.org/a?private_token=…&ref=v1",
		"https://x.org/a?ref=v1&X-Amz-Signature=hunter2":            "https://x.org/a?ref=v1&X-Amz-Signature=…",
		"git@git.example.org:a.git":                                 "git@git.example.org:a.git",
		"https://github.com/acme/base//overlays/prod@v1?timeout=90": "https://github.com/acme/base//overlays/prod@v1?timeout=90",
	} {
		if got := CleanURL(in, 200); got != want {
			t.Errorf("CleanURL(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\nb", 5)
	f.Fuzz(func(t *testing.T, s string, max int) {
		max = max%100 + 100
		out := Clean(s, max)
		if !utf8.ValidString(out) || strings.ContainsAny(out, "\n\r\x00\x1b") || utf8.RuneCountInString(out) > max+1 {
			t.Errorf("Clean(%q, %d) = %q", s, max, out)
		}
	})
}

// The zero values of what a decision hangs on refuse.
func TestZeroValuesRefuse(t *testing.T) {
	var v Verdict
	if v.Outcome.Trusted() || Outcome(200).Trusted() {
		t.Error("a verdict that nobody reached is trusted")
	}
	seen := map[string]bool{}
	for o := NotChecked; o <= Sealed; o++ {
		if seen[o.String()] {
			t.Errorf("two outcomes are called %s", o)
		}
		seen[o.String()] = true
		if o.Trusted() != (o == Good || o == Sealed) {
			t.Errorf("%s: trusted %v", o, o.Trusted())
		}
	}
}

func TestNear(t *testing.T) {
	s := &Snapshot{Objects: map[Ref]*Entry{}}
	for _, name := range []string{"feature-flag", "web", "webs", strings.Repeat("long", 30)} {
		ref := Ref{Kind: "ConfigMap", Namespace: "shop", Name: name}
		s.Objects[ref] = &Entry{Current: []*Manifest{{Ref: ref}}}
	}
	s.Seal()
	for name, want := range map[string]string{"feature-flags": "feature-flag", "web": "webs", "unlike": "", "wab": "web", strings.Repeat("long", 31): ""} {
		got := ""
		if m := s.Near(Ref{Kind: "ConfigMap", Namespace: "shop", Name: name}); m != nil {
			got = m.Ref.Name
		}
		if got != want {
			t.Errorf("near %s is %q, want %q", name, got, want)
		}
	}
	if m := s.Near(Ref{Kind: "Secret", Namespace: "shop", Name: "web"}); m != nil {
		t.Errorf("another kind is near: %v", m.Ref)
	}
}
