package render

import (
	"encoding/json"
	"io/fs"

	"github.com/gitward/gitward/gitindex"
)

// Alone is a tree with nothing beside it: no chart and no base from elsewhere,
// and only the objects it lists are declared.
type Alone struct {
	FS      fs.FS
	Objects map[gitindex.Ref]json.RawMessage
}

// Tree is the tree.
func (a Alone) Tree() fs.FS { return a.FS }

// Chart has none.
func (a Alone) Chart(ref ChartRef) (fs.FS, Pin, error) {
	return nil, Pin{}, &NeedsError{What: "the chart " + ref.String(), Why: "it is not in the tree"}
}

// Base has none.
func (a Alone) Base(url string) (fs.FS, Pin, error) {
	return nil, Pin{}, &NeedsError{What: "the base " + gitindex.CleanURL(url, 200), Why: "it is not in the tree"}
}

// Declared gives what the map holds.
func (a Alone) Declared(ref gitindex.Ref) (json.RawMessage, error) { return a.Objects[ref], nil }
