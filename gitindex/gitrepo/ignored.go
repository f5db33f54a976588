package gitrepo

import (
	"fmt"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
)

// Ignored reads the .gitignore files of a working tree. The function it gives
// reports whether git leaves a path out, which is told by its parts.
func Ignored(root string) (func(parts []string, isDir bool) bool, error) {
	patterns, err := gitignore.ReadPatterns(osfs.New(root), nil)
	if err != nil {
		return nil, fmt.Errorf("reading the .gitignore files: %w", err)
	}
	return gitignore.NewMatcher(patterns).Match, nil
}
