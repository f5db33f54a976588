package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/gitward/gitward/audit"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/test/gitserver"
	"github.com/gitward/gitward/webhook"
)

// door is the handler before a cluster, with what it logs and records.
type door struct {
	t            *testing.T
	handler      *webhook.Handler
	log, records bytes.Buffer
}

func (c *cluster) door() *door {
	c.t.Helper()
	d := &door{t: c.t}
	lines, err := audit.NewLines(&d.records, "r", "c")
	if err != nil {
		c.t.Fatal(err)
	}
	g := c.gate()
	g.Recorder = lines
	d.handler = &webhook.Handler{Gate: g, Log: slog.New(slog.NewTextHandler(&d.log, nil)), Budget: webhook.NewBudget(128 << 20)}
	return d
}

// post sends a body as it is, of unknown length if chunked.
func (d *door) post(path, body string, chunked bool) *admissionv1.AdmissionResponse {
	d.t.Helper()
	var r io.Reader = strings.NewReader(body)
	if chunked {
		r = io.MultiReader(r)
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, r))
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &review); err != nil || review.Response == nil {
		d.t.Fatalf("%d %s: %v", w.Code, w.Body.String(), err)
	}
	return review.Response
}

// envelope is a CREATE of the ConfigMap, with more fields before and after the
// object.
func envelope(before, object, after string) string {
	return `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u-1","kind":{"group":"","version":"v1","kind":"ConfigMap"},` +
		`"resource":{"group":"","version":"v1","resource":"configmaps"},"name":"web","namespace":"shop","operation":"CREATE","userInfo":{"username":"eve"},` +
		before + `"object":` + object + after + `}}`
}

