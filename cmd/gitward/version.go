package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// versionResult is what version prints.
type versionResult struct {
	document
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from a tree with changes
	Time     string `json:"commitTime,omitempty"`
	Go       string `json:"goVersion"`
	Platform string `json:"platform"`
	// Modules are the libraries whose behaviour ours rests on.
	Modules map[string]string `json:"modules"`
}

// telling modules decide what is fetched, and what an object's canonical form is.
var tellingModules = []string{"github.com/go-git/go-git/v5", "k8s.io/kubernetes", "k8s.io/apiextensions-apiserver", "k8s.io/client-go",
	"sigs.k8s.io/structured-merge-diff/v6", "github.com/ProtonMail/go-crypto", "golang.org/x/crypto"}

func versionCommand() *cobra.Command {
	output := "table"
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version, and those of Go and the telling libraries",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			s, v := newConsole(cmd), versionOf(debug.ReadBuildInfo())
			if output != "table" {
				return s.structured(output, v)
			}
			v.print(s)
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", output, outputs)
	return c
}

func versionOf(info *debug.BuildInfo, ok bool) versionResult {
	v := versionResult{document: documentOf("Version"), Version: version, Go: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH, Modules: map[string]string{}}
	if !ok {
		return v
	}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			v.Commit = setting.Value
		case "vcs.modified":
			v.Modified = setting.Value == "true"
		case "vcs.time":
			v.Time = setting.Value
		}
	}
	for _, dep := range info.Deps {
		if slices.Contains(tellingModules, dep.Path) {
			if dep.Replace != nil {
				dep = dep.Replace
			}
			v.Modules[dep.Path] = dep.Version
		}
	}
	return v
}

func (v *versionResult) print(s *console) {
	commit := v.Commit
	if v.Modified {
		commit += " with changes"
	}
	rows := [][]cell{{plain("gitward"), plain(v.Version)}, {plain("commit"), plain(strings.TrimSpace(commit))},
		{plain("go"), plain(fmt.Sprintf("%s %s", v.Go, v.Platform))}}
	for _, m := range tellingModules {
		if number := v.Modules[m]; number != "" {
			rows = append(rows, []cell{plain(m), plain(number)})
		}
	}
	s.columns(rows, 3)
}
