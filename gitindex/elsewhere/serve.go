package elsewhere

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render/sandbox"
)

// request is what the child is asked, one line of JSON on its standard input.
type request struct {
	Do         string     `json:"do"` // chart, file, unpack
	Hosts      []wireHost `json:"hosts,omitempty"`
	Limits     Limits     `json:"limits"`
	Repository string     `json:"repository,omitempty"`
	OCI        string     `json:"oci,omitempty"`
	Name       string     `json:"name,omitempty"`
	Version    string     `json:"version,omitempty"`
	Tag        bool       `json:"tag,omitempty"`    // Version is a tag, and never a range
	Digest     string     `json:"digest,omitempty"` // that it is pinned to; empty to find one
	Signatures bool       `json:"signatures,omitempty"`
	URL        string     `json:"url,omitempty"`
	Layout     layout     `json:"layout,omitempty"`
	Size       int64      `json:"size,omitempty"` // of the archive that follows the line
}

// wireHost is a Host with its credentials, for the pipe to the child alone.
type wireHost struct {
	Name         string `json:"name"`
	Private      bool   `json:"private,omitempty"`
	InsecureHTTP bool   `json:"insecureHTTP,omitempty"`
	Username     string `json:"username,omitempty"`
	Password     string `json:"password,omitempty"`
	CA           []byte `json:"ca,omitempty"`
}

func (h Hosts) wire() []wireHost {
	var all []wireHost
	for _, x := range h {
		all = append(all, wireHost{Name: x.Name, Private: x.Private, InsecureHTTP: x.InsecureHTTP,
			Username: x.Credentials.Username, Password: x.Credentials.Password, CA: x.CA})
	}
	return all
}

func (r *request) hosts() Hosts {
	var all Hosts
	for _, x := range r.Hosts {
		all = append(all, Host{Name: x.Name, Private: x.Private, InsecureHTTP: x.InsecureHTTP,
			Credentials: Credentials{x.Username, x.Password}, CA: x.CA})
	}
	return all
}

// answer is what the child says, one line of JSON; after it come the archive,
// or the files it holds, one behind the other.
type answer struct {
	fetched
	Problem *problem  `json:"problem,omitempty"`
	Size    int64     `json:"size,omitempty"`
	Files   []oneFile `json:"files,omitempty"`
}

type oneFile struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// problem is an error on its way through the pipe.
type problem struct {
	Message string `json:"message"`
	Refused bool   `json:"refused,omitempty"`
	Away    bool   `json:"away,omitempty"`
	Host    string `json:"host,omitempty"` // that is not allowed
	// Pinned and Found are a mismatch's.
	Pinned string `json:"pinned,omitempty"`
	Found  string `json:"found,omitempty"`
	What   string `json:"what,omitempty"`
}

func problemOf(err error) *problem {
	p := &problem{Message: err.Error(), Refused: errors.Is(err, ErrRefused), Away: away(err)}
	var mismatch *MismatchError
	if errors.As(err, &mismatch) {
		p.What, p.Pinned, p.Found = mismatch.What, mismatch.Pinned, mismatch.Found
	}
	var host *notAllowed
	if errors.As(err, &host) {
		p.Host = host.host
	}
	return p
}

// told is an error as the child told it: the same text, and the same kind.
type told struct {
	text string
	kind error
}

func (t *told) Error() string { return t.text }
func (t *told) Unwrap() error { return t.kind }

func (p *problem) err() error {
	text := gitindex.Clean(p.Message, 600)
	switch {
	case p.Pinned != "":
		return &MismatchError{What: gitindex.Clean(p.What, 200), Pinned: gitindex.Clean(p.Pinned, 100), Found: p.Found}
	case p.Host != "":
		return &told{text, &notAllowed{p.Host}}
	case p.Refused:
		return &told{text, ErrRefused}
	case p.Away:
		return &awayError{errors.New(text)}
	}
	return errors.New(text)
}

// Serve is the child: it answers the one request on in, and ends. It has
// limited itself before it reads what anybody else wrote. Its error means that
// not even a refusal could be written.
func Serve(in io.Reader, out io.Writer) error {
	reader := bufio.NewReader(in)
	line, err := reader.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return errors.New("the request does not parse") // never with its text: it holds credentials
	}
	r.Limits = r.Limits.orDefaults()
	if err := limitProcess(r.Limits); err != nil {
		return fmt.Errorf("limiting the process: %w", err)
	}
	if r.Do == "unpack" { // it needs no network either
		if err := sandbox.Enter(int(r.Limits.Memory)); err != nil {
			return fmt.Errorf("locking the process in: %w", err)
		}
	}
	a, content, err := serve(&r, reader)
	if err != nil {
		a, content = &answer{Problem: problemOf(err)}, nil
	}
	return writeAnswer(out, a, content)
}

func writeAnswer(out io.Writer, a *answer, content [][]byte) error {
	line, err := json.Marshal(a)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	_, _ = w.Write(append(line, '\n')) // bufio keeps the error for Flush
	for _, c := range content {
		_, _ = w.Write(c)
	}
	return w.Flush()
}

func serve(r *request, in io.Reader) (*answer, [][]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.Limits.Time)
	defer cancel()
	c := newClient(r.hosts(), r.Limits)
	var f *fetched
	var err error
	switch {
	case r.Do == "unpack":
		return serveUnpack(r, in)
	case r.Do == "file":
		f, err = c.remoteFile(ctx, r)
	case r.Do == "chart" && r.OCI != "":
		f, err = c.ociContent(ctx, r)
	case r.Do == "chart":
		f, err = c.helmChart(ctx, r)
	default:
		return nil, nil, errors.New("nobody knows how to do that")
	}
	if err != nil {
		return nil, nil, err
	}
	f.Hosts = c.hostsUsed()
	return &answer{fetched: *f, Size: int64(len(f.blob))}, [][]byte{f.blob}, nil
}

func serveUnpack(r *request, in io.Reader) (*answer, [][]byte, error) {
	found, err := unpack(io.LimitReader(in, r.Size), r.Layout, r.Limits)
	if err != nil {
		return nil, nil, err
	}
	a, content := &answer{}, [][]byte{}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		a.Files = append(a.Files, oneFile{name, int64(len(found[name]))})
		content = append(content, found[name])
	}
	return a, content, nil
}
