package gate

import (
	"maps"
	"slices"

	"github.com/gitward/gitward/gitindex"
)

// StampPrefix begins every annotation that is Gitward's own.
const StampPrefix = "gitward.dev/"

// The stamp says where an object comes from. It is a pure function of the
// object and Git: no time, no branch head, nothing of the request. It is for
// people; nothing in Gitward ever trusts one.
const (
	StampOrigin = StampPrefix + "origin"
	StampCommit = StampPrefix + "commit"
	StampAuthor = StampPrefix + "author"
	StampPath   = StampPrefix + "path"
	StampSigner = StampPrefix + "signer"
	StampLevel  = StampPrefix + "level"
)

// stampsOf computes the stamp of an object that is what m declares. The level is
// left out where it is exact, as it is for all that stands in a file.
func stampsOf(m *gitindex.Manifest, author bool) map[string]string {
	s := map[string]string{
		StampOrigin: m.Origin,
		StampCommit: m.Commit.ID,
	}
	if m.Path != "" {
		s[StampPath] = gitindex.Clean(m.Path, 300)
	}
	if level := levelOf(m); level != gitindex.Exact {
		s[StampLevel] = string(level)
	}
	if author {
		s[StampAuthor] = m.Commit.Author.String()
	}
	if signer := m.Commit.Verdict.Signer.String(); signer != "" && m.Commit.Verdict.Outcome == gitindex.Good {
		s[StampSigner] = signer
	}
	return s
}

// expected are the stamps that may stand on an object: what Gitward computes,
// one for each Gate that traced it, the first being the one that is written;
// and those that the file in Git carries itself.
type expected struct {
	want     []map[string]string
	declared map[string]string
	// inherited is set for a derived object: it was stamped when it was made, and
	// its controller may copy its owner's stamps later. Neither is written anew.
	inherited bool
	also      []map[string]string // what may stand there, beside want
	reason    string              // of a use of break-glass
}

// inherit takes the stamps of a derived object's root, as they are now and as
// they were; its level is its own.
func (e *expected) inherit(d *Decision) {
	e.inherited = true
	if d.Manifest != nil {
		made := stampsOf(d.Manifest, d.author)
		made[StampLevel] = string(gitindex.Derived)
		e.want, e.also = append(e.want, made), append(e.also, stampsOf(d.Manifest, d.author))
	}
	e.also = append(e.also, d.via.Stamps)
	for _, m := range d.past {
		e.also = append(e.also, stampsOf(m, d.author))
	}
}

func (e *expected) computes(key, value string) bool {
	for _, list := range [][]map[string]string{e.want, e.also} {
		for _, w := range list {
			if v, ok := w[key]; ok && v == value {
				return true
			}
		}
	}
	return key == StampBreakGlass && e.reason != "" && value == e.reason
}

// stampFault looks for a stamp that is not what Gitward computes. On an object
// that the request leaves alone, an old stamp may stay until it is renewed.
func (s *subject) stampFault(e *expected) (key string, why Refused) {
	for _, k := range sortedKeys(s.newStamps) {
		v := s.newStamps[k]
		old, had := s.oldStamps[k]
		declared, inGit := e.declared[k]
		switch {
		case e.computes(k, v):
		case had && old == v && e.inherited:
		case had && old == v && k == StampBreakGlass && len(e.want) == 0:
			// It stays until Git has caught up.
		case had && old == v && s.unchanged():
		case had && old == v, inGit && declared == v:
			return k, StaleStamp
		default:
			return k, ForgedStamp
		}
	}
	return "", ""
}

var stampKeys = []string{StampOrigin, StampCommit, StampAuthor, StampPath, StampSigner, StampLevel}

// restamp is what the mutating phase writes: the computed stamp in place of an
// absent or outdated one, and nothing in place of one that is none. A value that
// the requester made up is left for the judge to refuse. Nil means nothing is to
// be written.
func (s *subject) restamp(e *expected) map[string]string {
	if e.inherited && s.old != nil {
		return nil
	}
	next := maps.Clone(s.newStamps)
	if next == nil {
		next = map[string]string{}
	}
	var want map[string]string
	if len(e.want) > 0 {
		want = e.want[0]
	}
	for _, k := range stampKeys {
		if !s.replaceable(k, e) {
			continue
		}
		if want[k] != "" {
			next[k] = want[k]
		} else if !s.unchanged() {
			delete(next, k)
		}
	}
	for k := range s.newStamps {
		if k == StampBreakGlass { // it goes as soon as Git has caught up
			if len(e.want) > 0 && e.reason == "" && s.replaceable(k, e) {
				delete(next, k)
			}
			continue
		}
		if !slices.Contains(stampKeys, k) && !s.unchanged() && s.replaceable(k, e) {
			delete(next, k)
		}
	}
	if maps.Equal(next, s.newStamps) {
		return nil
	}
	return next
}

// replaceable reports whether a stamp is not the requester's own making: it is
// absent, it is as it was, or it stands in the file in Git.
func (s *subject) replaceable(key string, e *expected) bool {
	now, has := s.newStamps[key]
	old, had := s.oldStamps[key]
	declared, inGit := e.declared[key]
	return !has || had && old == now || inGit && declared == now
}
