package gitrepo_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/gitindex/gitrepo"
	"github.com/gitward/gitward/gitindex/object"
	"github.com/gitward/gitward/test/corpus"
	"github.com/gitward/gitward/test/gitserver"
)

// packFile builds packs that no git would send.
type packFile struct {
	bytes.Buffer
	n uint32
}

func (p *packFile) add(kind byte, size int, before, content []byte) (off int) {
	off = p.Len() + 12
	c := kind<<4 | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		p.WriteByte(c | 0x80)
		c = byte(size & 0x7f)
	}
	p.WriteByte(c)
	p.Write(before)
	z := zlib.NewWriter(&p.Buffer)
	z.Write(content)
	z.Close()
	p.n++
	return off
}

func (p *packFile) whole(count uint32) []byte {
	data := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), count)
	data = append(data, p.Bytes()...)
	sum := sha1.Sum(data)
	return append(data, sum[:]...)
}

// back is an offset delta's distance to its base.
func back(n int) []byte {
	out := []byte{byte(n & 0x7f)}
	for n >>= 7; n > 0; n >>= 7 {
		n--
		out = append([]byte{byte(n&0x7f) | 0x80}, out...)
	}
	return out
}

// bomb is a chain of deltas, each doubling its base.
func doubling(links int) []byte {
	var p packFile
	size := 1 << 10
	last := p.add(3, size, nil, make([]byte, size))
	for range links {
		delta := binary.AppendUvarint(nil, uint64(size))
		delta = binary.AppendUvarint(delta, uint64(2*size))
		for range 2 {
			for left := size; left > 0; {
				n := min(left, 0xffffff)
				delta = append(delta, 0x80|0x0f|0x70, byte(size-left), byte((size-left)>>8), byte((size-left)>>16), byte((size-left)>>24), byte(n), byte(n>>8), byte(n>>16))
				left -= n
			}
		}
		off := p.Len() + 12
		p.add(6, len(delta), back(off-last), delta)
		last, size = off, 2*size
	}
	return p.whole(p.n)
}

func deepChain(links int) []byte {
	var p packFile
	last := p.add(3, 1, nil, []byte("a"))
	for range links {
		delta := []byte{1, 1, 1, 'b'}
		off := p.Len() + 12
		p.add(6, len(delta), back(off-last), delta)
		last = off
	}
	return p.whole(p.n)
}

func refChain(links int) []byte {
	var p packFile
	p.add(3, 2, nil, []byte("00"))
	before := []byte("00")
	for i := range links {
		id := sha1.Sum(append([]byte("blob 2\x00"), before...))
		before = []byte{byte(i), byte(i >> 8)}
		delta := append([]byte{2, 2, 2}, before...)
		p.add(7, len(delta), id[:], delta)
	}
	return p.whole(p.n)
}

