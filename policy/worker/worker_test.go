package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitward/gitward/policy"
)

const asChild = "answer-as-child"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == asChild {
		memory, err := strconv.Atoi(os.Args[2])
		if err == nil {
			err = Serve(os.Stdin, os.Stdout, os.NewFile(3, "mark"), memory)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func config(t testing.TB) Config {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Config{Command: []string{exe, asChild}, Budget: 100 * time.Millisecond, Memory: 256 << 20}
}

func panel(t testing.TB, c Config, bundles ...Bundle) *Panel {
	t.Helper()
	p, err := Start(c, bundles)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	for _, l := range p.Loaded {
		if len(l.Problems) > 0 {
			t.Fatalf("%s: %v", l.Name, l.Problems)
		}
	}
	return p
}

func module(name, text string) Bundle {
	return Bundle{Name: name, Files: policy.Files{name + ".rego": []byte(text)}}
}

// request is an input about a ConfigMap.
func request(t testing.TB, object string) []byte {
	in := policy.Input{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview", Request: policy.Request{UID: "1", Operation: "CREATE",
		Kind: policy.Kinds{Version: "v1", Kind: "ConfigMap"}, Object: json.RawMessage(object)}}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

const honest = `package honest

deny contains msg if {
	input.request.object.data.bad
	msg := "bad is not good"
}`

func TestAsk(t *testing.T) {
	p := panel(t, config(t), module("honest", honest), module("other", strings.ReplaceAll(honest, "honest", "other")))
	for object, want := range map[string]int{`{"data":{"bad":"1"}}`: 2, `{"data":{}}`: 0, `{}`: 0} {
		found, err := p.Ask(context.Background(), Question{Bundles: []int{0, 1}, Point: policy.Admission, Input: request(t, object)})
		if err != nil || len(found) != want {
			t.Errorf("%s: %v, %v", object, found, err)
		}
		for _, f := range found {
			if f.Message != "bad is not good" || f.Line != 3 || f.Action != policy.Deny || f.Kind != policy.Violation {
				t.Errorf("%+v", f)
			}
		}
	}
	if found, err := p.Ask(context.Background(), Question{Bundles: []int{1}, Input: request(t, `{"data":{"bad":"1"}}`), Point: policy.Admission}); err != nil || len(found) != 1 || found[0].Policy != "other" {
		t.Errorf("the second alone: %v, %v", found, err)
	}
	if _, err := p.Ask(context.Background(), Question{Bundles: []int{2}, Input: request(t, "{}")}); err == nil {
		t.Error("a bundle that is not there is no error")
	}
	if _, err := p.Ask(context.Background(), Question{Bundles: []int{0}, Input: []byte("{")}); err == nil {
		t.Error("an input that is no JSON is no error")
	}
}

func BenchmarkAsk(b *testing.B) {
	p := panel(b, config(b), module("honest", honest))
	in := request(b, `{"data":{"good":"1"}}`)
	for b.Loop() {
		if _, err := p.Ask(context.Background(), Question{Bundles: []int{0}, Point: policy.Admission, Input: in}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAnswersStayTheirs: many ask at once, and each has the answer to its own
// question, whatever the others are told.
func TestAnswersStayTheirs(t *testing.T) {
	p := panel(t, config(t), module("honest", honest))
	bad, good := request(t, `{"data":{"bad":"1"}}`), request(t, `{"data":{}}`)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			in, want := bad, 1
			if i%2 == 0 {
				in, want = good, 0
			}
			for range 600 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				if i%4 == 3 { // who leaves early is not to take others along
					cancel()
				}
				found, err := p.Ask(ctx, Question{Bundles: []int{0}, Point: policy.Admission, Input: in})
				cancel()
				if i%4 != 3 && (err != nil || len(found) != want) {
					t.Errorf("%d findings, want %d; %v", len(found), want, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// slow is policies that only warn, take much of their budget and find nothing:
// together they use up their directory's.
func slow(n int) policy.Files {
	out := policy.Files{}
	for i := range n {
		out[fmt.Sprintf("a%02d.rego", i)] = []byte(fmt.Sprintf("# METADATA\n# custom: {gitward: {action: warn}}\npackage a%02d\n\ndeny contains \"x\" if {\n\tsome a in numbers.range(1, 3000)\n\tsome b in numbers.range(1, 30)\n\ta + b + count(input.request.object) == 0\n}\n", i))
	}
	return out
}

// TestUnaskedRefuse: what is not asked, because its directory has used up its
// time or did not compile, has not agreed. Nor has what is not told for want of
// room.
func TestUnaskedRefuse(t *testing.T) {
	const warner = "package b_warns\n\nwarn contains \"it warns\" if input.request.object.data.bad\n"
	denier := strings.ReplaceAll(honest, "package honest", "package c_denies")
	ask := func(t *testing.T, c Config, b Bundle, object string) ([]Found, error) {
		p, err := Start(c, []Bundle{b})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		return p.Ask(context.Background(), Question{Bundles: []int{0}, Point: policy.Admission, Input: request(t, object)})
	}
	denied := func(found []Found) bool {
		return slices.ContainsFunc(found, func(f Found) bool { return f.Action == policy.Deny })
	}
	t.Run("out of time, at one that warns", func(t *testing.T) {
		files := slow(40)
		files["b.rego"], files["c.rego"] = []byte(warner), []byte(denier)
		c := config(t)
		c.Budget = 20 * time.Millisecond
		found, err := ask(t, c, Bundle{Name: "b", Files: files}, `{"data":{"bad":"1"}}`)
		if err != nil || !denied(found) {
			t.Errorf("%v, %v", found, err)
		}
	})
	t.Run("does not compile", func(t *testing.T) {
		found, err := ask(t, config(t), module("broken", "package broken\n\ndeny contains http.send({})\n"), `{"data":{"bad":"1"}}`)
		if err == nil {
			t.Errorf("found %v, and no error", found)
		}
	})
	t.Run("many warnings", func(t *testing.T) {
		found, err := ask(t, config(t), module("many", "package many\n\nwarn contains sprintf(\"%d\", [i]) if some i in numbers.range(1, 200)\n\ndeny contains \"no\" if input.request.object.data.bad\n"), `{"data":{"bad":"1"}}`)
		if err != nil || !denied(found) {
			t.Errorf("%d findings, none of them denies; %v", len(found), err)
		}
	})
}
