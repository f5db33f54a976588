package elsewhere

import (
	"slices"

	"github.com/Masterminds/semver/v3"

	"github.com/gitward/gitward/gitindex"
)

// choose picks what a version that somebody wrote stands for, as Helm does it
// (helm.sh/helm/v4/pkg/repo/v1, IndexFile.Get; pkg/registry,
// GetTagMatchingVersionOrConstraint): the very same text if there is one, else
// the highest that satisfies the range; pre-releases only if the range names
// one; empty means the newest that is none.
func choose(have []string, asked string) (string, error) {
	if asked != "" && slices.Contains(have, asked) {
		return asked, nil
	}
	text := asked
	if text == "" {
		text = "*"
	}
	if len(text) > 256 {
		return "", refused("a version of more than 256 bytes")
	}
	constraint, err := semver.NewConstraint(text)
	if err != nil {
		return "", refused("version %q is not there, and is no range either", gitindex.Clean(asked, 100))
	}
	best, found := "", (*semver.Version)(nil)
	for _, candidate := range have {
		v, err := semver.NewVersion(candidate)
		if err != nil || !constraint.Check(v) {
			continue
		}
		if found == nil || v.GreaterThan(found) {
			best, found = candidate, v
		}
	}
	if found == nil {
		return "", refused("no version of the %d there fits %q", len(have), gitindex.Clean(text, 100))
	}
	return best, nil
}

// exact reports whether a version can only mean itself, so that nothing has to
// be listed to find it.
func exact(version string) bool {
	if _, err := semver.StrictNewVersion(version); err == nil {
		return true
	}
	_, err := semver.NewConstraint(version)
	return version != "" && err != nil
}
