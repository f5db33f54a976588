package gate

import "github.com/gitward/gitward/gitindex"

// Level says how directly Git says what was admitted; empty where nothing was
// settled: a refusal, or a request that changes nothing.
func (d *Decision) Level() gitindex.Level {
	if d.Refusal != nil {
		return ""
	}
	switch d.Reason {
	case ByGit:
		if len(d.Reasons[ByHole]) > 0 {
			return gitindex.Templated // also where the Gate alone leaves the value open
		}
		return levelOf(d.Manifest)
	case Derived:
		if d.BreakGlass != nil {
			return gitindex.Exempt
		}
		return gitindex.Derived
	case BrokenGlass, Excluded, Platform, NotGated:
		return gitindex.Exempt
	}
	return ""
}

func levelOf(m *gitindex.Manifest) gitindex.Level {
	if m == nil || m.Level == "" {
		return gitindex.Exact
	}
	return m.Level
}
