package gitrepo

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/object"
)

func blob(n int) (id object.ID) {
	if n > 0 {
		id[0], id[19] = byte(n), 1
	}
	return id
}

func step(n int, outcome gitindex.Outcome, changes ...Change) Step {
	return Step{Commit: gitindex.Commit{ID: fmt.Sprintf("%040x", n+1), Verdict: gitindex.Verdict{Outcome: outcome}}, Changes: changes}
}

func TestTrustedTree(t *testing.T) {
	file := func(path string, n int) Change { return Change{Path: path, New: blob(n), Mode: object.ModeFile} }
	var line Timeline
	line.Append(
		step(0, gitindex.Good, file("a", 1), file("b", 1)),
		step(1, gitindex.Unsigned, file("a", 2), file("c", 2)),
		step(2, gitindex.Good, file("b", 3)),
	)
	if got := line.TrustedTree()["a"].ID; got != blob(1) {
		t.Errorf("an unsigned commit changed a: %v", got)
	}
	if got := line.TrustedTree()["b"].ID; got != blob(3) {
		t.Errorf("an unsigned commit stopped b: %v", got)
	}
	if held := line.HeldBack(); len(held) != 2 || held[0].Path != "a" || held[1].Path != "c" || held[0].Commit != line.Commit(1) {
		t.Errorf("held back: %+v", held)
	}
	line.Append(step(3, gitindex.Good, file("a", 4)))
	if got := line.TrustedTree()["a"].ID; got != blob(4) || len(line.HeldBack()) != 1 {
		t.Errorf("a signed edit does not vouch for a: %v", got)
	}
	line.Commit(3).Verdict.Outcome = gitindex.SignerRevoked
	if got := line.TrustedTree()["a"].ID; got != blob(1) {
		t.Errorf("a revocation does not take effect: %v", got)
	}
}

func TestTrustNeedsMoreThanASignature(t *testing.T) {
	change := Change{Path: "a", New: blob(1), Mode: object.ModeFile}
	for _, c := range []struct {
		outcome             gitindex.Outcome
		malformed, boundary bool
		want                bool
	}{
		{gitindex.Good, false, false, true}, {gitindex.Good, true, false, false}, {gitindex.Good, false, true, false},
		{gitindex.Sealed, false, false, true}, {gitindex.Sealed, true, true, true},
		{gitindex.NotChecked, false, false, false}, {gitindex.BadSignature, false, false, false},
	} {
		s := step(0, c.outcome, change)
		s.Boundary = c.boundary
		if c.malformed {
			s.Malformed = object.ErrMalformed
		}
		var line Timeline
		line.Append(s)
		if got := len(line.Trusted("a")) == 1; got != c.want {
			t.Errorf("%+v: trusted %v", c, got)
		}
	}
}

// TestTimelineAgainstModel recomputes everything from scratch, the plain way.
func TestTimelineAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var line Timeline
		var steps []Step
		for n := range rapid.IntRange(0, 20).Draw(t, "steps") {
			s := step(n, rapid.SampledFrom([]gitindex.Outcome{gitindex.Good, gitindex.Sealed, gitindex.Unsigned, gitindex.BadSignature}).Draw(t, "outcome"))
			s.Commit.Author.When = time.Unix(int64(n), 0).UTC()
			s.Boundary = n == 0 && rapid.Bool().Draw(t, "boundary")
			if rapid.IntRange(0, 5).Draw(t, "malformed") == 0 {
				s.Malformed = object.ErrMalformed
			}
			for path := range rapid.IntRange(0, 3).Draw(t, "paths") {
				s.Changes = append(s.Changes, Change{
					Path: fmt.Sprint("p", path), New: blob(rapid.IntRange(0, 3).Draw(t, "blob")),
					Mode: rapid.SampledFrom([]uint32{object.ModeFile, object.ModeExecutable}).Draw(t, "mode"),
				})
			}
			steps = append(steps, s)
			line.Append(s)
		}
		if rapid.Bool().Draw(t, "restart") {
			data, err := line.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			line = Timeline{}
			if err := line.UnmarshalBinary(data); err != nil {
				t.Fatal(err)
			}
		}
		trusted, newest := model(steps)
		if got := line.TrustedTree(); !maps.Equal(got, trusted) {
			t.Fatalf("trusted tree %v, want %v", got, trusted)
		}
		var held []string
		for path, entry := range newest {
			if trusted[path] != entry {
				held = append(held, path)
			}
		}
		for path := range trusted {
			if _, ok := newest[path]; !ok {
				held = append(held, path)
			}
		}
		slices.Sort(held)
		var got []string
		for _, h := range line.HeldBack() {
			got = append(got, h.Path)
		}
		if !slices.Equal(got, held) {
			t.Fatalf("held back %v, want %v", got, held)
		}
	})
}

// model plays all steps over two maps.
func model(steps []Step) (trusted, newest map[string]FileEntry) {
	trusted, newest = map[string]FileEntry{}, map[string]FileEntry{}
	set := func(m map[string]FileEntry, c Change) {
		if delete(m, c.Path); !c.New.IsZero() {
			m[c.Path] = FileEntry{c.New, c.Mode}
		}
	}
	for _, s := range steps {
		good := s.Commit.Verdict.Outcome == gitindex.Sealed || s.Commit.Verdict.Outcome == gitindex.Good && s.Malformed == nil && !s.Boundary
		for _, c := range s.Changes {
			set(newest, c)
			if good {
				set(trusted, c)
			}
		}
	}
	return trusted, newest
}

func FuzzTimeline(f *testing.F) {
	var line Timeline
	line.Append(step(0, gitindex.Good, Change{Path: "a", New: blob(1), Mode: object.ModeFile}))
	data, err := line.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		var line Timeline
		if line.UnmarshalBinary(data) == nil {
			line.TrustedTree()
			line.HeldBack()
		}
	})
}

func TestTimelineRoundTrip(t *testing.T) {
	var line, back Timeline
	for n := range 50 {
		line.Append(step(n, gitindex.Good, Change{Path: fmt.Sprint(n % 7), New: blob(n), Mode: object.ModeFile}))
	}
	data, err := line.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if err := back.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(line, back) {
		t.Error("it comes back changed")
	}
}
