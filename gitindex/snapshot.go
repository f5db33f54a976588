package gitindex

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Entry is all that one Origin knows of one object.
type Entry struct {
	// Current are the manifests of the trusted tree that declare the object:
	// one, as a rule; several where files repeat it, and then each counts.
	Current []*Manifest
	// Past are earlier manifests, newest first, each with the time at which a
	// newer trusted commit took its place. Appliers lag behind, so a Gate lets
	// them count for a while.
	Past []Past
	// Held are manifests as commits that are not trusted would have them. They
	// never justify anything: they let a refusal say why.
	Held []*Manifest
	// Unsure are the latest manifests of units that cannot be rendered now. They
	// justify nothing, but nobody knows that Git has given the object up: it must
	// not be deleted as if it had.
	Unsure []*Manifest
	// HeldRemoval is an untrusted commit that takes the object out of Git; nil
	// if there is none.
	HeldRemoval *Commit
}

// Past is a manifest that a newer trusted commit has superseded.
type Past struct {
	Manifest *Manifest
	By       *Commit   // the commit that superseded it
	At       time.Time // when this gateway saw that commit
}

// Snapshot is what one Origin declares at one accepted revision. It is
// immutable once published; readers share it freely.
type Snapshot struct {
	Origin string
	URL    string // without credentials
	Ref    string // "main", "v1.2.0"
	// Accepted is the newest commit that Gitward decides from; nil before the
	// first one is accepted, and then nothing is traceable to this Origin.
	Accepted *Commit
	// Tip is the commit the ref pointed to when it was last fetched; it differs
	// from Accepted while the Origin is frozen.
	Tip       string
	FetchedAt time.Time
	// Frozen says why the accepted revision does not follow the ref: a force
	// push, a rollback. Empty when it follows.
	Frozen string

	Objects  map[Ref]*Entry
	Problems []Problem
	Held     []HeldChange
	// Files counts the files of the trusted tree that were read.
	Files int

	names        func() map[groupKind][]*Manifest // the declared ones, for Near
	perNamespace map[string]int
	perKind      map[groupKind]int
	creators     map[string][]*Manifest // by the namespace that their applier makes
	releases     map[Ref][]Ref          // what each Helm release is of; a key has Namespace and Name alone
	digest       func([]byte) string    // nil without keys; no form of the snapshot that is stored has it
}

// Keyed lets the snapshot make digests of values. Call it before the snapshot is
// published.
func (s *Snapshot) Keyed(digest func([]byte) string) *Snapshot {
	s.digest = digest
	return s
}

// Digest is what a Hole's Digest is compared with; empty where the Origin has no
// keys, and then no such hole can be filled.
func (s *Snapshot) Digest(value []byte) string {
	if s == nil || s.digest == nil {
		return ""
	}
	return s.digest(value)
}

type groupKind struct{ group, kind string }

// HeldChange is one path that an untrusted commit changed and whose change is
// therefore held back.
type HeldChange struct {
	Path   string
	Commit *Commit
}

// Lookup finds what the Origin knows of ref; nil when it knows nothing.
func (s *Snapshot) Lookup(ref Ref) *Entry { return s.Objects[ref] }

// Declares counts the objects currently declared in a namespace, or perhaps
// declared, so that the namespace itself is not taken away from under them.
func (s *Snapshot) Declares(namespace string) int { return s.perNamespace[namespace] }

// DeclaresKind counts the objects of a kind that are currently declared, or
// perhaps are.
func (s *Snapshot) DeclaresKind(group, kind string) int {
	return s.perKind[groupKind{group, kind}]
}

// OfKind lists what is currently declared of a kind, in the order of namespace
// and name.
func (s *Snapshot) OfKind(group, kind string) []*Manifest {
	if s.names == nil {
		return nil
	}
	return s.names()[groupKind{group, kind}]
}

// Creators lists the units whose applier makes a namespace where it is missing:
// of each, the first manifest by name.
func (s *Snapshot) Creators(namespace string) []*Manifest { return s.creators[namespace] }

// Release lists the objects that a Helm release declares or lately declared, in
// no order. The namespace is the one in which it keeps its Secrets.
func (s *Snapshot) Release(namespace, name string) []Ref {
	return s.releases[Ref{Namespace: namespace, Name: name}]
}

// ReleaseStorage is the namespace in which the applier's Helm release keeps its
// Secrets: helm-controller's own default is that of the HelmRelease
// (spec.storageNamespace), the helm command's that of the release.
func (a *Applier) ReleaseStorage() string {
	switch {
	case a.HelmStorageNamespace != "":
		return a.HelmStorageNamespace
	case a.FluxHelmNamespace != "":
		return a.FluxHelmNamespace
	}
	return a.HelmNamespace
}

