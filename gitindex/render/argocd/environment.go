package argocd

import "os"

// environment are the variables that Argo CD substitutes into some options.
// Nothing of the process's own environment is among them.
type environment struct {
	values map[string]string
	// asked is set when a value depends on the commit.
	asked *bool
}

// revision is what stands for a commit while a unit is rendered: the commit's
// id depends on what this index does not know yet, and changes with every
// commit, while the object does not.
type revision struct{ full, short, short8 string }

// Two sets of ids that no text has by chance. What differs between a rendering
// with the one and with the other depends on the commit.
var (
	oneRevision   = revision{"3b9f0c62d87e415aa1c5e8f4279d60b3c8e71f2a", "9e4d17c", "5f80ba3d"}
	otherRevision = revision{"c17a5d08e4b2936f7d40b8e19a53f6c2047e9d8b", "4a8f26b", "b26c9e07"}
)

// environment is what the source's options may name:
// reposerver/repository/repository.go, newEnv.
func (b *builder) environment(s *Source) environment {
	return environment{asked: &b.asked, values: map[string]string{
		"ARGOCD_APP_NAME":                   b.app.instance(),
		"ARGOCD_APP_NAMESPACE":              b.app.Spec.Destination.Namespace,
		"ARGOCD_APP_PROJECT_NAME":           b.app.project(),
		"ARGOCD_APP_REVISION":               b.revision.full,
		"ARGOCD_APP_REVISION_SHORT":         b.revision.short,
		"ARGOCD_APP_REVISION_SHORT_8":       b.revision.short8,
		"ARGOCD_APP_SOURCE_REPO_URL":        s.RepoURL,
		"ARGOCD_APP_SOURCE_PATH":            s.Path,
		"ARGOCD_APP_SOURCE_TARGET_REVISION": s.TargetRevision,
	}}
}

// at is the environment of a chart from elsewhere, whose revision is its
// version.
func (e environment) at(version string) environment {
	values := map[string]string{}
	for name, value := range e.values {
		values[name] = value
	}
	values["ARGOCD_APP_REVISION"] = version
	values["ARGOCD_APP_REVISION_SHORT"] = version[:min(7, len(version))]
	values["ARGOCD_APP_REVISION_SHORT_8"] = version[:min(8, len(version))]
	var never bool
	return environment{values: values, asked: &never}
}

// expand substitutes as Argo CD's Env.Envsubst does: what is not known becomes
// nothing, and $$ is a dollar sign.
func (e environment) expand(text string) string {
	return os.Expand(text, func(name string) string {
		switch name {
		case "$":
			return "$"
		case "ARGOCD_APP_REVISION", "ARGOCD_APP_REVISION_SHORT", "ARGOCD_APP_REVISION_SHORT_8":
			*e.asked = true
		}
		return e.values[name]
	})
}