func TestHostilePacks(t *testing.T) {
	var zeros, lies, thin, cyclic packFile
	for range 64 {
		zeros.add(3, 1<<20, nil, make([]byte, 1<<20))
	}
	lies.add(3, 10, nil, make([]byte, 1<<20))
	thin.add(7, 4, bytes.Repeat([]byte{7}, 20), []byte{1, 1, 1, 'b'})
	cyclic.add(6, 4, back(0), []byte{1, 1, 1, 'b'})
	var one, outside packFile
	one.add(3, 1, nil, []byte("a"))
	last := outside.add(3, 1, nil, []byte("a"))
	outside.add(6, 6, back(outside.Len()+12-last), []byte{1, 2, 0x91, 0, 2, 0}[:6])
	garbled := one.whole(1)
	garbled[len(garbled)-1] ^= 1
	limits := gitrepo.Limits{Objects: 10_000, ObjectBytes: 8 << 20, InflatedBytes: 32 << 20, DeltaDepth: 100, PackBytes: 1 << 20}
	for _, c := range []struct {
		name string
		pack []byte
		want error
		text string
	}{
		{"sum of many", zeros.whole(64), gitrepo.ErrTooLarge, "unpacked bytes"},
		{"one large", func() []byte { var p packFile; p.add(3, 64<<20, nil, make([]byte, 64<<20)); return p.whole(1) }(), gitrepo.ErrTooLarge, "one object"},
		{"doubling deltas", doubling(20), gitrepo.ErrTooLarge, ""},
		{"deep chain", deepChain(101), gitrepo.ErrTooLarge, "chain"},
		{"deep chain by id", refChain(101), gitrepo.ErrTooLarge, "chain"},
		{"too many objects", one.whole(1 << 30), gitrepo.ErrTooLarge, "objects"},
		{"longer than it says", lies.whole(1), gitrepo.ErrMalformedPack, "longer"},
		{"fewer objects than it says", one.whole(2), gitrepo.ErrMalformedPack, ""},
		{"more objects than it says", func() []byte {
			var p packFile
			p.add(3, 1, nil, []byte("a"))
			p.add(3, 1, nil, []byte("b"))
			return p.whole(1)
		}(), gitrepo.ErrMalformedPack, "checksum"},
		{"thin", thin.whole(1), gitrepo.ErrMalformedPack, "no base"},
		{"its own base", cyclic.whole(1), gitrepo.ErrMalformedPack, "base"},
		{"copy outside", outside.whole(2), gitrepo.ErrMalformedPack, "delta"},
		{"checksum", garbled, gitrepo.ErrMalformedPack, "checksum"},
		{"empty", nil, gitrepo.ErrMalformedPack, "header"},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			err := gitrepo.IndexBytes(t.TempDir(), c.pack, limits)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("got %v, want %v with %q", err, c.want, c.text)
			}
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("took %v", d)
			}
			t.Log(len(c.pack), "bytes:", err)
		})
	}
	for _, good := range [][]byte{deepChain(99), refChain(99), doubling(12)} {
		if err := gitrepo.IndexBytes(t.TempDir(), good, limits); err != nil {
			t.Errorf("a pack within the limits: %v", err)
		}
	}
}

func TestBlobLimit(t *testing.T) {
	root, repo, _ := origin(t)
	must(repo.Commit(gitserver.CommitOptions{Files: map[string]string{"big": strings.Repeat("x", 1000), "small": "y"}}))
	must(repo.Commit(gitserver.CommitOptions{Files: map[string]string{"big": strings.Repeat("x", 1000) + "z"}}))
	must(repo.Git("repack", "-adfq"))
	tip := repo.Ref(gitserver.MainRef)
	r := must(gitrepo.Open(t.TempDir(), gitrepo.Remote{URL: filepath.Join(root, "app.git"), AllowLocal: true}, gitrepo.Limits{BlobBytes: 100}))
	defer r.Close()
	wantTip(t, r, tip)
	files := must(r.Tree(ctx, tip))
	if _, err := r.Blob(files["big"].ID); !errors.Is(err, gitrepo.ErrTooLarge) || !strings.Contains(err.Error(), "1001") || !strings.Contains(err.Error(), "100") {
		t.Errorf("big: %v", err)
	}
	if data, err := r.Blob(files["small"].ID); err != nil || string(data) != "y" {
		t.Errorf("small: %q, %v", data, err)
	}
}

// entries writes a raw tree, as it is told.
func entries(parts ...string) []byte {
	var out []byte
	for i := 0; i < len(parts); i += 3 {
		id, _ := hex.DecodeString(parts[i+2])
		out = append(append(out, parts[i]+" "+parts[i+1]+"\x00"...), id...)
	}
	return out
}

