package controller

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// Opened is a unit that an object of one Origin opens over the content of
// another repository: a tenant's, as a rule.
type Opened struct {
	Unit        render.Unit
	URL, Branch string
	By          string // the Origin of the object
}

// Neighbours are what an Origin has to know of the others.
type Neighbours struct {
	Repositories []render.Repository
	Opened       []Opened // over this Origin's repository
}

// tracks reports whether some other Origin has this content.
func (n *Neighbours) tracks(url, branch string) bool {
	return slices.ContainsFunc(n.Repositories, func(r render.Repository) bool { return r.Holds(url, branch) })
}

func whereabouts(url, branch string) string {
	s := gitindex.CleanURL(url, 200)
	if branch != "" {
		s += " (" + gitindex.Clean(branch, 100) + ")"
	}
	return s
}

// print is what the index depends on, in short.
func (n *Neighbours) print() string {
	b, err := json.Marshal(n)
	if err != nil {
		panic(fmt.Sprintf("neighbours cannot be written as JSON: %v", err))
	}
	return printOf(b)
}

// meet tells every tracker what it has to know of the others, and returns those
// for whom that is new.
func meet(trackers map[string]*Tracker) []string {
	var news []string
	for name, t := range trackers {
		n := &Neighbours{}
		for other, o := range trackers {
			if other == name {
				continue
			}
			n.Repositories = append(n.Repositories, o.repository())
			for _, opened := range o.opened() {
				if mine := t.repository(); mine.Holds(opened.URL, opened.Branch) {
					opened.By = other
					n.Opened = append(n.Opened, opened)
				}
			}
		}
		slices.SortFunc(n.Repositories, func(a, b render.Repository) int { return strings.Compare(a.URL+" "+a.Branch, b.URL+" "+b.Branch) })
		slices.SortFunc(n.Opened, func(a, b Opened) int { return strings.Compare(a.By+" "+a.Unit.ID, b.By+" "+b.Unit.ID) })
		if old := t.neighbours.Swap(n); old == nil && len(n.Repositories)+len(n.Opened) > 0 || old != nil && old.print() != n.print() {
			news = append(news, name)
		}
	}
	slices.Sort(news)
	return news
}

func (t *Tracker) repository() render.Repository { return t.settings.repository() }

func (t *Tracker) opened() []Opened {
	if list := t.openedUnits.Load(); list != nil {
		return *list
	}
	return nil
}
