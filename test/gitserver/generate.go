package gitserver

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
)

// Shape is the size of a generated repository.
type Shape struct {
	Commits, Files int
	Seed           uint64
}

// Generate fills an empty Repo with an unsigned history through git
// fast-import: the first commit brings all the files, as YAML manifests of
// about 1 kB in three levels of directories, and each further one changes one
// to five of them.
func (r *Repo) Generate(s Shape) error {
	cmd := exec.Command("git", "--git-dir", r.Dir, "fast-import", "--quiet", "--depth=50")
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	w := bufio.NewWriterSize(pipe, 1<<20)
	s.write(w)
	flushed := w.Flush()
	pipe.Close()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("git fast-import: %w", err)
	}
	return flushed
}

func (s Shape) write(w io.Writer) {
	dice := rand.New(rand.NewPCG(s.Seed, 1))
	for n := range s.Commits {
		message := fmt.Sprintf("change %d", n)
		fmt.Fprintf(w, "commit refs/heads/main\ncommitter Ada Example <ada@example.org> %d +0000\ndata %d\n%s\n", 1767225600+60*n, len(message), message)
		if n == 0 {
			for i := range s.Files {
				s.file(w, i, n, dice)
			}
			continue
		}
		for range 1 + dice.IntN(5) {
			s.file(w, dice.IntN(s.Files), n, dice)
		}
	}
}

func (s Shape) file(w io.Writer, i, n int, dice *rand.Rand) {
	text := Manifest(fmt.Sprintf("app-%d", i), fmt.Sprintf("team-%d", i%20), fmt.Sprintf("1.%d.%d", n, dice.IntN(1000)))
	fmt.Fprintf(w, "M 100644 inline teams/team-%02d/service-%03d/app-%d.yaml\ndata %d\n%s\n", i%20, i/20%50, i, len(text), text)
}

// Manifest is a Deployment of about 1 kB.
func Manifest(name, namespace, version string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: %[1]s
  namespace: %[2]s
  labels:
    app.kubernetes.io/name: %[1]s
    app.kubernetes.io/part-of: %[2]s
    app.kubernetes.io/version: %[3]s
spec:
  replicas: 3
  selector:
    matchLabels:
      app.kubernetes.io/name: %[1]s
  template:
    metadata:
      labels:
        app.kubernetes.io/name: %[1]s
        app.kubernetes.io/version: %[3]s
    spec:
      serviceAccountName: %[1]s
      containers:
        - name: %[1]s
          image: registry.example.org/%[2]s/%[1]s:%[3]s
          ports:
            - containerPort: 8080
              name: http
          readinessProbe:
            httpGet:
              path: /healthz
              port: http
          resources:
            requests: {cpu: 100m, memory: 128Mi}
            limits: {memory: 256Mi}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            runAsNonRoot: true
`, name, namespace, version)
}
