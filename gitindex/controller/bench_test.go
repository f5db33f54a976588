package controller

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/gitward/gitward/gitindex/elsewhere"
	"github.com/gitward/gitward/gitindex/render/worker"
)

// The test binary is also the child that renders.
const (
	asChild   = "render-units"
	asFetcher = "fetch-elsewhere" // or that fetches
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == asFetcher {
		if err := elsewhere.Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) == 3 && os.Args[1] == asChild {
		memory, err := strconv.Atoi(os.Args[2])
		if err == nil {
			err = worker.Serve(os.Stdin, os.Stdout, memory)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// BenchmarkIncremental is one commit to a repository of 200 kustomizations, of
// a base and an overlay each and 1,000 objects in all: fetched, verified,
// rendered in a child, indexed. Only the unit that it touches is rendered.
func BenchmarkIncremental(b *testing.B) {
	w := newScene(b)
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	pool := &worker.Pool{Command: []string{exe, asChild}}
	defer pool.Close()
	w.settings.Renderer = pool
	files := map[string]string{}
	for i := range 200 {
		dir := fmt.Sprintf("apps/app%03d", i)
		files[dir+"/base/kustomization.yaml"] = "resources: [all.yaml, web.yaml]\n"
		files[dir+"/base/all.yaml"] = docs(cm("one", "1"), cm("two", "1"), cm("three", "1"))
		files[dir+"/base/web.yaml"] = web
		files[dir+"/prod/kustomization.yaml"] = fmt.Sprintf("resources: [../base]\nnamePrefix: app%03d-\nnamespace: shop\nimages: [{name: web, newTag: v1}]\nconfigMapGenerator: [{name: env, literals: [a=b]}]\n", i)
	}
	w.commit(w.ada, files)
	s := w.sync()
	if s.Count() != 1000 || len(s.Problems) > 0 {
		b.Fatalf("%d objects, problems %v", s.Count(), s.Problems)
	}
	b.ResetTimer()
	for i := range b.N {
		b.StopTimer()
		id := w.commit(w.ben, map[string]string{fmt.Sprintf("apps/app%03d/base/all.yaml", i%200): docs(cm("one", fmt.Sprint("v", i)), cm("two", "1"), cm("three", "1"))})
		b.StartTimer()
		s := w.sync()
		if from := w.from(s, fmt.Sprintf("app%03d-one", i%200)); from != id {
			b.Fatalf("traced to %.7s", from)
		}
	}
}

const web = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: web, image: web, ports: [{containerPort: 8080}], envFrom: [{configMapRef: {name: env}}]}
`
