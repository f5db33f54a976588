package worker

import (
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// The conversation of a parent with a child that renders: the parent sends a
// Unit; the child asks for what it wants to read, and the parent answers each
// question; then the child sends the Output. All of it is gob on two pipes.

// op is what the child asks for.
type op byte

const (
	opDone op = iota // not a question: the Output
	opReadFile
	opReadDir
	opStat
	opLstat
	opReadLink
	opChart
	opBase
	opDeclared
	opKeys
)

// message is what the child sends.
type message struct {
	Op     op
	Tree   int // which file system: 0 is the repository's, others were handed out
	Name   string
	Ref    render.ChartRef
	Object gitindex.Ref

	Output render.Output // of opDone
	Err    *failure
}

// answer is what the parent sends back.
type answer struct {
	Data    []byte
	Entries []entry
	Tree    int
	BaseDir string // of opBase: see render.BaseFS
	Pin     render.Pin
	Keys    render.Keys
	Err     *failure
}

type entry struct {
	Name string
	Mode fs.FileMode
}

// failure is an error on its way through a pipe: what callers tell apart
// survives, the rest is text.
type failure struct {
	Text     string
	NotExist bool
	Invalid  bool
	Unstable bool
	Needs    *render.NeedsError
}

func failureOf(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{Text: err.Error(), NotExist: errors.Is(err, fs.ErrNotExist), Invalid: errors.Is(err, fs.ErrInvalid),
		Unstable: errors.Is(err, render.ErrUnstable)}
	errors.As(err, &f.Needs)
	return f
}

func (f *failure) Error() string { return f.Text }

// Unwrap gives the errors that callers look for.
func (f *failure) Unwrap() []error {
	var out []error
	if f.NotExist {
		out = append(out, fs.ErrNotExist)
	}
	if f.Invalid {
		out = append(out, fs.ErrInvalid)
	}
	if f.Unstable {
		out = append(out, render.ErrUnstable)
	}
	if f.Needs != nil {
		out = append(out, f.Needs)
	}
	return out
}

// err keeps a nil failure from becoming an error that is not nil.
func (f *failure) err() error {
	if f == nil {
		return nil
	}
	return f
}

// line is one end of the conversation.
type line struct {
	in  *gob.Decoder
	out *gob.Encoder
}

func newLine(in io.Reader, out io.Writer) *line {
	return &line{gob.NewDecoder(in), gob.NewEncoder(out)}
}

// respond answers the child's questions from src until it is done.
func (l *line) respond(src render.Sources, u render.Unit) (render.Output, error) {
	if err := l.out.Encode(&u); err != nil {
		return render.Output{}, err
	}
	trees := []fs.FS{src.Tree()}
	for {
		var m message
		if err := l.in.Decode(&m); err != nil {
			return render.Output{}, err
		}
		if m.Op == opDone {
			return m.Output, answered{m.Err}.err()
		}
		a := answer{}
		trees = a.find(&m, src, trees)
		if err := l.out.Encode(&a); err != nil {
			return render.Output{}, err
		}
	}
}

// answered is a failure that the child itself reported, to be told from one of
// the pipe.
type answered struct{ *failure }

func (a answered) err() error {
	if a.failure == nil {
		return nil
	}
	return a
}

func (a *answer) find(m *message, src render.Sources, trees []fs.FS) []fs.FS {
	var err error
	if m.Tree < 0 || m.Tree >= len(trees) {
		a.Err = &failure{Text: fmt.Sprintf("there is no tree %d", m.Tree)}
		return trees
	}
	tree := trees[m.Tree]
	switch m.Op {
	case opReadFile:
		a.Data, err = fs.ReadFile(tree, m.Name)
	case opReadDir:
		err = a.list(tree, m.Name)
	case opStat:
		err = a.info(fs.Stat(tree, m.Name))
	case opLstat:
		err = a.info(fs.Lstat(tree, m.Name))
	case opReadLink:
		var target string
		target, err = fs.ReadLink(tree, m.Name)
		a.Data = []byte(target)
	case opChart, opBase:
		var files fs.FS
		if m.Op == opChart {
			files, a.Pin, err = src.Chart(m.Ref)
		} else {
			files, a.Pin, err = src.Base(m.Name)
		}
		if err == nil {
			a.Tree = len(trees)
			if b, ok := files.(render.BaseFS); ok {
				a.BaseDir = b.BaseDir()
			}
			trees = append(trees, files)
		}
	case opDeclared:
		var raw json.RawMessage
		raw, err = src.Declared(m.Object)
		a.Data = raw
	case opKeys:
		a.Keys, err = render.KeysOf(src)
	default:
		err = fmt.Errorf("there is no question %d", m.Op)
	}
	a.Err = failureOf(err)
	return trees
}

func (a *answer) list(tree fs.FS, name string) error {
	entries, err := fs.ReadDir(tree, name)
	for _, e := range entries {
		mode := e.Type()
		if info, err := e.Info(); err == nil {
			mode = info.Mode()
		}
		a.Entries = append(a.Entries, entry{e.Name(), mode})
	}
	return err
}

func (a *answer) info(info fs.FileInfo, err error) error {
	if err == nil {
		a.Entries = []entry{{info.Name(), info.Mode()}}
	}
	return err
}
