package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/policy"
)

// policyRequest is one request that policies are asked about.
type policyRequest struct {
	at   location // where it was read
	text []byte   // JSON of a policy.Input
	in   policy.Input
}

// object is what the request is about.
func (r *policyRequest) object() objectName {
	q := &r.in.Request
	return objectName{Group: q.Kind.Group, Version: q.Kind.Version, Kind: q.Kind.Kind, Namespace: q.Namespace, Name: q.Name}
}

// name is the object for people.
func (o objectName) String() string {
	return gitindex.Clean(gitindex.Ref{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}.String(), 120)
}

const inputUsage = "FILE, DIR or -: objects, AdmissionReviews, or recorded requests (JSON lines)"

// policyRequests reads what policies are to be asked about. A document that has a
// request is one; any other is an object, and the request is its creation.
func policyRequests(names []string, stdin io.Reader) ([]policyRequest, error) {
	b := inputReader{homes: map[string]*policy.Namespace{}, now: time.Now()}
	for _, name := range names {
		if err := b.readAll(name, stdin); err != nil {
			return nil, fmt.Errorf("reading the input: %w", err)
		}
	}
	for i := range b.objects {
		if err := b.add(&b.objects[i]); err != nil {
			return nil, fmt.Errorf("reading the input: %s: %w", b.objects[i].at, err)
		}
	}
	if len(b.requests) == 0 {
		return nil, fmt.Errorf("reading the input: there is no object and no request in %s", strings.Join(names, ", "))
	}
	return b.requests, nil
}

// inputReader collects requests, and objects until all Namespaces are known.
type inputReader struct {
	requests []policyRequest
	objects  []foundObject
	homes    map[string]*policy.Namespace
	now      time.Time
}

type foundObject struct {
	at   location
	json []byte
	head objectHead
	slot int // its place among the requests
}

type objectHead struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name, GenerateName, Namespace string
		Labels, Annotations           map[string]string
	} `json:"metadata"`
	Request json.RawMessage   `json:"request"`
	Items   []json.RawMessage `json:"items"`
}

func (b *inputReader) readAll(name string, stdin io.Reader) error {
	if name == "-" {
		data, err := io.ReadAll(stdin)
		if err != nil {
			return err
		}
		return b.read("-", data)
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return b.readFile(name)
	}
	return filepath.WalkDir(name, func(file string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || !slices.Contains([]string{".yaml", ".yml", ".json", ".jsonl", ".ndjson"}, filepath.Ext(file)) {
			return err
		}
		return b.readFile(file)
	})
}

func (b *inputReader) readFile(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return b.read(fromHere(name), data)
}

// read reads one file: JSON lines, if its first line is a whole object and there
// are more; documents of YAML or JSON otherwise.
func (b *inputReader) read(name string, data []byte) error {
	lines := bytes.Split(data, []byte("\n"))
	if first := bytes.TrimSpace(lines[0]); bytes.HasPrefix(first, []byte("{")) && json.Valid(first) {
		for i, line := range lines {
			if line = bytes.TrimSpace(line); len(line) == 0 {
				continue
			}
			at := location{file: name, line: i + 1}
			if !json.Valid(line) {
				return fmt.Errorf("%s: this line is no JSON", at)
			}
			if err := b.document(at, line); err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
		}
		return nil
	}
	for _, doc := range render.Documents(data) {
		at := location{file: name, line: doc.Line}
		text, err := yaml.YAMLToJSON(doc.Text)
		if err != nil {
			return fmt.Errorf("%s: %s", at, gitindex.Clean(err.Error(), 200))
		}
		if string(text) == "null" {
			continue
		}
		at.line += contentLine(doc.Text)
		if err := b.document(at, text); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	return nil
}

// contentLine counts the lines of a document before its content.
func contentLine(text []byte) int {
	for i, line := range bytes.Split(text, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return i
		}
	}
	return 0
}

func (b *inputReader) document(at location, text []byte) error {
	var head objectHead
	if err := json.Unmarshal(text, &head); err != nil {
		return fmt.Errorf("this is no object: %s", gitindex.Clean(err.Error(), 200))
	}
	switch {
	case len(head.Request) > 0:
		return b.request(at, text)
	case strings.HasSuffix(head.Kind, "List") && head.Items != nil:
		for _, item := range head.Items {
			if err := b.document(at, item); err != nil {
				return err
			}
		}
		return nil
	case head.Kind == "" || head.APIVersion == "":
		return fmt.Errorf("this is no object and no request: it has no kind, or no apiVersion")
	}
	if head.Kind == "Namespace" && head.APIVersion == "v1" {
		b.homes[head.Metadata.Name] = &policy.Namespace{Name: head.Metadata.Name, Labels: withName(head.Metadata.Labels, head.Metadata.Name), Annotations: head.Metadata.Annotations}
	}
	b.objects = append(b.objects, foundObject{at, text, head, len(b.requests)})
	b.requests = append(b.requests, policyRequest{at: at})
	return nil
}

const nameLabel = "kubernetes.io/metadata.name"

func withName(labels map[string]string, name string) map[string]string {
	out := map[string]string{nameLabel: name}
	for k, v := range labels {
		out[k] = v
	}
	return out
}

// request takes in what was recorded, as it is, or an AdmissionReview.
func (b *inputReader) request(at location, text []byte) error {
	r := policyRequest{at: at, text: text}
	if err := json.Unmarshal(text, &r.in); err != nil {
		return fmt.Errorf("this is no request: %s", gitindex.Clean(err.Error(), 200))
	}
	if r.in.Request.Operation == "" {
		return fmt.Errorf("this is no request: it has no operation")
	}
	if r.in.Time.IsZero() {
		r.in.Time = b.now.UTC().Truncate(time.Second)
		if ns := r.in.Request.Namespace; ns != "" && r.in.Namespace == nil && r.in.Request.Kind.Kind != "Namespace" {
			r.in.Namespace = b.home(ns)
		}
		var err error
		if r.text, err = json.Marshal(r.in); err != nil {
			return err
		}
	}
	b.requests = append(b.requests, r)
	return nil
}

func (b *inputReader) home(name string) *policy.Namespace {
	if ns := b.homes[name]; ns != nil {
		return ns
	}
	return &policy.Namespace{Name: name, Labels: withName(nil, name)}
}

// add makes the request that would create an object.
func (b *inputReader) add(o *foundObject) error {
	r, err := creationOf(o.head, o.json, b.home, b.now)
	if err != nil {
		return err
	}
	r.at = o.at
	b.requests[o.slot] = *r
	return nil
}

// creationOf is the request by which an object comes into being.
func creationOf(head objectHead, object []byte, home func(string) *policy.Namespace, now time.Time) (*policyRequest, error) {
	gv, err := schema.ParseGroupVersion(head.APIVersion)
	if err != nil {
		return nil, err
	}
	m := &head.Metadata
	req := requestTo(gate.Create, gv.WithKind(head.Kind), gitindex.Ref{Group: gv.Group, Kind: head.Kind, Namespace: m.Namespace, Name: m.Name})
	req.Object = object
	req.User.Name = "kubernetes-admin"
	var ns *policy.Namespace
	if m.Namespace != "" {
		ns = home(m.Namespace)
	}
	r := &policyRequest{in: *gate.PolicyInput(req, ns, now.Truncate(time.Second))}
	r.in.Request.DryRun = false
	r.text, err = json.Marshal(r.in)
	return r, err
}
