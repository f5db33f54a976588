package gate

import (
	"maps"

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
)

// stampsOf computes the stamp of an object that is what m declares.
func stampsOf(m *gitindex.Manifest, author bool) map[string]string {
	s := map[string]string{
		StampOrigin: m.Origin,
		StampCommit: m.Commit.ID,
		StampPath:   gitindex.Clean(m.Path, 300),
	}
	if author {
		s[StampAuthor] = m.Commit.Author.String()
	}
	if signer := m.Commit.Verdict.Signer.String(); signer != "" && m.Commit.Verdict.Outcome == gitindex.Good {
		s[StampSigner] = signer
	}
	return s
}

// stampFault looks for a stamp that is not what Gitward computes. On an object
// that the request leaves alone, an old stamp may stay until it is renewed.
func (s *subject) stampFault(want, declared map[string]string) (key string, why Refused) {
	for _, k := range sortedKeys(s.newStamps) {
		v := s.newStamps[k]
		old, had := s.oldStamps[k]
		switch {
		case want[k] == v && v != "":
		case had && old == v && s.unchanged():
		case had && old == v, declared[k] == v && v != "":
			return k, StaleStamp
		default:
			return k, ForgedStamp
		}
	}
	return "", ""
}

// restamp is what the mutating phase writes: the computed stamp in place of an
// absent or outdated one. A value that the requester made up is left for the
// judge to refuse. Nil means nothing is to be written.
func (s *subject) restamp(want, declared map[string]string) map[string]string {
	next := maps.Clone(s.newStamps)
	if next == nil {
		next = map[string]string{}
	}
	for _, k := range []string{StampOrigin, StampCommit, StampAuthor, StampPath, StampSigner} {
		now, has := s.newStamps[k]
		old, had := s.oldStamps[k]
		mayReplace := !has || had && old == now || declared[k] == now
		switch {
		case !mayReplace:
		case want[k] != "":
			next[k] = want[k]
		case !s.unchanged():
			delete(next, k)
		}
	}
	if maps.Equal(next, s.newStamps) {
		return nil
	}
	return next
}