// TestMalformedTrees: such a commit is told apart, nothing stops, and above all
// the next, well-formed commit does not get to vouch for what it brought.
func TestMalformedTrees(t *testing.T) {
	for _, c := range []struct {
		name string
		tree func(good, evil string) []byte
	}{
		{"dot dot", func(g, e string) []byte {
			return entries("100644", "..", e, "100644", "app.yaml", e, "100644", "b.yaml", g)
		}},
		{"dot git", func(g, e string) []byte {
			return entries("100644", ".git", e, "100644", "app.yaml", e, "100644", "b.yaml", g)
		}},
		{"slash", func(g, e string) []byte {
			return entries("100644", "a/b", e, "100644", "app.yaml", e, "100644", "b.yaml", g)
		}},
		{"empty name", func(g, e string) []byte {
			return entries("100644", "", e, "100644", "app.yaml", e, "100644", "b.yaml", g)
		}},
		{"twice", func(g, e string) []byte {
			return entries("100644", "app.yaml", g, "100644", "app.yaml", e, "100644", "b.yaml", g)
		}},
		{"twice, the other way", func(g, e string) []byte {
			return entries("100644", "app.yaml", e, "100644", "app.yaml", g, "100644", "b.yaml", g)
		}},
		{"unsorted", func(g, e string) []byte { return entries("100644", "b.yaml", g, "100644", "app.yaml", e) }},
		{"odd mode", func(g, e string) []byte { return entries("100640", "app.yaml", e, "100644", "b.yaml", g) }},
		{"legacy mode", func(g, e string) []byte { return entries("100664", "app.yaml", e, "100644", "b.yaml", g) }},
		{"padded mode", func(g, e string) []byte { return entries("0100644", "app.yaml", e, "100644", "b.yaml", g) }},
		{"truncated", func(g, e string) []byte {
			return append(entries("100644", "app.yaml", e, "100644", "b.yaml", g), "100644 c"...)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			corpus.Programs(t, "git")
			repo := must(gitserver.NewRepo(filepath.Join(t.TempDir(), "odd.git")))
			first := must(repo.Commit(gitserver.CommitOptions{Files: map[string]string{"app.yaml": "good", "b.yaml": "good"}}))
			good := must(repo.Object("blob", []byte("good")))
			evil := must(repo.Object("blob", []byte("evil")))
			tree := must(repo.Object("tree", c.tree(good, evil)))
			second := must(repo.Commit(gitserver.CommitOptions{Tree: tree}))
			// The next author works on top of it: git has written a proper tree.
			third := must(repo.Commit(gitserver.CommitOptions{
				Tree: must(repo.Object("tree", entries("100644", "app.yaml", evil, "100644", "b.yaml", good, "100644", "c.yaml", good))),
			}))
			r := open(t, gitrepo.Remote{URL: repo.Dir, AllowLocal: true})
			wantTip(t, r, third)
			steps := must(r.Walk(ctx, third, ""))
			if len(steps) != 3 {
				t.Fatalf("%d steps", len(steps))
			}
			if c.name != "legacy mode" && !errors.Is(steps[1].Malformed, object.ErrMalformed) {
				t.Errorf("not told: %v", steps[1].Malformed)
			}
			if steps[0].Malformed != nil || steps[2].Malformed != nil {
				t.Errorf("neighbours blamed: %v, %v", steps[0].Malformed, steps[2].Malformed)
			}
			for _, change := range steps[2].Changes {
				if change.Path != "c.yaml" {
					t.Errorf("the next commit vouches for %s", change.Path)
				}
			}
			// Step by step, as after a restart, it is the same.
			if again := must(r.Walk(ctx, third, second)); len(again) != 1 || len(again[0].Changes) != len(steps[2].Changes) {
				t.Errorf("from the malformed commit: %+v", again)
			}
			_, err := r.Tree(ctx, second)
			if c.name != "legacy mode" && !errors.Is(err, object.ErrMalformed) {
				t.Errorf("Tree: %v", err)
			}
			_ = first
		})
	}
}

func TestMalformedCommits(t *testing.T) {
	corpus.Programs(t, "git")
	repo := must(gitserver.NewRepo(filepath.Join(t.TempDir(), "odd.git")))
	first := must(repo.Commit(gitserver.CommitOptions{Files: map[string]string{"a": "1"}}))
	tree := strings.TrimSpace(must(repo.Git("rev-parse", first+"^{tree}")))
	bad := must(repo.Object("commit", []byte("tree "+tree+"\nparent "+first+"\nauthor A <a@b> 1 +0000\nauthor Evil <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nx\n")))
	check(t, repo.SetRef(gitserver.MainRef, bad))
	tip := must(repo.Commit(gitserver.CommitOptions{Tree: must(repo.Object("tree", entries("100644", "a", must(repo.Object("blob", []byte("2"))))))}))
	r := open(t, gitrepo.Remote{URL: repo.Dir, AllowLocal: true})
	wantTip(t, r, tip)
	steps := must(r.Walk(ctx, tip, ""))
	if len(steps) != 3 || !errors.Is(steps[1].Malformed, object.ErrMalformed) || steps[1].Commit.ID != bad || len(steps[2].Changes) != 1 {
		t.Errorf("steps %+v", steps)
	}

	headless := must(repo.Object("commit", []byte("parent "+first+"\ntree "+tree+"\n\nx\n")))
	check(t, repo.SetRef(gitserver.MainRef, headless))
	if err := fetchErr(t, gitrepo.Remote{URL: repo.Dir, AllowLocal: true}, gitrepo.Limits{}); !errors.Is(err, object.ErrMalformed) {
		t.Errorf("a commit without a tree: %v", err)
	}
}

