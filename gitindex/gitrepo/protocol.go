package gitrepo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/blang/semver/v4"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/object"
)

// wire carries Git's upload-pack conversation. What is said on it is the same
// for HTTP and SSH: protocol version 2 if the server speaks it, else version 0
// (gitprotocol-v2(5), gitprotocol-pack(5)).
type wire interface {
	// greeting opens the conversation and gives the server's first words.
	greeting(ctx context.Context) (*packets, error)
	// ask sends one request and gives what the server answers.
	ask(ctx context.Context, request []byte) (*packets, error)
	close() error
}

// conversation is a source over a wire.
type conversation struct {
	wire     wire
	limits   Limits
	greeted  bool
	v2       bool
	features []string // of a version 0 server
	refs     map[string]object.ID
	shallow  []object.ID
}

func (c *conversation) close() error { return c.wire.close() }

func (c *conversation) greet(ctx context.Context) error {
	if c.greeted {
		return nil
	}
	p, err := c.wire.greeting(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	c.greeted = true
	p.left = c.limits.Refs * 512
	line, end, err := p.text()
	if err == nil && strings.HasPrefix(line, "# service=") {
		// Over HTTP version 0 begins with a line of its own and a flush.
		if _, end, err = p.text(); err == nil && end {
			line, end, err = p.text()
		}
	}
	if err != nil {
		return err
	}
	if line == "version 2" {
		c.v2 = true
		return c.capabilities(p)
	}
	return c.advertisement(p, line, end)
}

// capabilities reads the rest of a version 2 greeting.
func (c *conversation) capabilities(p *packets) error {
	for {
		line, end, err := p.text()
		if err != nil || end {
			return err
		}
		if err := checkFormat(line); err != nil {
			return err
		}
	}
}

func checkFormat(feature string) error {
	if format, ok := strings.CutPrefix(feature, "object-format="); ok && format != "sha1" {
		return fmt.Errorf("%w: the remote uses object format %s; only sha1 can be read", ErrUnsupported, gitindex.Clean(format, 20))
	}
	return nil
}

// advertisement reads the refs of a version 0 server; line is the first.
func (c *conversation) advertisement(p *packets, line string, end bool) error {
	c.refs = map[string]object.ID{}
	line, features, _ := strings.Cut(line, "\x00")
	c.features = strings.Fields(features)
	for _, feature := range c.features {
		if err := checkFormat(feature); err != nil {
			return err
		}
	}
	for !end {
		if err := c.advertise(line); err != nil {
			return err
		}
		var err error
		if line, end, err = p.text(); err != nil {
			return err
		}
	}
	return nil
}

func (c *conversation) advertise(line string) error {
	first, name, _ := strings.Cut(line, " ")
	if first == "shallow" {
		id, err := object.ParseID(name)
		c.shallow = append(c.shallow, id)
		return err
	}
	id, err := object.ParseID(first)
	if err != nil {
		return fmt.Errorf("the server's answer is not Git's protocol: %w", err)
	}
	if int64(len(c.refs)) >= c.limits.Refs {
		return tooLarge("refs: more than", c.limits.Refs, c.limits.Refs)
	}
	if name != "capabilities^{}" && !strings.HasSuffix(name, "^{}") {
		c.refs[name] = id
	}
	return nil
}

// resolve asks for no more refs than it needs: a busy repository has 20,000.
func (c *conversation) resolve(ctx context.Context, ref Ref) (object.ID, error) {
	if ref.Commit != "" {
		return object.ParseID(ref.Commit)
	}
	if err := c.greet(ctx); err != nil {
		return object.ID{}, err
	}
	if c.v2 {
		if err := c.listRefs(ctx, ref.prefix()); err != nil {
			return object.ID{}, err
		}
	}
	return ref.choose(c.refs)
}

// prefix is the beginning that all refs of interest have.
func (r Ref) prefix() string {
	switch {
	case r.SemVer != "":
		return "refs/tags/"
	case r.name() != "":
		return r.name()
	}
	return "HEAD"
}

// name is the full name of the one ref that r can mean; empty for a range.
func (r Ref) name() string {
	switch {
	case r.Branch != "":
		return "refs/heads/" + r.Branch
	case r.Tag != "":
		return "refs/tags/" + r.Tag
	case r.Name != "":
		return r.Name
	case r.SemVer != "":
		return ""
	}
	return "HEAD"
}

// choose picks what r means among the refs of a remote.
func (r Ref) choose(refs map[string]object.ID) (object.ID, error) {
	name := r.name()
	if r.SemVer != "" {
		in, err := r.versions()
		if err != nil {
			return object.ID{}, err
		}
		var best semver.Version
		for ref := range refs {
			v, err := semver.ParseTolerant(strings.TrimPrefix(ref, "refs/tags/"))
			if err != nil || !strings.HasPrefix(ref, "refs/tags/") || !in(v) {
				continue
			}
			// "v1.0.0" and "1.0.0" are the same version: take the same one each time.
			if name == "" || v.GT(best) || v.EQ(best) && ref < name {
				name, best = ref, v
			}
		}
	}
	if id, ok := refs[name]; ok && !id.IsZero() {
		return id, nil
	}
	return object.ID{}, fmt.Errorf("%w: %v", ErrNoRef, r)
}

func (r Ref) versions() (semver.Range, error) {
	if r.SemVer == "" {
		return nil, nil
	}
	in, err := semver.ParseRange(r.SemVer)
	if err != nil {
		return nil, refused("version range %q: %v", r.SemVer, err)
	}
	return in, nil
}

// listRefs asks a version 2 server for the refs that begin with prefix.
func (c *conversation) listRefs(ctx context.Context, prefix string) error {
	var ask bytes.Buffer
	writePacket(&ask, "command=ls-refs\n")
	writePacket(&ask, "object-format=sha1\n")
	ask.WriteString(delimPacket)
	writePacket(&ask, "ref-prefix "+prefix+"\n")
	ask.WriteString(flushPacket)
	p, err := c.wire.ask(ctx, ask.Bytes())
	if err != nil {
		return err
	}
	defer p.close()
	p.left = c.limits.Refs * 512
	c.refs = map[string]object.ID{}
	for {
		line, end, err := p.text()
		if err != nil || end {
			return err
		}
		id, name, _ := strings.Cut(line, " ")
		name, _, _ = strings.Cut(name, " ")
		if err := c.advertise(id + " " + name); err != nil {
			return err
		}
	}
}

// pack fetches. The whole list of haves goes out at once with "done": a few
// commits are enough for a ref that is followed step by step, and one round
// trip is all there is to get wrong.
func (c *conversation) pack(ctx context.Context, ask request, to io.Writer) ([]object.ID, error) {
	if err := c.greet(ctx); err != nil {
		return nil, err
	}
	if c.v2 {
		return c.fetchV2(ctx, ask, to)
	}
	return c.shallow, c.fetchV0(ctx, ask, to)
}

func (c *conversation) fetchV2(ctx context.Context, ask request, to io.Writer) ([]object.ID, error) {
	var b bytes.Buffer
	writePacket(&b, "command=fetch\n")
	writePacket(&b, "object-format=sha1\n")
	b.WriteString(delimPacket)
	writePacket(&b, "ofs-delta\n")
	writePacket(&b, "no-progress\n")
	writePacket(&b, "want "+ask.want.String()+"\n")
	for _, have := range ask.haves {
		writePacket(&b, "have "+have.String()+"\n")
	}
	writePacket(&b, "done\n")
	b.WriteString(flushPacket)
	p, err := c.wire.ask(ctx, b.Bytes())
	if err != nil {
		return nil, err
	}
	defer p.close()
	p.left = c.limits.PackBytes + c.limits.PackBytes/64 + 1<<20
	for {
		line, end, err := p.text()
		switch {
		case err != nil:
			return nil, err
		case end:
			if p.wasFlush {
				return nil, fmt.Errorf("%w: the server sent none", ErrMalformedPack)
			}
		case line == "packfile":
			return c.shallow, p.copyBand(to)
		default:
			if id, ok := strings.CutPrefix(line, "shallow "); ok {
				id, err := object.ParseID(id)
				if err != nil {
					return nil, err
				}
				c.shallow = append(c.shallow, id)
			}
		}
	}
}

func (c *conversation) fetchV0(ctx context.Context, ask request, to io.Writer) error {
	if !c.offers("side-band-64k") {
		return fmt.Errorf("%w: the server speaks a protocol without side-band-64k", ErrUnsupported)
	}
	want := "want " + ask.want.String() + " side-band-64k"
	for _, f := range []string{"ofs-delta", "no-progress"} {
		if c.offers(f) {
			want += " " + f
		}
	}
	var b bytes.Buffer
	writePacket(&b, want+"\n")
	b.WriteString(flushPacket)
	for _, have := range ask.haves {
		writePacket(&b, "have "+have.String()+"\n")
	}
	writePacket(&b, "done\n")
	p, err := c.wire.ask(ctx, b.Bytes())
	if err != nil {
		return err
	}
	defer p.close()
	p.left = c.limits.PackBytes + c.limits.PackBytes/64 + 1<<20
	return p.copyBand(to)
}

func (c *conversation) offers(feature string) bool {
	for _, f := range c.features {
		if f == feature {
			return true
		}
	}
	return false
}

const (
	flushPacket = "0000"
	delimPacket = "0001"
)

func writePacket(b *bytes.Buffer, text string) {
	fmt.Fprintf(b, "%04x%s", len(text)+4, text)
}

// packets reads a stream of pkt-lines up to a number of bytes.
type packets struct {
	r        *bufio.Reader
	closer   io.Closer
	left     int64
	buf      [65520]byte
	wasFlush bool
}

func newPackets(r io.Reader, closer io.Closer) *packets {
	return &packets{r: bufio.NewReaderSize(r, 64<<10), closer: closer}
}

func (p *packets) close() error {
	if p.closer == nil {
		return nil
	}
	return p.closer.Close()
}

var errNotGit = errors.New("the server's answer is not Git's protocol")

// next gives one packet; end is true for a flush or a delimiter.
func (p *packets) next() (data []byte, end bool, err error) {
	var head [4]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return nil, false, fmt.Errorf("the server's answer breaks off: %w", unexpected(err))
	}
	n, err := strconv.ParseUint(string(head[:]), 16, 16)
	if err != nil {
		return nil, false, fmt.Errorf("%w: it begins with %q", errNotGit, head)
	}
	if n < 4 {
		p.wasFlush = n == 0
		return nil, true, nil
	}
	if p.left -= int64(n); p.left < 0 {
		return nil, false, fmt.Errorf("%w: the server's answer does not end", ErrTooLarge)
	}
	data = p.buf[:n-4]
	if _, err := io.ReadFull(p.r, data); err != nil {
		return nil, false, fmt.Errorf("the server's answer breaks off: %w", unexpected(err))
	}
	if text, ok := bytes.CutPrefix(data, []byte("ERR ")); ok {
		return nil, false, serverError(text)
	}
	return data, false, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func serverError(text []byte) error {
	return fmt.Errorf("the server says: %s", gitindex.Clean(strings.TrimSpace(string(text)), 200))
}

// text is next for a line of text.
func (p *packets) text() (line string, end bool, err error) {
	data, end, err := p.next()
	return strings.TrimSuffix(string(data), "\n"), end, err
}

// copyBand copies the pack out of the side band, up to the flush after it.
func (p *packets) copyBand(to io.Writer) error {
	for {
		data, end, err := p.next()
		if err != nil {
			return err
		}
		if end {
			return nil
		}
		switch {
		case len(data) == 0:
			return fmt.Errorf("%w: an empty packet", errNotGit)
		case data[0] == 1:
			if _, err := to.Write(data[1:]); err != nil {
				return err
			}
		case data[0] == 2: // progress, for people
		case data[0] == 3:
			return serverError(data[1:])
		case bytes.HasPrefix(data, []byte("NAK")), bytes.HasPrefix(data, []byte("ACK ")):
			// a version 0 server acknowledges before it sends
		default:
			return fmt.Errorf("%w: a packet of kind %d", errNotGit, data[0])
		}
	}
}
