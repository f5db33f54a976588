package object

import (
	"bytes"
	"strings"
)

// The modes git writes. Any other mode makes a tree malformed.
const (
	ModeTree       uint32 = 0o040000
	ModeFile       uint32 = 0o100644
	ModeExecutable uint32 = 0o100755
	ModeLegacyFile uint32 = 0o100664 // group-writable, written by git before 2005
	ModeSymlink    uint32 = 0o120000
	ModeGitlink    uint32 = 0o160000 // a submodule's commit
)

// Entry is one line of a tree.
type Entry struct {
	Mode uint32
	Name string // one path segment, as bytes; it may hold control characters: clean it before showing it
	ID   ID
}

// IsTree reports whether the entry is a directory.
func (e Entry) IsTree() bool { return e.Mode == ModeTree }

// IsFile reports whether the entry is a regular file, executable or not.
func (e Entry) IsFile() bool {
	return e.Mode == ModeFile || e.Mode == ModeExecutable || e.Mode == ModeLegacyFile
}

// IsSymlink reports whether the entry is a symbolic link: its blob is a target
// path, never a manifest.
func (e Entry) IsSymlink() bool { return e.Mode == ModeSymlink }

// IsGitlink reports whether the entry is a submodule: its id names a commit of
// another repository.
func (e Entry) IsGitlink() bool { return e.Mode == ModeGitlink }

// shortestEntry is a mode of five digits, a space, a name of one byte, a NUL
// and an id.
const shortestEntry = 5 + 1 + 1 + 1 + 20

// ParseTree reads one raw tree object strictly, by the rules of git fsck:
// entries in git's order, no name twice (neither as file and directory), known
// modes in their one spelling, and no name that is empty, ".", "..", ".git" in
// any case, or holds a slash. An empty tree is a tree.
//
// The names share one copy of raw; raw itself may be reused.
func ParseTree(raw []byte) ([]Entry, error) {
	entries := make([]Entry, 0, countEntries(raw))
	text := string(raw)
	files := openFiles{names: make([]string, 0, 16)}
	for at := 0; at < len(text); {
		entry, size, err := parseEntry(text[at:])
		if err != nil {
			return nil, err
		}
		if len(entries) > 0 && !before(entries[len(entries)-1], entry) {
			return nil, malformed("tree entries out of order or twice at %q", entry.Name)
		}
		if files.clash(entry) {
			return nil, malformed("tree has %q both as a file and as a directory", entry.Name)
		}
		entries = append(entries, entry)
		at += size
	}
	return entries, nil
}

// countEntries is exact for a well-formed tree, and bounded by the tree's size
// for any other.
func countEntries(raw []byte) int {
	n := 0
	for len(raw) >= shortestEntry {
		end := bytes.IndexByte(raw, 0)
		if end < 0 || len(raw) < end+21 {
			break
		}
		raw = raw[end+21:]
		n++
	}
	return n
}

func parseEntry(text string) (Entry, int, error) {
	end := strings.IndexByte(text, 0)
	if end < 0 || len(text) < end+21 {
		return Entry{}, 0, malformed("truncated tree entry")
	}
	mode, name, _ := strings.Cut(text[:end], " ")
	entry := Entry{Mode: modeOf(mode), Name: name}
	if entry.Mode == 0 {
		return Entry{}, 0, malformed("tree entry with unknown mode %q", clip(mode))
	}
	if why := badName(name); why != "" {
		return Entry{}, 0, malformed("tree entry %q: %s", clip(name), why)
	}
	copy(entry.ID[:], text[end+1:])
	if entry.ID.IsZero() {
		return Entry{}, 0, malformed("tree entry %q names no object", clip(name))
	}
	return entry, end + 21, nil
}

// modeOf knows each mode in the one spelling git writes: "040000" and "0100644"
// are other bytes for the same mode, hence another tree id for the same tree.
func modeOf(text string) uint32 {
	switch text {
	case "100644":
		return ModeFile
	case "40000":
		return ModeTree
	case "100755":
		return ModeExecutable
	case "120000":
		return ModeSymlink
	case "160000":
		return ModeGitlink
	case "100664":
		return ModeLegacyFile
	}
	return 0
}

func badName(name string) string {
	switch {
	case name == "":
		return "empty name"
	case name[0] == '.' && (name == "." || name == ".." || strings.EqualFold(name, ".git")):
		return "reserved name"
	case strings.IndexByte(name, '/') >= 0:
		return "name with a slash"
	}
	return ""
}

// before is git's order of tree entries: names as bytes, a directory's with a
// slash behind it.
func before(a, b Entry) bool {
	n := min(len(a.Name), len(b.Name))
	if c := strings.Compare(a.Name[:n], b.Name[:n]); c != 0 {
		return c < 0
	}
	return a.byteAt(n) < b.byteAt(n)
}

func (e Entry) byteAt(i int) byte {
	if i < len(e.Name) {
		return e.Name[i]
	}
	if e.IsTree() {
		return '/'
	}
	return 0
}

// openFiles holds the file names that a directory of the same name may still
// follow. In git's order only names that begin with "a" stand between the file
// "a" and the directory "a", so the open names are prefixes of each other and
// of the entry at hand, and only the longest can equal it.
type openFiles struct{ names []string }

func (o *openFiles) clash(e Entry) bool {
	for n := len(o.names); n > 0 && !strings.HasPrefix(e.Name, o.names[n-1]); n-- {
		o.names = o.names[:n-1]
	}
	if !e.IsTree() {
		o.names = append(o.names, e.Name)
		return false
	}
	return len(o.names) > 0 && o.names[len(o.names)-1] == e.Name
}

// clip bounds what an error repeats of an object.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
