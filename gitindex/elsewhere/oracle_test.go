package elsewhere

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
	helmregistry "helm.sh/helm/v4/pkg/registry"
	"helm.sh/helm/v4/pkg/repo/v1"
)

var asked = []string{"", "*", "1", "1.x", "1.2", "~1.2", "^1.2.0", "^0.2", "~0.2.1", ">=1.0.0 <2.0.0", ">=1.0.0, <2.0.0", "<1.0.0 || >=2.0.0", "1.0.0 - 1.9.9", ">=0.0.0-0",
	"^2.0.0-0", "1.2.3", "v1.2.3", "=1.2.3", "!=1.2.3", ">1.2.3-alpha", "1.2.3-rc.1", "2.*", "10.x", "latest", "=> 1", ">=1.2.3-beta.2 <1.2.3", "1.2.3+build"}

// versions makes a list such as a publisher's: with pre-releases, builds, and
// now and then a v before it.
func versions(dice *rand.Rand) []string {
	var all []string
	for range 1 + dice.IntN(12) {
		v := fmt.Sprintf("%d.%d.%d", dice.IntN(3), dice.IntN(4), dice.IntN(4))
		switch dice.IntN(6) {
		case 0:
			v += fmt.Sprintf("-rc.%d", dice.IntN(3))
		case 1:
			v += "-alpha"
		case 2:
			v = "v" + v
		}
		if !slices.ContainsFunc(all, func(have string) bool { return same(have, v) }) {
			all = append(all, v)
		}
	}
	return all
}

// same versions have no order, and Helm's sort is not stable.
func same(a, b string) bool {
	x, e := semver.NewVersion(a)
	y, f := semver.NewVersion(b)
	return e == nil && f == nil && x.Equal(y)
}

// TestAsHelmResolves holds indexes and tags against Helm's own code.
func TestAsHelmResolves(t *testing.T) {
	before := slog.Default() // Helm warns of each version that is not the very one
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(before) })
	dice := rand.New(rand.NewPCG(1, 2))
	compared, found := 0, 0
	for range 150 {
		have := versions(dice)
		var index strings.Builder
		index.WriteString("apiVersion: v1\nentries:\n  other:\n  - {apiVersion: v2, name: other, version: 9.9.9, urls: [x]}\n  redis:\n")
		for _, v := range have {
			fmt.Fprintf(&index, "  - apiVersion: v2\n    name: redis\n    version: %s\n    urls:\n    - redis-%s.tgz\n", v, v)
		}
		file := filepath.Join(t.TempDir(), "index.yaml")
		if err := os.WriteFile(file, []byte(index.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		theirs, err := repo.LoadIndexFile(file)
		if err != nil {
			t.Fatal(err)
		}
		list, err := releases([]byte(index.String()), "redis")
		if err != nil {
			t.Fatal(err)
		}
		tags := slices.Clone(have)
		slices.SortFunc(tags, func(a, b string) int { return semver.MustParse(b).Compare(semver.MustParse(a)) })
		for _, version := range asked {
			want, failed := theirs.Get("redis", version)
			got, err := pick(list, &request{Name: "redis", Version: version})
			compared++
			switch {
			case (err == nil) != (failed == nil):
				t.Errorf("%q of %v: %v, Helm: %v", version, have, err, failed)
			case err == nil && (got.Version != want.Version || got.URLs[0] != want.URLs[0]):
				t.Errorf("%q of %v: %s, Helm: %s", version, have, got.Version, want.Version)
			case err == nil:
				found++
			}
			wantTag, failed := helmregistry.GetTagMatchingVersionOrConstraint(tags, version)
			gotTag, err := choose(have, version)
			if (err == nil) != (failed == nil) || gotTag != wantTag {
				t.Errorf("the tag %q of %v: %q, %v; Helm: %q, %v", version, have, gotTag, err, wantTag, failed)
			}
		}
	}
	t.Logf("%d questions, %d with an answer: the same as Helm's", compared, found)
	if found < 500 {
		t.Errorf("only %d had an answer", found)
	}
}
