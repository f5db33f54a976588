// Package jsonnet answers: what does jsonnet make of this file?
//
// The evaluation is go-jsonnet's. It reads the trusted tree and nothing else,
// knows no native functions, and gives the objects as Argo CD takes them from
// the result.
package jsonnet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/google/go-jsonnet"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// maxStack is go-jsonnet's own default: frames of calls that are not tail
// calls. Time and memory have no bound in the library; whoever calls has one.
const maxStack = 500

// maxOutput is the most text that a file may evaluate to.
const maxOutput = 32 << 20

// Build gives the objects of one file. Their Path is the file: jsonnet keeps no
// line for what it computes.
func Build(src render.Sources, file string, o render.JsonnetOptions) ([]render.Object, error) {
	documents, err := Documents(src, file, o)
	if err != nil {
		return nil, err
	}
	var objects []render.Object
	for _, text := range documents {
		found, problems := render.Read(text, render.Limits{})
		if len(problems) > 0 {
			return nil, fmt.Errorf("evaluating %s: the result %s", gitindex.Clean(file, 200), problems[0].Message)
		}
		if len(found) == 0 && !emptyList(text) {
			return nil, fmt.Errorf("evaluating %s: the result is no object of Kubernetes: it has no apiVersion or no kind", gitindex.Clean(file, 200))
		}
		for i := range found {
			found[i].Path, found[i].Line, found[i].End = file, 0, 0
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

// emptyList reports whether the text is a List without items, which stands for
// no object and is no mistake.
func emptyList(text []byte) bool {
	var list struct {
		Kind  string
		Items *[]json.RawMessage
	}
	return json.Unmarshal(text, &list) == nil && strings.HasSuffix(list.Kind, "List") && (list.Items == nil || len(*list.Items) == 0)
}

// Documents gives the JSON objects that one file evaluates to. As for Argo CD
// (reposerver/repository/repository.go, findManifests) the file is one object,
// or an array of objects in which null stands for none; an array in the array
// is an error.
func Documents(src render.Sources, file string, o render.JsonnetOptions) ([]json.RawMessage, error) {
	result, err := evaluate(src, file, o)
	if err == nil && len(result) > maxOutput {
		err = fmt.Errorf("the result is larger than %d MiB", maxOutput>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("evaluating %s: %w", gitindex.Clean(file, 200), err)
	}
	documents, err := split([]byte(result))
	if err != nil {
		return nil, fmt.Errorf("evaluating %s: %w", gitindex.Clean(file, 200), err)
	}
	return documents, nil
}

func split(result []byte) ([]json.RawMessage, error) {
	switch kind(result) {
	case '{':
		return []json.RawMessage{result}, nil
	case 'n':
		return nil, nil
	case '[':
	default:
		return nil, errors.New("the result is neither an object nor an array of objects")
	}
	var items []json.RawMessage
	if err := json.Unmarshal(result, &items); err != nil {
		return nil, fmt.Errorf("the result is no JSON: %w", err)
	}
	var documents []json.RawMessage
	for i, item := range items {
		switch kind(item) {
		case '{':
			documents = append(documents, item)
		case 'n':
		default:
			return nil, fmt.Errorf("item %d of the result is no object", i)
		}
	}
	return documents, nil
}

// kind is what a JSON text begins with: { for an object, n for null.
func kind(text []byte) byte {
	if text = bytes.TrimSpace(text); len(text) > 0 {
		return text[0]
	}
	return 0
}

func evaluate(src render.Sources, file string, o render.JsonnetOptions) (string, error) {
	if cleaned := path.Clean(file); cleaned != file || outside(file) {
		return "", errors.New("its path leads out of the tree")
	}
	libraries, err := libraries(o.Libraries)
	if err != nil {
		return "", err
	}
	vm := jsonnet.MakeVM()
	vm.MaxStack = maxStack
	vm.SetTraceOut(io.Discard)
	vm.Importer(&importer{tree: src.Tree(), libraries: libraries, read: map[string]*jsonnet.Contents{}})
	set(o.ExtVars, vm.ExtVar, vm.ExtCode)
	set(o.TLAs, vm.TLAVar, vm.TLACode)
	result, err := vm.EvaluateFile(file)
	if err != nil {
		return "", plain(err)
	}
	return result, nil
}

func set(vars []render.JsonnetVar, text, code func(name, value string)) {
	for _, v := range vars {
		if v.Code {
			code(v.Name, v.Value)
		} else {
			text(v.Name, v.Value)
		}
	}
}

// plain is the first lines of go-jsonnet's error: what went wrong and where.
// The stack below them may be long.
func plain(err error) error {
	lines := strings.SplitN(err.Error(), "\n", 3)
	if len(lines) > 2 {
		lines = lines[:2]
	}
	return errors.New(gitindex.Clean(strings.Join(strings.Fields(strings.Join(lines, " ")), " "), 400))
}
