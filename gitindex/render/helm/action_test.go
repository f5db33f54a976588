package helm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/action"
	ci "helm.sh/helm/v4/pkg/chart"
	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/test/corpus"
)

// dryRun is "helm template" by Helm's own action: the second opinion.
func dryRun(c *chart.Chart, o render.HelmOptions, values map[string]any) (*releasev1.Release, error) {
	install := action.NewInstall(action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler)))
	install.DryRunStrategy = action.DryRunClient
	install.ReleaseName, install.Namespace = o.ReleaseName, o.Namespace
	install.IncludeCRDs = !o.SkipCRDs
	install.IsUpgrade = o.IsUpgrade
	install.APIVersions = o.APIVersions
	install.DisableOpenAPIValidation = true
	kube, err := common.ParseKubeVersion(defaultKubeVersion)
	if err != nil {
		return nil, err
	}
	install.KubeVersion = kube
	rel, err := install.RunWithContext(context.Background(), c, values)
	if err != nil {
		return nil, err
	}
	return rel.(*releasev1.Release), nil
}

// missingDependency is what the helm command says before it renders.
func missingDependency(c *chart.Chart) error {
	var all []ci.Dependency
	for _, d := range c.Metadata.Dependencies {
		all = append(all, d)
	}
	return action.CheckDependencies(c, all)
}

// lines are a release's objects as JSON, sorted: those of its manifest, and its
// hooks apart.
func lines(t testing.TB, rel *releasev1.Release) (objects, hooks []string) {
	for _, h := range rel.Hooks {
		hooks = append(hooks, decode(t, h.Manifest)...)
	}
	objects = decode(t, rel.Manifest)
	slices.Sort(hooks)
	slices.Sort(objects)
	return objects, hooks
}

// decode reads documents as Helm's client does.
func decode(t testing.TB, text string) []string {
	t.Helper()
	var all []string
	d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		var raw map[string]any
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) == 0 {
			continue
		}
		list, ok := raw["items"].([]any)
		if !ok {
			list = []any{raw}
		}
		for _, item := range list {
			line, err := json.Marshal(item)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(line))
		}
	}
}

func same(t *testing.T, rel *releasev1.Release, got []render.Object) {
	t.Helper()
	wantObjects, wantHooks := lines(t, rel)
	var objects, hooks []string
	for _, o := range got {
		if o.Hook {
			hooks = append(hooks, string(o.JSON))
		} else {
			objects = append(objects, string(o.JSON))
		}
	}
	slices.Sort(objects)
	slices.Sort(hooks)
	for _, pair := range [][2][]string{{objects, wantObjects}, {hooks, wantHooks}} {
		if len(pair[0]) != len(pair[1]) {
			t.Fatalf("%d objects, Helm makes %d", len(pair[0]), len(pair[1]))
		}
		for i := range pair[0] {
			if pair[0][i] != pair[1][i] {
				t.Fatalf("here:\n%s\nHelm:\n%s", pair[0][i], pair[1][i])
			}
		}
	}
}

// TestCorpusAgainstHelm renders the corpus's charts with each of their values
// files, and with Helm's own action beside it.
func TestCorpusAgainstHelm(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short: whole real repositories, for many seconds")
	}
	root := corpus.Dir(t)
	done, total := 0, 0
	for _, row := range expectations(t) {
		base := filepath.Join(root, row.Tree, row.Dir)
		names := []string{""}
		for _, pattern := range []string{"values-*.yaml", "ci/*.yaml"} {
			found, err := filepath.Glob(filepath.Join(base, pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range found {
				name, _ := filepath.Rel(base, f)
				names = append(names, name)
			}
		}
		if row.Dir == "charts/argo-cd" {
			names = names[:4] // 1.4 MB of CRDs each, the same in all of them
		}
		for _, name := range names {
			o := render.HelmOptions{ReleaseName: "shop", Namespace: "front", IsUpgrade: len(name)%2 == 1,
				APIVersions: []string{"monitoring.coreos.com/v1", "gateway.networking.k8s.io/v1"}}
			values := map[string]any{}
			if name != "" {
				o.ValuesFiles = []string{name}
				text, err := os.ReadFile(filepath.Join(base, name))
				if err != nil {
					t.Fatal(err)
				}
				if values, err = loader.LoadValues(bytes.NewReader(text)); err != nil {
					t.Fatal(err)
				}
			}
			t.Run(row.Dir+"/"+name, func(t *testing.T) {
				total++
				src := render.Alone{FS: os.DirFS(filepath.Join(root, row.Tree))}
				got, err := Build(src, src.FS, row.Dir, o, render.Cluster{})
				c, errHelm := loader.Load(base)
				if errHelm != nil {
					t.Fatal(errHelm)
				}
				lacking := missingDependency(c)
				rel, errHelm := dryRun(c, o, values)
				var needs *render.NeedsError
				if errors.As(err, &needs) && lacking != nil {
					t.Logf("both refuse: %v; Helm: %v", err, lacking)
					return
				}
				if err != nil || errHelm != nil {
					if errors.Is(err, render.ErrUnstable) {
						t.Log("here: ", err)
						return
					}
					if err == nil || errHelm == nil {
						t.Fatalf("here: %v\nHelm: %v", err, errHelm)
					}
					t.Logf("both refuse: %v; Helm: %v", err, errHelm)
					return
				}
				same(t, rel, got)
				done++
			})
		}
	}
	t.Logf("%d of %d renderings are the same, object by object", done, total)
}

// processor is the processor time that the process has used: other work on the
// machine does not count.
func processor(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func BenchmarkBuild(b *testing.B) {
	root := corpus.Dir(b)
	for _, at := range []string{"manifests/microservices-demo helm-chart", "argocd/govuk-helm-charts charts/app-config", "helm/prometheus-community charts/kube-state-metrics"} {
		tree, dir, _ := strings.Cut(at, " ")
		o := render.HelmOptions{ReleaseName: "rel", Namespace: "ns"}
		b.Run(filepath.Base(dir)+"/here", func(b *testing.B) {
			src := render.Alone{FS: os.DirFS(filepath.Join(root, tree))}
			start := processor(b)
			for b.Loop() {
				if _, err := Build(src, src.FS, dir, o, render.Cluster{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(processor(b)-start)/float64(b.N), "cpu-ns/op")
		})
		b.Run(filepath.Base(dir)+"/helm", func(b *testing.B) {
			start := processor(b)
			for b.Loop() {
				c, err := loader.Load(filepath.Join(root, tree, dir))
				if err != nil {
					b.Fatal(err)
				}
				rel, err := dryRun(c, o, map[string]any{})
				if err != nil {
					b.Fatal(err)
				}
				lines(b, rel)
			}
			b.ReportMetric(float64(processor(b)-start)/float64(b.N), "cpu-ns/op")
		})
	}
}