// TestReviewsWrittenOddly: the objects are cut out before encoding/json sees the
// rest. However a review is written, what is decided about is what encoding/json
// would find in it.
func TestReviewsWrittenOddly(t *testing.T) {
	d := git(t, cm("1")).door()
	good, evil := string(toJSON(t, cm("1"))), string(toJSON(t, cm("evil")))
	if r := d.post("/validate", envelope("", good, ""), false); !r.Allowed {
		t.Fatal(r.Result.Message)
	}
	for name, body := range map[string]string{
		"the last of two":            envelope(`"object":`+good+`,`, evil, ""),
		"in another case":            envelope(`"object":`+good+`,`, `null`, `,"OBJECT":`+evil),
		"with a letter that folds":   envelope(`"object":`+good+`,`, `null`, `,"obje\u0063t":`+evil),
		"escaped":                    envelope("", good, `,"\u006fbject":`+evil),
		"a request twice":            strings.TrimSuffix(envelope("", good, ""), "}") + `,"request":{"object":` + evil + `}}`,
		"a REQUEST twice":            strings.TrimSuffix(envelope("", good, ""), "}") + `,"REQUEST":{"object":` + evil + `}}`,
		"a requeſt twice":            strings.TrimSuffix(envelope("", good, ""), "}") + `,"requeſt":{"object":` + evil + `}}`,
		"an object in user info":     envelope(`"userInfo":{"extra":{"object":["x"]},"object":`+good+`},`, evil, ""),
		"a string full of brackets":  envelope(`"userInfo":{"username":"\"},\"object\":`+strings.ReplaceAll(good, `"`, `\"`)+`"},`, evil, ""),
		"half an object":             envelope("", strings.TrimSuffix(good, "}"), ""),
		"brackets that do not match": envelope("", strings.Replace(good, "{", "[", 2), ""),
		"a list":                     envelope("", "["+good+"]", ""),
		"two documents":              envelope("", good, "") + envelope("", evil, ""),
		"more behind it":             envelope("", good, "") + "x",
		"no operation":               strings.Replace(envelope("", good, ""), `"CREATE"`, `""`, 1),
		"an unknown operation":       strings.Replace(envelope("", good, ""), `"CREATE"`, `"CREATE "`, 1),
		"another version":            strings.Replace(envelope("", good, ""), "admission.k8s.io/v1", "admission.k8s.io/v1beta1", 1),
		"no uid":                     strings.Replace(envelope("", good, ""), "u-1", "", 1),
		"nested deep":                envelope("", `{"a":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+"}", ""),
		"nested deep beside it":      envelope(`"options":{"a":`+strings.Repeat(`{"a":`, 50_000)+"1"+strings.Repeat("}", 50_000)+"},", evil, ""),
		"nothing":                    "",
		"null":                       "null",
	} {
		for _, chunked := range []bool{false, true} {
			if r := d.post("/validate", body, chunked); r.Allowed {
				t.Errorf("%s: admitted", name)
			}
		}
		if r := d.post("/mutate", body, false); r.Patch != nil && strings.Contains(body, "evil") {
			t.Errorf("%s: stamped: %s", name, r.Patch)
		}
	}
	if strings.Contains(d.log.String(), "panic") {
		t.Errorf("something panics: %s", d.log.String())
	}
}

// A panic refuses, with the review's uid, and tells nothing of the object.
func TestPanicRefuses(t *testing.T) {
	d := git(t, cm("1")).door()
	d.handler.Gate.View = func() *gate.View { panic("no view") }
	r := d.post("/validate", envelope("", string(toJSON(t, cm("1"))), ""), false)
	if r.Allowed || r.UID != "u-1" || strings.Contains(r.Result.Message, "no view") {
		t.Errorf("%+v", r)
	}
}

// Names and values of others come out as one line without control characters,
// in messages, warnings, records and the log.
func TestTextOfOthersIsTame(t *testing.T) {
	const wild = "x\n2026 level=INFO msg=fake\r\x1b[31mred\u202eevil\u200b"
	c := git(t, cm("1"))
	d := c.door()
	quoted, _ := json.Marshal(wild)
	for _, body := range []string{
		strings.Replace(envelope("", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":`+string(quoted)+`}}`, ""), `"name":"web"`, `"name":`+string(quoted), 1),
		envelope("", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web","namespace":"shop"},"data":{`+string(quoted)+`:`+string(quoted)+`}}`, ""),
		strings.Replace(envelope("", "{}", ""), `"kind":"ConfigMap"`, `"kind":`+string(quoted), 1),
		strings.Replace(envelope("", "{}", ""), `"CREATE"`, string(quoted), 1),
		strings.Replace(envelope("", "{}", ""), `"eve"`, string(quoted), 1),
		envelope("", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web","namespace":"shop","annotations":{`+strings.Replace(string(quoted), `"x`, `"gitward.dev/x`, 1)+`:"y"}},"data":{"value":"1"}}`, ""),
	} {
		r := d.post("/validate", body, false)
		if r.Allowed {
			t.Error("admitted")
			continue
		}
		if strings.Contains(body, `"operation":"x`) {
			continue // the API server writes the operation, nobody else
		}
		for _, bad := range []string{"\x1b", "\r", "\u202e", "\u200b", "\n2026"} {
			if strings.Contains(r.Result.Message, bad) {
				t.Errorf("%q in the message %q", bad, r.Result.Message)
			}
		}
	}
	for _, line := range strings.Split(strings.TrimSuffix(d.records.String(), "\n"), "\n") {
		if !json.Valid([]byte(line)) {
			t.Errorf("a record is no line of JSON: %s", line)
		}
	}
	for _, line := range strings.Split(d.log.String(), "\n") {
		if strings.HasPrefix(line, "2026 ") || strings.Contains(line, "\x1b") {
			t.Errorf("a forged line in the log: %q", line)
		}
	}
}

const canary = "Zm9vYmFyY2FuYXJ5MTIz"

// No value of a Secret, nor of what commonly holds one, is told by anything.
func TestSecretsStaySecret(t *testing.T) {
	secret := func(more string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: web, namespace: shop}\n" + more
	}
	for name, pair := range map[string][2]string{
		"data":        {secret("data: {a: " + canary + "}"), secret("data: {a: eHg=}")},
		"stringData":  {secret("stringData: {a: " + canary + "}"), secret("data: {a: eHg=}")},
		"mine":        {secret("data: {a: eHg=}"), secret("data: {a: " + canary + "}")},
		"a new key":   {secret("data: {a: eHg=}"), secret("data: {a: eHg=, b: " + canary + "}")},
		"all of data": {secret("type: Opaque"), secret("data: {b: " + canary + "}")},
		"annotations": {secret("type: Opaque"), strings.Replace(secret("type: Opaque"), "shop}", `shop, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"data":{"a":"`+canary+`"}}'}}`, 1)},
		"a variable":  {strings.Replace(deployment, `value: "1"`, "value: "+canary, 1), deployment},
		"a container": {deployment, deployment + "      - {name: more, image: x, env: [{name: P, value: " + canary + "}]}\n"},
		"all of env":  {strings.Replace(deployment, `env: [{name: A, value: "1"}, {name: B, value: $(A)}]`, "", 1), strings.Replace(deployment, `value: "1"`, "value: "+canary, 1)},
		"a named key": {foo("{n: 1}"), foo("{auth: {clientSecret: " + canary + "}}")},
		"below a map": {foo("{n: 1}"), foo("{n: 1, auth: {x: {password: " + canary + "}}}")},
	} {
		c := git(t, pair[0], foos)
		d := c.door()
		for _, old := range []string{"", c.served(pair[0])} {
			object := string(toJSON(t, c.served(pair[1])))
			req := about(t, &gate.Request{}, []byte(object))
			body := fmt.Sprintf(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"group":%q,"version":%q,"kind":%q},"name":"web","namespace":"shop",`+
				`"operation":"CREATE","object":%s}}`, req.Group, req.Version, req.Kind, object)
			if old != "" {
				body = strings.Replace(strings.Replace(body, `"CREATE"`, `"UPDATE"`, 1), `"object":`, `"oldObject":`+string(toJSON(t, old))+`,"object":`, 1)
			}
			r := d.post("/validate", body, false)
			if r.Allowed {
				t.Errorf("%s: admitted", name)
				continue
			}
			answer, _ := json.Marshal(r)
			for where, text := range map[string]string{"answer": string(answer), "log": d.log.String(), "record": d.records.String()} {
				if strings.Contains(text, canary) || strings.Contains(text, "foobarcanary123") {
					t.Errorf("%s: the %s tells it: %s", name, where, text)
				}
			}
		}
	}
}

// A Secret in Git that is broken is a problem that names its place, not its
// content. Open: a password that begins with * and stands without quotes is an
// alias to YAML, and told as an unknown anchor.
func TestBrokenSecretsStaySecret(t *testing.T) {
	files := map[string]string{}
	for i, text := range []string{
		"data: {a: 12345678901}", "data: {a: 'not base64 12345678901'}", "data: [12345678901]", "stringData: {a: 12345678901}", "stringData: {a: [12345678901]}",
		"stringData: {a: \"12345678901\n", "stringData: {a: \"\\q12345678901\"}", "stringData: {a: b}: 12345678901", "stringData:\n\ta: 12345678901", "stringData: *12345678901",
		"stringData: {a: !!int x12345678901}", "stringData: {a: !!float x12345678901}", "immutable: '12345678901'", "stringData: {a: &x '12345678901', a: *x}",
	} {
		file := "apiVersion: v1\nkind: Secret\nmetadata: {name: web, namespace: shop}\n" + text + "\n"
		_, problems := render.File("s.yaml", []byte(file), render.Limits{})
		if told := fmt.Sprint(problems); strings.Contains(told, "12345678901") && !strings.Contains(text, "*1234") {
			t.Errorf("%q: %s", text, told)
		}
		files[fmt.Sprintf("s%d.yaml", i)] = file
	}
	f := newForge(t)
	f.commit(gitserver.CommitOptions{Files: files, Signer: f.ada})
	problems := f.sync().Problems
	if told := strings.ReplaceAll(fmt.Sprint(problems), "unknown anchor '12345678901'", ""); len(problems) < 8 || strings.Contains(told, "12345678901") {
		t.Errorf("%s", told)
	}
}

// Stamps that Gitward did not write are refused in whatever spelling it reads,
// and a stamp never excuses content.
func TestForgedStamps(t *testing.T) {
	c := git(t, cm("1"))
	with := func(value, stamps string) string {
		return strings.Replace(cm(value), "namespace: shop}", "namespace: shop, annotations: {"+stamps+"}}", 1)
	}
	real := c.gate().Annotate(t.Context(), write(t, "", cm("1")))
	if len(real) != 5 {
		t.Fatalf("%v", real)
	}
	var all []string
	for k, v := range real {
		all = append(all, fmt.Sprintf("%s: %q", k, v))
	}
	stamped := strings.Join(all, ", ")
	admitted(t, c.decide(write(t, "", with("1", stamped))))
	refused(t, c.decide(write(t, "", with("evil", stamped))), gate.Differs)
	for _, s := range []string{"gitward.dev/commit: evil", "gitward.dev/commit: ''", "gitward.dev/approved: 'yes'", "gitward.dev/author: Boss", "gitward.dev/commit: null"} {
		refused(t, c.decide(write(t, "", with("1", s))), gate.ForgedStamp)
		refused(t, c.decide(write(t, cm("1"), with("1", s))), gate.ForgedStamp)
		if next := c.gate().Annotate(t.Context(), write(t, "", with("1", s))); next != nil && !strings.Contains(s, "approved") {
			for k := range real {
				if strings.HasPrefix(s, k+":") && next[k] == real[k] {
					t.Errorf("%s: the annotator repairs a forged stamp, so that nobody hears of it", s)
				}
			}
		}
	}
	for _, s := range []string{"GITWARD.dev/commit: evil", "x.gitward.dev/commit: evil", "gitward.dev.evil/commit: evil", "gitward.devx/commit: evil"} {
		refused(t, c.decide(write(t, "", with("1", s))), gate.Differs)
	}
	// An old stamp does not ride along when the object changes.
	refused(t, c.decide(write(t, with("0", "gitward.dev/commit: old"), with("1", "gitward.dev/commit: old"))), gate.StaleStamp)
	// Labels are no annotations: there the name is content like any other.
	refused(t, c.decide(write(t, "", strings.Replace(cm("1"), "namespace: shop}", "namespace: shop, labels: {gitward.dev/commit: evil}}", 1))), gate.Differs)
	// Nor can the status subresource write or take one.
	for _, pair := range [][2]string{{cm("1"), with("1", "gitward.dev/commit: evil")}, {with("1", stamped), cm("1")}, {cm("1"), with("1", "other: evil")},
		{with("1", stamped), with("1", "gitward.dev/commit: evil")}} {
		r := write(t, pair[0], pair[1])
		r.SubResource = "status"
		if d := c.decide(r); d.Allowed {
			t.Errorf("through status: %s", pair[1])
		}
	}
}

// An Origin that is being asked again and again, and answers slowly, makes
// nothing pass.
func TestRefresherThatFails(t *testing.T) {
	c := git(t, cm("1"))
	g := c.gate()
	g.Refresher = failing{}
	d := g.Decide(t.Context(), write(t, "", cm("2")))
	refused(t, d, gate.OriginNotReady)
	if !d.Refusal.Kind.Transient() {
		t.Error("not transient")
	}
}

type failing struct{}

func (failing) Refresh(context.Context, []string) error { return errors.New("no way\n\x1b[31m") }
