package argocd

import "testing"

func TestDoubtful(t *testing.T) {
	for pattern, want := range map[string]bool{
		"{*.yaml,*.yml}":         false,
		"*.{yaml,yml}":           false,
		"{config.json,env-usw2}": false,
		"**/{a,b}/*.yaml":        false,
		"{*.yaml,*.yml}*.json":   true,
		"a{b*,c}":                true,
		"a{b,}":                  true,
		"{[ab],c}x":              true,
		"*":                      false,
	} {
		if got := doubtful(pattern); got != want {
			t.Errorf("%s: %v", pattern, got)
		}
	}
}
