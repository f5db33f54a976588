package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		line  string
		width int
		want  []string
	}{
		{"short", 10, []string{"short"}},
		{"", 10, []string{""}},
		{"one two three", 9, []string{"one two", "  three"}},
		{"  one two three", 9, []string{"  one two", "    three"}},
		{"a word  gap and more words", 20, []string{"a word  gap and more", "  words"}},
		{"first column here   second one", 24, []string{"first column here", "  second one"}},
		{"├─ file x a b c d e", 13, []string{"├─ file x a b", "│    c d e"}},
		{"└─ file x a b c d e", 13, []string{"└─ file x a b", "     c d e"}},
		{"https://a.very.long.address/of/a/file", 20, []string{"https://a.very.long.", "  address/of/a/file"}},
	} {
		got := wrap(test.line, test.width, 2)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("wrap(%q, %d):\n%s", test.line, test.width, diff)
		}
		for _, l := range got {
			if utf8.RuneCountInString(l) > test.width {
				t.Errorf("%q is wider than %d", l, test.width)
			}
		}
	}
}

// Elsewhere than on a terminal there are no colours and nothing is redrawn.
func TestScreenPlain(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(&out)
	s.scene("1", "A title")
	s.command("dev", strings.Repeat("kubectl get pods ", 12))
	s.answer(strings.Repeat("a long answer ", 20))
	s.good("admitted: because")
	s.why("that is why")
	if err := s.step("doing", func() (string, error) { return "done", nil }); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\r") {
		t.Errorf("control characters in\n%q", out.String())
	}
	for l := range strings.SplitSeq(out.String(), "\n") {
		if n := utf8.RuneCountInString(l); n > widest {
			t.Errorf("%d columns: %s", n, l)
		}
	}
	if got := strings.Count(out.String(), "kubectl"); got != 12 || !strings.Contains(out.String(), "\\\n") {
		t.Errorf("a long command was not broken as a shell has it:\n%s", out.String())
	}
}

// A story that ends otherwise than told must be noticed, whichever way.
func TestShowNoticesDifferences(t *testing.T) {
	refused := answer{text: "no", message: "it differs from Git"}
	for _, test := range []struct {
		name string
		a    answer
		says []string
		want int
	}{
		{"admitted as told", answer{text: "done"}, nil, 0},
		{"refused as told", refused, []string{"differs"}, 0},
		{"refused, but was to be admitted", refused, nil, 1},
		{"admitted, but was to be refused", answer{text: "done"}, []string{"differs"}, 1},
		{"refused for another reason", refused, []string{"not signed"}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := &demo{screen: newScreen(&bytes.Buffer{}), scene: "scene 4"}
			if err := d.show(dev, "kubectl", test.a, test.says...); err != nil {
				t.Fatal(err)
			}
			if len(d.different) != test.want {
				t.Errorf("%d differences: %q", len(d.different), d.different)
			}
		})
	}
	d := &demo{screen: newScreen(&bytes.Buffer{})}
	if err := d.show(dev, "kubectl", answer{err: errors.New("connection refused")}); err == nil {
		t.Error("no answer passed for an answer")
	}
}
