package render

import (
	"encoding/json"
	"strings"

	"github.com/gitward/gitward/gitindex"
	kjson "sigs.k8s.io/json"
)

// reader turns a document's meaning into objects.
type reader struct {
	limits   Limits
	out      outline
	objects  []Object
	problems []gitindex.Problem
}

// header is what has to be known of an object to place it. The values are raw,
// because people write numbers and booleans where text belongs.
type header struct {
	APIVersion json.RawMessage   `json:"apiVersion"`
	Kind       json.RawMessage   `json:"kind"`
	Metadata   json.RawMessage   `json:"metadata"`
	Items      json.RawMessage   `json:"items"`
	SOPS       json.RawMessage   `json:"sops"`
	apiVersion string            // these three once they are known to be text
	kind       string            //
	items      []json.RawMessage //
}

// metadata likewise.
type metadata struct {
	Name         json.RawMessage `json:"name"`
	Namespace    json.RawMessage `json:"namespace"`
	GenerateName json.RawMessage `json:"generateName"`
	Annotations  json.RawMessage `json:"annotations"`
}

func (r *reader) document(meaning []byte) error {
	where := span{r.out.line, r.out.end}
	h, err := readHeader(meaning, where)
	if err != nil || h == nil {
		return err
	}
	return r.add(meaning, h, where, r.out.items)
}

// readHeader is nil when the JSON is no object of the Kubernetes API. Names
// are matched exactly: encoding/json would take "Kind" for "kind".
func readHeader(raw []byte, where span) (*header, error) {
	h := &header{}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, h); err != nil {
		return nil, nil // a list or a scalar
	}
	if absent(h.APIVersion) || absent(h.Kind) {
		return nil, nil
	}
	var ok bool
	if h.apiVersion, ok = text(h.APIVersion); !ok {
		return nil, at(where.line, "apiVersion is not text: put it in quotes")
	}
	if h.kind, ok = text(h.Kind); !ok {
		return nil, at(where.line, "kind is not text: put it in quotes")
	}
	return h, nil
}

func (r *reader) add(raw []byte, h *header, where span, items []span) error {
	group, version := groupVersion(h.apiVersion)
	if group == "kustomize.config.k8s.io" {
		return nil // read by kustomize, never sent to a cluster
	}
	if encrypted(h.SOPS) {
		return at(where.line, "%s is encrypted with SOPS: what it declares cannot be read without the key", gitindex.Clean(h.kind, 60))
	}
	if !absent(h.Items) {
		return r.list(h, where, items)
	}
	object := Object{Group: group, Version: version, Kind: h.kind, JSON: raw, Line: where.line, End: where.end}
	local, err := object.name(h.Metadata)
	if err != nil || local {
		return err
	}
	r.objects = append(r.objects, object)
	return nil
}

// list expands a List as kubectl does. kubectl takes anything with items for
// one; other appliers look at the kind, so what is a list to the one and an
// object to the other is refused.
func (r *reader) list(h *header, where span, items []span) error {
	if !strings.HasSuffix(h.kind, "List") {
		return at(where.line, "%s has \"items\" at its top but is no list by its kind: tools read it differently", gitindex.Clean(h.kind, 60))
	}
	if err := json.Unmarshal(h.Items, &h.items); err != nil {
		return at(where.line, "the items of this %s are no list", gitindex.Clean(h.kind, 60))
	}
	for i, item := range h.items {
		place := where
		if len(items) == len(h.items) {
			place = items[i]
		}
		if err := r.item(h, item, place); err != nil {
			r.problems = append(r.problems, problem(nil, err))
		}
	}
	return nil
}

func (r *reader) item(list *header, raw []byte, where span) error {
	raw, err := inferKind(list, raw, where)
	if err != nil {
		return err
	}
	h, err := readHeader(raw, where)
	if err != nil {
		return err
	}
	if h == nil {
		return at(where.line, "an item of this %s has no apiVersion and kind", gitindex.Clean(list.kind, 60))
	}
	// A list in a list has no outline of its own: its items take its lines.
	return r.add(raw, h, where, nil)
}

// inferKind gives an item of a typed list the kind that the list's name tells:
// the API server leaves it out when it serves a ConfigMapList.
func inferKind(list *header, raw []byte, where span) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &fields); err != nil || fields == nil {
		return nil, at(where.line, "an item of this %s is no object", gitindex.Clean(list.kind, 60))
	}
	kind := strings.TrimSuffix(list.kind, "List")
	if kind == "" || !absent(fields["kind"]) || !absent(fields["apiVersion"]) {
		return raw, nil
	}
	fields["apiVersion"] = list.APIVersion
	fields["kind"], _ = json.Marshal(kind)
	return json.Marshal(fields)
}

// name fills in the names, and reports whether the object is for local tools
// only.
func (o *Object) name(raw json.RawMessage) (local bool, err error) {
	var m metadata
	if !absent(raw) && kjson.UnmarshalCaseSensitivePreserveInts(raw, &m) != nil {
		return false, at(o.Line, "the metadata of this %s is no map", gitindex.Clean(o.Kind, 60))
	}
	for _, field := range []struct {
		name string
		raw  json.RawMessage
		into *string
	}{{"name", m.Name, &o.Name}, {"namespace", m.Namespace, &o.Namespace}, {"generateName", m.GenerateName, &o.GenerateName}} {
		var ok bool
		if *field.into, ok = text(field.raw); !ok {
			return false, at(o.Line, "metadata.%s of this %s is not text: put it in quotes", field.name, gitindex.Clean(o.Kind, 60))
		}
	}
	if isLocal(m.Annotations) {
		return true, nil
	}
	switch {
	case o.Name != "":
		return false, nil
	case o.GenerateName != "":
		return false, at(o.Line, "%s has generateName and no name: what the cluster makes of it cannot be traced by name", gitindex.Clean(o.Kind, 60))
	}
	return false, at(o.Line, "%s has no metadata.name", gitindex.Clean(o.Kind, 60))
}

// isLocal is the mark of a file that configures a tool: config.kubernetes.io/local-config.
func isLocal(annotations json.RawMessage) bool {
	var a struct {
		Local json.RawMessage `json:"config.kubernetes.io/local-config"`
	}
	if absent(annotations) || kjson.UnmarshalCaseSensitivePreserveInts(annotations, &a) != nil {
		return false
	}
	value, ok := text(a.Local)
	return ok && value == "true"
}

func encrypted(sops json.RawMessage) bool {
	var s struct {
		MAC json.RawMessage `json:"mac"`
	}
	return !absent(sops) && kjson.UnmarshalCaseSensitivePreserveInts(sops, &s) == nil && !absent(s.MAC)
}

func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// text is the string that raw is; absent counts as empty.
func text(raw json.RawMessage) (value string, ok bool) {
	if absent(raw) {
		return "", true
	}
	return value, json.Unmarshal(raw, &value) == nil
}

func groupVersion(apiVersion string) (group, version string) {
	if group, version, found := strings.Cut(apiVersion, "/"); found {
		return group, version
	}
	return "", apiVersion
}
