//go:build unix

package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/gitward/gitward/test/gitserver"
)

// The repository has the form that gitserver.Generate gives it, but every
// commit is signed: the first brings all the files, each further one changes
// one to five of them.

func team(i int) string { return fmt.Sprintf("team-%d", i%20) }
func app(i int) string  { return fmt.Sprintf("app-%d", i) }
func file(i int) string {
	return fmt.Sprintf("teams/team-%02d/service-%03d/app-%d.yaml", i%20, i/20%50, i)
}

func manifest(i int, version string) string {
	return gitserver.Manifest(app(i), team(i), version)
}

func commitAll(repo *gitserver.Repo, commits, files int, signer gitserver.Signer) error {
	dice := rand.New(rand.NewPCG(1, 1))
	for n := range commits {
		changed := map[string]string{}
		write := func(i int) { changed[file(i)] = manifest(i, fmt.Sprintf("1.%d.%d", n, dice.IntN(1000))) }
		if n == 0 {
			for i := range files {
				write(i)
			}
		} else {
			for range 1 + dice.IntN(5) {
				write(dice.IntN(files))
			}
		}
		if _, err := repo.Commit(gitserver.CommitOptions{Files: changed, Message: fmt.Sprintf("change %d", n), Signer: signer}); err != nil {
			return err
		}
	}
	return nil
}
