package elsewhere

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/sandbox"
)

// Fetcher has a child process do each piece of work. It is safe for several
// goroutines.
type Fetcher struct {
	// Command is a program whose standard input and output are Serve's: our own,
	// with its hidden command.
	Command []string
	Hosts   Hosts
	Limits  Limits
}

// ask starts a child, and gives its answer to take while it still speaks. The
// child has no environment, and does not outlive the deadline.
func (f *Fetcher) ask(ctx context.Context, r *request, archive []byte, take func(*answer, io.Reader) error) error {
	r.Limits = f.Limits.orDefaults()
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Limits.Time+10*time.Second) // after the child's own
	defer cancel()
	child := exec.CommandContext(ctx, f.Command[0], f.Command[1:]...)
	child.Env, child.Dir = []string{}, "/"
	child.WaitDelay = 5 * time.Second
	child.Stdin = io.MultiReader(bytes.NewReader(append(line, '\n')), bytes.NewReader(archive))
	said := &sandbox.Words{}
	child.Stderr = said
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return fmt.Errorf("starting the child that fetches: %w", err)
	}
	taken := answered(bufio.NewReaderSize(out, 64<<10), take)
	late := ctx.Err()
	if taken != nil {
		cancel() // whatever else it would say
	}
	ended := child.Wait()
	switch {
	case taken != nil && !errors.Is(taken, errNoAnswer):
		return taken
	case late != nil:
		return late
	case ended != nil || taken != nil:
		return fmt.Errorf("the child that fetches died, most likely of a limit: %v %s", ended, said)
	}
	return nil
}

// errNoAnswer: the child ended before it had said all.
var errNoAnswer = errors.New("no whole answer")

// answerLine bounds the line: of a full archive's names, with a manifest.
const answerLine = 32 << 20

func answered(out *bufio.Reader, take func(*answer, io.Reader) error) error {
	line, err := readLine(out, answerLine)
	if err != nil {
		return err
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return refused("the child's answer does not parse")
	}
	if a.Problem != nil {
		return a.Problem.err()
	}
	return take(&a, out)
}

func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case len(line) > limit:
			return nil, refused("the child's answer is too long")
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, errNoAnswer
		}
	}
}

func readContent(in io.Reader, size, limit int64) ([]byte, error) {
	if size < 0 || size > limit {
		return nil, refused("the child's answer is larger than was asked for")
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(in, data); err != nil {
		return nil, errNoAnswer
	}
	return data, nil
}

// fetch gets content, and compares it with the digest that was asked for.
func (f *Fetcher) fetch(ctx context.Context, r *request) (*fetched, error) {
	r.Hosts = f.Hosts.wire()
	var got *fetched
	err := f.ask(ctx, r, nil, func(a *answer, in io.Reader) (err error) {
		got = &a.fetched
		got.blob, err = readContent(in, a.Size, f.Limits.orDefaults().Archive)
		return err
	})
	if err != nil {
		return nil, err
	}
	return got, got.check(r)
}

// check computes the digests here: the child is not believed.
func (f *fetched) check(r *request) error {
	if gitindex.Clean(f.Version, 256) != f.Version { // it goes into locks, statuses and messages
		return refused("a version with control characters, or of more than 256")
	}
	content := f.blob
	if r.OCI != "" {
		content = f.Manifest
		layer, err := contentLayer(f.Manifest)
		if err != nil {
			return err
		}
		if found := digestOf(f.blob); found != layer {
			return &MismatchError{What: "the layer", Pinned: layer, Found: found}
		}
	}
	f.Digest = digestOf(content)
	if r.Digest != "" && f.Digest != r.Digest {
		return &MismatchError{What: r.what(), Pinned: r.Digest, Found: f.Digest}
	}
	return nil
}

// what is asked for, for people.
func (r *request) what() string {
	if r.URL != "" {
		return "the file " + gitindex.CleanURL(r.URL, 400)
	}
	return "the chart " + render.ChartRef{Repository: r.Repository, OCI: r.OCI, Name: r.Name, Version: r.Version}.String()
}

// unpack has an archive unpacked.
func (f *Fetcher) unpack(ctx context.Context, archive []byte, as layout) (*files, error) {
	limits, found := f.Limits.orDefaults(), map[string][]byte{}
	r := &request{Do: "unpack", Layout: as, Size: int64(len(archive))}
	err := f.ask(ctx, r, archive, func(a *answer, in io.Reader) error {
		left := limits.Unpacked
		if len(a.Files) > limits.Entries {
			return refused("the archive has more than %d entries", limits.Entries)
		}
		for _, one := range a.Files {
			data, err := readContent(in, one.Size, left)
			if err != nil {
				return err
			}
			left -= one.Size
			found[one.Name] = data
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return newFiles(found)
}
