package worker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/engine"
)

// The conversation of a parent with a child: the parent sends a load, and the
// child answers with what it made of it; then each question has an answer. All
// are frames: four bytes of length, then the body.

// Bundle is a directory of policies.
type Bundle struct {
	Name  string // for messages
	Files policy.Files
}

// load is the first frame to a child.
type load struct {
	Bundles []Bundle
	Tests   bool  // whether the bundles' own tests are to be run
	Budget  int64 // of one policy, in nanoseconds of processor time
}

// Loaded is what became of a bundle.
type Loaded struct {
	Name     string
	Dialect  string
	Problems []gitindex.Problem
	Policies []Described
	// Compiling is the processor time that it took.
	Compiling time.Duration
	// Tests are how many of its own there are, and Failed those that did not pass.
	Tests  int
	Failed []engine.TestResult
}

// Described is a policy as people list it.
type Described struct {
	Name, Title, File string
	Line              int
	Points            map[policy.Point]policy.Action
	Inventory         []string        // the kinds that it wants all of; "*" is any
	Shape             string          // of the input that it reads: review, object or gatekeeper
	Match             json.RawMessage // as a Gatekeeper constraint's spec.match; nil is everything
	Rules             []string        // that speak
}

// ask is the head of a question; the input follows it in the frame.
type ask struct {
	Bundles []int // by their place in the load
	Point   policy.Point
	// Without are policies that are not evaluated: those of all bundles are
	// numbered through. Whom they concern gets a finding.
	Without []int
	// Inventory says that no input follows, but data.inventory as JSON.
	Inventory bool
}

// answer is what the child says to a question.
type answer struct {
	// Number is the frame's that it answers.
	Number uint64 `json:"number"`
	// Tired asks for another child: what policies left behind fills the memory.
	Tired    bool    `json:"tired,omitempty"`
	Findings []Found `json:"findings,omitempty"`
	Error    string  `json:"error,omitempty"` // the question itself could not be read
}

// Found is a finding, and the place of its bundle in the load.
type Found struct {
	policy.Finding
	Bundle int `json:"bundle"`
}

// mostSaid bounds a frame, in bytes.
const mostSaid = 128 << 20

var errTooLong = fmt.Errorf("a message of more than %d MiB", mostSaid>>20)

// writeFrame writes the parts of a body as one frame, in one write.
func writeFrame(w io.Writer, parts ...[]byte) error {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	if size > mostSaid {
		return errTooLong
	}
	out := binary.BigEndian.AppendUint32(make([]byte, 0, 4+size), uint32(size))
	for _, p := range parts {
		out = append(out, p...)
	}
	_, err := w.Write(out)
	return err
}

// readFrame reads a body, into buf if it is large enough.
func readFrame(r io.Reader, buf []byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(head[:]))
	if size > mostSaid {
		return nil, errTooLong
	}
	if cap(buf) < size {
		buf = make([]byte, size)
	}
	_, err := io.ReadFull(r, buf[:size])
	return buf[:size], err
}

var errShort = errors.New("a question without its head")

// question is a frame's body: a head and the input.
func question(a *ask) ([]byte, error) {
	head, err := json.Marshal(a)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(head))), head...), err
}

func readQuestion(body []byte, a *ask) (input []byte, err error) {
	if len(body) < 4 {
		return nil, errShort
	}
	size := int(binary.BigEndian.Uint32(body))
	if body = body[4:]; len(body) < size {
		return nil, errShort
	}
	return body[size:], json.Unmarshal(body[:size], a)
}
