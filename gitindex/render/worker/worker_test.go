package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// The test binary is its own child.
const asChild = "gitward-test-renderer"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == asChild {
		memory, err := strconv.Atoi(os.Args[2])
		if err == nil {
			for tool, build := range deeds {
				tools[tool] = build
			}
			err = Serve(os.Stdin, os.Stdout, memory)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func pool(t *testing.T) *Pool {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &Pool{Command: []string{exe, asChild}}
	t.Cleanup(p.Close)
	return p
}

// deeds are what a hostile unit would have its renderer do. Each must fail in
// the child, and each works in a process that is not locked in.
var deeds = map[render.Tool]builder{
	"exec": func(render.Sources, render.Unit) (render.Output, error) {
		return render.Output{}, exec.Command("/bin/true").Run()
	},
	"dial": func(_ render.Sources, u render.Unit) (render.Output, error) {
		c, err := net.Dial("tcp", u.Path)
		if err == nil {
			c.Close()
		}
		return render.Output{}, err
	},
	"read": func(render.Sources, render.Unit) (render.Output, error) {
		_, err := os.ReadFile("/etc/passwd")
		return render.Output{}, err
	},
	"write": func(_ render.Sources, u render.Unit) (render.Output, error) {
		return render.Output{}, os.WriteFile(u.Path, []byte("here"), 0o600)
	},
	"environment": func(render.Sources, render.Unit) (render.Output, error) {
		if len(os.Environ()) > 0 {
			return render.Output{}, nil
		}
		return render.Output{}, errors.New("there is no environment")
	},
	"memory": func(render.Sources, render.Unit) (render.Output, error) {
		var hold [][]byte
		for range 40 {
			hold = append(hold, bytes.Repeat([]byte{1}, 64<<20))
		}
		return render.Output{}, fmt.Errorf("%d", len(hold)) // not reached in a child
	},
	"recursion": func(render.Sources, render.Unit) (render.Output, error) {
		var down func(int) int
		down = func(n int) int { return down(n+1) + 1 }
		return render.Output{}, fmt.Errorf("%d", down(0))
	},
	"flood": func(render.Sources, render.Unit) (render.Output, error) {
		return render.Output{Objects: []render.Object{{JSON: make([]byte, mostSaid)}}}, nil
	},
	"sleep": func(render.Sources, render.Unit) (render.Output, error) {
		time.Sleep(time.Hour)
		return render.Output{}, nil
	},
	"panic":     func(render.Sources, render.Unit) (render.Output, error) { panic("a library gives up") },
	"questions": askQuestions,
	"echo": func(src render.Sources, u render.Unit) (render.Output, error) {
		data, err := fs.ReadFile(src.Tree(), u.Path)
		return render.Output{Objects: []render.Object{{JSON: data}}}, err
	},
}

func TestLockedIn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := t.TempDir() + "/written"
	t.Setenv("GITWARD_TEST", "set")
	p := pool(t)
	for _, d := range []struct {
		tool render.Tool
		path string
	}{{"exec", ""}, {"dial", l.Addr().String()}, {"read", ""}, {"write", file}, {"environment", ""}} {
		u := render.Unit{Tool: d.tool, Path: d.path}
		if _, err := deeds[d.tool](render.Alone{}, u); err != nil {
			t.Errorf("%s: fails outside too, so the test shows nothing: %v", d.tool, err)
		}
		os.Remove(file)
		if _, err := p.Render(render.Alone{FS: fstest.MapFS{}}, u); err == nil {
			t.Errorf("%s: succeeded in the child", d.tool)
		}
		if _, err := os.Stat(file); err == nil {
			t.Errorf("%s: the child wrote a file", d.tool)
		}
	}
}

func TestDeathHurtsNobody(t *testing.T) {
	p := pool(t)
	p.Memory = 1 << 30
	tree := render.Alone{FS: fstest.MapFS{"a": {Data: []byte("1")}}}
	for tool, want := range map[render.Tool]string{"memory": "more memory", "recursion": "nests without end", "sleep": "took longer", "panic": "broke down", "flood": "more than 256 MiB"} {
		if p.Timeout = time.Minute; tool == "sleep" {
			p.Timeout = time.Second
		}
		if _, err := p.Render(tree, render.Unit{Tool: tool}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", tool, err, want)
		}
		p.Timeout = time.Minute
		if out, err := p.Render(tree, render.Unit{Tool: "echo", Path: "a"}); err != nil || string(out.Objects[0].JSON) != "1" {
			t.Errorf("after %s the next unit is not rendered: %v", tool, err)
		}
	}
}

// TestSameAsLocal renders units in a child and in place.
func TestSameAsLocal(t *testing.T) {
	src := render.Alone{FS: fstest.MapFS{
		"k/kustomization.yaml":   {Data: []byte("namePrefix: x-\nresources: [a.yaml]\nconfigMapGenerator: [{name: g, files: [data.txt]}]\n")},
		"k/a.yaml":               {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n")},
		"k/data.txt":             {Data: []byte("hello")},
		"c/Chart.yaml":           {Data: []byte("apiVersion: v2\nname: c\nversion: 1.0.0\n")},
		"c/templates/cm.yaml":    {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {v: {{ .Values.v | quote }}}\n")},
		"c/values.yaml":          {Data: []byte("v: one\n")},
		"j/main.jsonnet":         {Data: []byte("local l = import 'lib.libsonnet'; l.cm(std.extVar('name'))")},
		"j/lib.libsonnet":        {Data: []byte("{cm(n): {apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: n}}}")},
		"broken/Chart.yaml":      {Data: []byte("apiVersion: v2\nname: [\n")},
		"far/kustomization.yaml": {Data: []byte("resources: ['https://example.com/x.yaml']\n")},
	}}
	p := pool(t)
	for _, u := range []render.Unit{
		{Tool: render.Kustomize, Path: "k"},
		{Tool: render.Helm, Path: "c", Namespace: "shop", Helm: &render.HelmOptions{ReleaseName: "r", Values: json.RawMessage(`{"v":"two"}`)}},
		{Tool: render.Jsonnet, Path: "j", Jsonnet: &render.JsonnetOptions{ExtVars: []render.JsonnetVar{{Name: "name", Value: "n"}}}},
		{Tool: render.Helm, Path: "broken"}, {Tool: render.Kustomize, Path: "far"}, {Tool: render.Kustomize, Path: "nowhere"}, {Tool: "Magic"},
	} {
		want, wantErr := Local{}.Render(src, u)
		got, gotErr := p.Render(src, u)
		if fmt.Sprint(wantErr) != fmt.Sprint(gotErr) {
			t.Errorf("%s %s: in the child %v, here %v", u.Tool, u.Path, gotErr, wantErr)
		}
		if !reflect.DeepEqual(fmt.Sprint(got.Objects), fmt.Sprint(want.Objects)) {
			t.Errorf("%s %s:\nin the child %v\nhere %v", u.Tool, u.Path, got.Objects, want.Objects)
		}
		var a, b *render.NeedsError
		if errors.As(wantErr, &a) != errors.As(gotErr, &b) {
			t.Errorf("%s %s: what it needs got lost: %v", u.Tool, u.Path, gotErr)
		}
		if wantErr == nil && len(got.Objects) == 0 {
			t.Errorf("%s %s: renders to nothing", u.Tool, u.Path)
		}
	}
}

// TestQuestions asks the parent for everything that is not a file of the tree.
func TestQuestions(t *testing.T) {
	ref := gitindex.Ref{Kind: "ConfigMap", Namespace: "a", Name: "b"}
	src := elsewhere{render.Alone{FS: fstest.MapFS{}, Objects: map[gitindex.Ref]json.RawMessage{ref: json.RawMessage(`{"x":1}`)}}}
	out, err := pool(t).Render(src, render.Unit{Tool: "questions"})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(out.Objects[0].JSON); got != `sha256:1 chart {"x":1}` {
		t.Errorf("the child was told %s", got)
	}
	if _, err := pool(t).Render(src, render.Unit{Tool: "echo", Path: "none"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

type elsewhere struct{ render.Alone }

func (elsewhere) Chart(ref render.ChartRef) (fs.FS, render.Pin, error) {
	return fstest.MapFS{"f": {Data: []byte(ref.Name)}}, render.Pin{Digest: "sha256:1"}, nil
}

func askQuestions(src render.Sources, _ render.Unit) (render.Output, error) {
	files, pin, err := src.Chart(render.ChartRef{Name: "chart"})
	if err != nil {
		return render.Output{}, err
	}
	data, err := fs.ReadFile(files, "f")
	if err != nil {
		return render.Output{}, err
	}
	object, err := src.Declared(gitindex.Ref{Kind: "ConfigMap", Namespace: "a", Name: "b"})
	return render.Output{Objects: []render.Object{{JSON: fmt.Appendf(nil, "%s %s %s", pin.Digest, data, object)}}}, err
}