func TestModes(t *testing.T) {
	corpus.Programs(t, "git")
	repo := must(gitserver.NewRepo(filepath.Join(t.TempDir(), "modes.git")))
	tip := must(repo.Commit(gitserver.CommitOptions{
		Files: map[string]string{"link": "target", "run": "#!", "plain": "x"},
		Modes: map[string]uint32{"link": object.ModeSymlink, "run": object.ModeExecutable},
		Links: map[string]string{"sub": strings.Repeat("1", 40)},
	}))
	r := open(t, gitrepo.Remote{URL: repo.Dir, AllowLocal: true})
	wantTip(t, r, tip)
	want := map[string]uint32{"link": object.ModeSymlink, "run": object.ModeExecutable, "plain": object.ModeFile, "sub": object.ModeGitlink}
	for _, c := range must(r.Walk(ctx, tip, ""))[0].Changes {
		if c.Mode != want[c.Path] {
			t.Errorf("%s has mode %o", c.Path, c.Mode)
		}
		delete(want, c.Path)
	}
	if len(want) > 0 {
		t.Errorf("not reported: %v", want)
	}
	if _, err := r.Tree(ctx, tip); err != nil {
		t.Error(err)
	}
}

func TestCancel(t *testing.T) {
	_, repo, tip := origin(t)
	r := open(t, gitrepo.Remote{URL: repo.Dir, AllowLocal: true})
	wantTip(t, r, tip)
	dead, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := r.Walk(dead, tip, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Walk: %v", err)
	}
	if err := r.Reachable(dead, tip, "", func(string, []byte) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Reachable: %v", err)
	}
}

// TestDamagedIndex: an index that a crash has spoilt is made again.
func TestDamagedIndex(t *testing.T) {
	_, repo, tip := origin(t)
	dir := t.TempDir()
	remote := gitrepo.Remote{URL: repo.Dir, AllowLocal: true}
	r := must(gitrepo.Open(dir, remote, gitrepo.Limits{}))
	wantTip(t, r, tip)
	check(t, r.Close())
	index := must(filepath.Glob(filepath.Join(dir, "objects/pack/*.idx")))[0]
	check(t, os.Chmod(index, 0o600))
	check(t, os.WriteFile(index, []byte("spoilt"), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "objects/pack/tmp_pack_1"), []byte("half"), 0o600))
	r = must(gitrepo.Open(dir, remote, gitrepo.Limits{}))
	defer r.Close()
	wantTip(t, r, tip)
	if steps := must(r.Walk(ctx, tip, "")); len(steps) != 3 {
		t.Errorf("%d steps", len(steps))
	}
}

func FuzzPackPrescan(f *testing.F) {
	var p packFile
	off := p.add(3, 5, nil, []byte("hello"))
	p.add(6, 4, back(p.Len()+12-off), []byte{5, 1, 1, 'b'})
	f.Add(p.whole(2))
	f.Add(deepChain(5))
	f.Add(refChain(5))
	f.Add(doubling(3))
	dir := f.TempDir()
	limits := gitrepo.Limits{Objects: 100, ObjectBytes: 1 << 16, InflatedBytes: 1 << 20, DeltaDepth: 10, PackBytes: 1 << 20}
	f.Fuzz(func(t *testing.T, data []byte) {
		// The checksum would stop nearly every mutation: make it fit.
		if len(data) > 32 {
			sum := sha1.Sum(data[:len(data)-20])
			data = append(append([]byte(nil), data[:len(data)-20]...), sum[:]...)
		}
		err := gitrepo.IndexBytes(dir, data, limits)
		if err != nil && !errors.Is(err, gitrepo.ErrMalformedPack) && !errors.Is(err, gitrepo.ErrTooLarge) {
			t.Errorf("unnamed error: %v", err)
		}
	})
}