// noteAppliers notes what an object's appliers make beside what is declared.
func (s *Snapshot) noteAppliers(ref Ref, e *Entry) {
	of := map[Ref]bool{}
	for _, m := range e.Current {
		if a := m.Applier; a != nil && a.CreatesNamespace != "" && !m.Alternate {
			s.creators[a.CreatesNamespace] = oneOfEach(s.creators[a.CreatesNamespace], m)
		}
		noteRelease(of, m)
	}
	for i := range e.Past {
		noteRelease(of, e.Past[i].Manifest)
	}
	for release := range of {
		s.releases[release] = append(s.releases[release], ref)
	}
}

func noteRelease(of map[Ref]bool, m *Manifest) {
	if a := m.Applier; a != nil && a.HelmRelease != "" {
		of[Ref{Namespace: a.ReleaseStorage(), Name: a.HelmRelease}] = true
	}
}

// oneOfEach keeps the first manifest, by name, of each unit, in the units' order.
func oneOfEach(list []*Manifest, m *Manifest) []*Manifest {
	i, found := slices.BinarySearchFunc(list, m.Unit, func(o *Manifest, unit string) int { return strings.Compare(o.Unit, unit) })
	switch {
	case !found:
		return slices.Insert(list, i, m)
	case m.Ref.before(list[i].Ref):
		list[i] = m
	}
	return list
}

// before is any order at all, as long as it is one.
func (r Ref) before(o Ref) bool {
	return strings.Join([]string{r.Group, r.Kind, r.Namespace, r.Name}, "/") < strings.Join([]string{o.Group, o.Kind, o.Namespace, o.Name}, "/")
}

// Seal computes what lookups need from Objects. Call it once, before the
// snapshot is published.
func (s *Snapshot) Seal() *Snapshot {
	s.names = sync.OnceValue(s.byKind)
	s.perNamespace, s.perKind = map[string]int{}, map[groupKind]int{}
	s.creators, s.releases = map[string][]*Manifest{}, map[Ref][]Ref{}
	for ref, e := range s.Objects {
		s.noteAppliers(ref, e)
		known := e.Current
		if len(known) == 0 {
			known = e.Unsure
		}
		if len(known) == 0 || known[0].Alternate {
			continue
		}
		s.perKind[groupKind{ref.Group, ref.Kind}]++
		if ref.Namespace != "" {
			s.perNamespace[ref.Namespace]++
		}
	}
	return s
}

// Count is the number of objects currently declared.
func (s *Snapshot) Count() int {
	n := 0
	for _, e := range s.Objects {
		if len(e.Current) > 0 && !e.Current[0].Alternate {
			n++
		}
	}
	return n
}

// Near finds a declared object with the same kind and a name close to ref's,
// for a "did you mean" line; nil if there is none within two edits.
func (s *Snapshot) Near(ref Ref) *Manifest {
	if s.names == nil {
		return nil
	}
	var best *Manifest
	closest := 3
	for _, m := range s.names()[groupKind{ref.Group, ref.Kind}] {
		d := 0
		if m.Ref.Namespace != ref.Namespace {
			d = 1
		}
		if difference := len(m.Ref.Name) - len(ref.Name); difference > closest || -difference > closest {
			continue
		}
		d += distance(m.Ref.Name, ref.Name, closest)
		if d > 0 && d < closest {
			best, closest = m, d
		}
		if closest == 1 {
			break
		}
	}
	return best
}

// byKind lists what is declared, in the order of namespace and name.
func (s *Snapshot) byKind() map[groupKind][]*Manifest {
	out := map[groupKind][]*Manifest{}
	for ref, e := range s.Objects {
		if len(e.Current) > 0 {
			kind := groupKind{ref.Group, ref.Kind}
			out[kind] = append(out[kind], e.Current[0])
		}
	}
	for _, list := range out {
		slices.SortFunc(list, func(a, b *Manifest) int {
			return strings.Compare(a.Ref.Namespace+"/"+a.Ref.Name, b.Ref.Namespace+"/"+b.Ref.Name)
		})
	}
	return out
}

// distance is the Levenshtein distance of two names, or limit if it is larger.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	var space [64]int
	if len(b) >= len(space) {
		return limit // long names are told apart by eye
	}
	row := space[:len(b)+1]
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal, row[j] = row[j], min(cost, row[j]+1, row[j-1]+1)
		}
		if slices.Min(row) >= limit {
			return limit
		}
	}
	return min(row[len(b)], limit)
}

// Index is every Origin's snapshot, by Origin name. It is immutable.
type Index map[string]*Snapshot
