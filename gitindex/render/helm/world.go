package helm

import (
	"bytes"
	"encoding/json"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
)

// world is what templates can learn that is not in Git: the time, random
// values, what the cluster holds, the order of a map, the version of Helm. Each
// is fixed, and each can be fixed in another way, so that rendering in both
// worlds shows what depends on it.
type world struct {
	asked map[string]bool     // what was asked for, by the function's name
	other func(f string) bool // whether it is answered the other way
}

func newWorld() *world {
	return &world{asked: map[string]bool{}, other: func(string) bool { return false }}
}

// unlike is a world in which everything is different.
func unlike() *world {
	return &world{asked: map[string]bool{}, other: func(string) bool { return true }}
}

// unlikeIn is a world in which one thing is.
func unlikeIn(f string) *world {
	return &world{asked: map[string]bool{}, other: func(g string) bool { return f == g }}
}

// ask notes that f is asked for, and says which way to answer.
func (w *world) ask(f string) (other bool) {
	w.asked[f] = true
	return w.other(f)
}

// choose is ask for an answer that is at hand.
func choose[T any](w *world, f string, one, other T) T {
	if w.ask(f) {
		return other
	}
	return one
}

// helmVersion is the name under which Helm's version is asked for.
const helmVersion = ".Capabilities.HelmVersion"

// memory is what a template shows that prints a pointer. There are few ways to
// that, and no function for it: it is looked for in what was rendered.
const memory = "a place in memory"

// showsAddress reports whether a text has what may be an address: 0x and at least
// seven digits.
func showsAddress(text string) bool {
	for {
		_, rest, found := strings.Cut(text, "0x")
		if !found {
			return false
		}
		if n := len(rest) - len(strings.TrimLeft(rest, "0123456789abcdef")); n >= 7 {
			return true
		}
		text = rest
	}
}

// readsHelmVersion finds it in a template, also where all of .Capabilities is
// handed on.
func readsHelmVersion(text []byte) bool {
	if bytes.Contains(text, []byte("HelmVersion")) {
		return true
	}
	for {
		_, rest, found := bytes.Cut(text, []byte("Capabilities"))
		if !found {
			return false
		}
		if len(rest) > 0 && rest[0] != '.' {
			return true
		}
		text = rest
	}
}

// lookAt notes what templates read without calling a function: a field of
// .Capabilities, named in a template or in a value that tpl may render.
func (w *world) lookAt(c *chart.Chart, values common.Values) {
	text, err := json.Marshal(values["Values"])
	if err != nil || readsHelmVersion(text) || namesHelmVersion(c) {
		w.asked[helmVersion] = true
	}
}

func namesHelmVersion(c *chart.Chart) bool {
	for _, list := range [][]*common.File{c.Templates, c.Files} {
		for _, f := range list {
			if readsHelmVersion(f.Data) {
				return true
			}
		}
	}
	for _, d := range c.Dependencies() {
		if namesHelmVersion(d) {
			return true
		}
	}
	return false
}

// helm is the version, commit, tree state and Go version of Helm. The other
// way is the newest of the major version that is in use beside it.
func (w *world) helm() (version, commit, tree, goVersion string) {
	if w.other(helmVersion) {
		return "v3.20.0", strings.Repeat("1", 40), "clean", "go1.25.0"
	}
	return "v4.3.1", "", "", "go1.26.0"
}
