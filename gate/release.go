package gate

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"unicode"

	yamlv2 "go.yaml.in/yaml/v2"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/gitward/gitward/gitindex"
)

// A Helm release as Helm keeps it: a Secret whose one value is base64 of gzip of
// JSON (helm, pkg/storage/driver). It is read with the decoders that Helm itself
// uses, and refused where these could see two things in it.

const (
	releasePrefix = "sh.helm.release.v1."
	releaseType   = "helm.sh/release.v1"
)

// Bounds on what a release may cost. The API server takes 1 MiB of a Secret.
const (
	maxRelease        = 16 << 20 // of JSON, the chart's files among it
	maxReleaseText    = 4 << 20  // of manifests, hooks and all
	maxReleaseObjects = 3000
)

// release is what counts of one: the rest is the chart and its values, which are
// rendered again before anything is applied.
type release struct {
	name, namespace string
	version         int
	status          string
	manifest        string
	hooks           []releaseHook
}

type releaseHook struct {
	manifest string
	events   []string
}

// sameContent reports whether two states of a release differ in how it went alone.
func (r *release) sameContent(o *release) bool {
	same := r.name == o.name && r.namespace == o.namespace && r.version == o.version && r.manifest == o.manifest && len(r.hooks) == len(o.hooks)
	for i := 0; same && i < len(r.hooks); i++ {
		same = r.hooks[i].manifest == o.hooks[i].manifest && strings.Join(r.hooks[i].events, ",") == strings.Join(o.hooks[i].events, ",")
	}
	return same
}

// follows reports a release that went on: it is what it was, and no old version
// has become the one in use.
func (r *release) follows(was *release) bool {
	begun := was.status == "deployed" || strings.HasPrefix(was.status, "pending-")
	return r.sameContent(was) && (r.status != "deployed" || begun)
}

// isTest reports a hook that only helm test runs.
func (h *releaseHook) isTest() bool {
	for _, e := range h.events {
		if e != "test" && e != "test-success" {
			return false
		}
	}
	return len(h.events) > 0
}

var releaseVersion = regexp.MustCompile(`^v[1-9][0-9]{0,8}$`)

// releaseNamed reads the release's name and version from its Secret's.
func releaseNamed(ref gitindex.Ref) (name string, version int, ok bool) {
	rest, ok := strings.CutPrefix(ref.Name, releasePrefix)
	i := strings.LastIndexByte(rest, '.')
	if !ok || ref.GroupKind() != "Secret" || i <= 0 || !releaseVersion.MatchString(rest[i+1:]) {
		return "", 0, false
	}
	version, err := strconv.Atoi(rest[i+2:])
	return rest[:i], version, err == nil
}

var digits = regexp.MustCompile(`^[0-9]{1,20}$`)

var releaseStatuses = map[string]bool{"unknown": true, "deployed": true, "uninstalled": true, "superseded": true, "failed": true,
	"uninstalling": true, "pending-install": true, "pending-upgrade": true, "pending-rollback": true}

// readRelease reads the release out of its Secret, all of which must be as Helm
// writes it. The error tells nothing of what is inside.
func readRelease(ref gitindex.Ref, secret map[string]any) (*release, error) {
	name, version, _ := releaseNamed(ref)
	if err := looksReleased(secret, name, version); err != nil {
		return nil, err
	}
	data, err := unpackRelease(text(dig(secret, "data", "release")))
	if err != nil {
		return nil, err
	}
	r, err := parseRelease(data)
	switch {
	case err != nil:
		return nil, errors.New("its JSON is not a release's")
	case r.name != name || r.version != version:
		return nil, errors.New("it is another release than its name says")
	case r.status != text(dig(secret, "metadata", "labels", "status")):
		return nil, errors.New("its status is not its label's")
	}
	return r, nil
}

// looksReleased checks all of the Secret but what it holds.
func looksReleased(secret map[string]any, name string, version int) error {
	for k := range secret {
		switch k {
		case "apiVersion", "kind", "metadata", "type", "data":
		default:
			return errors.New("it has fields that Helm does not write")
		}
	}
	meta, _ := secret["metadata"].(map[string]any)
	for k := range meta {
		switch k {
		case "name", "namespace", "labels":
		default:
			return errors.New("it has metadata that Helm does not write")
		}
	}
	if data, _ := secret["data"].(map[string]any); len(data) != 1 || secret["type"] != any(releaseType) {
		return errors.New("it is not of Helm's type, or has other keys")
	}
	labels, _ := at(meta, "labels").(map[string]any)
	for k, v := range labels {
		fits := false
		switch k {
		case "name":
			fits = v == any(name)
		case "owner":
			fits = v == any("helm")
		case "version":
			fits = v == any(strconv.Itoa(version))
		case "status":
			fits = releaseStatuses[text(v)]
		case "createdAt", "modifiedAt":
			fits = digits.MatchString(text(v))
		}
		if !fits {
			return errors.New("its labels are not those that Helm writes")
		}
	}
	for _, k := range []string{"name", "owner", "version", "status"} {
		if at(labels, k) == absent {
			return errors.New("its labels are not those that Helm writes")
		}
	}
	return nil
}

// reading holds back all but a few releases at a time: a small request can take
// much memory and seconds of work, which other requests need not wait for.
var reading = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

func takeTurn() (done func()) {
	reading <- struct{}{}
	return func() { <-reading }
}

func unpackRelease(encoded string) ([]byte, error) {
	inner, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errors.New("it is not base64")
	}
	packed, err := base64.StdEncoding.DecodeString(string(inner))
	if err != nil {
		return nil, errors.New("it is not base64 as Helm writes it")
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, errors.New("it is not compressed")
	}
	data, err := io.ReadAll(io.LimitReader(z, maxRelease+1))
	if err != nil {
		return nil, errors.New("it cannot be uncompressed")
	}
	if len(data) > maxRelease {
		return nil, fmt.Errorf("it is more than %d MiB", maxRelease>>20)
	}
	return data, nil
}

func parseRelease(data []byte) (*release, error) {
	fields, err := fieldsOf(data)
	if err != nil {
		return nil, err
	}
	info, err := fieldsOf(fields["info"])
	if err != nil {
		return nil, err
	}
	r := &release{}
	var hooks []json.RawMessage
	for _, f := range []struct {
		from json.RawMessage
		into any
	}{{fields["name"], &r.name}, {fields["namespace"], &r.namespace}, {fields["version"], &r.version}, {fields["manifest"], &r.manifest},
		{fields["hooks"], &hooks}, {info["status"], &r.status}} {
		if f.from == nil {
			continue
		}
		if err := json.Unmarshal(f.from, f.into); err != nil {
			return nil, err
		}
	}
	for _, raw := range hooks {
		h, err := parseHook(raw)
		if err != nil {
			return nil, err
		}
		r.hooks = append(r.hooks, h)
	}
	return r, nil
}

func parseHook(raw json.RawMessage) (h releaseHook, err error) {
	fields, err := fieldsOf(raw)
	if err != nil {
		return h, err
	}
	if m := fields["manifest"]; m != nil {
		if err := json.Unmarshal(m, &h.manifest); err != nil {
			return h, err
		}
	}
	if e := fields["events"]; e != nil {
		err = json.Unmarshal(e, &h.events)
	}
	return h, err
}

// fieldsOf splits a JSON object into its fields, by their names in lower case:
// the decoder that Helm uses does not tell cases apart, and of a field that is
// there twice it takes both.
func fieldsOf(data []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("no JSON object")
	}
	fields := map[string]json.RawMessage{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		name := strings.ToLower(key.(string))
		if _, twice := fields[name]; twice || !isASCII(name) {
			return nil, errors.New("a field that can be read in two ways")
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		fields[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something after the JSON object")
	}
	return fields, nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// objectsOf reads a release's manifests as Helm does before it applies them: with
// the decoder of k8s.io/cli-runtime, Lists taken apart.
func objectsOf(manifest string) ([]map[string]any, error) {
	if err := unfolds(manifest); err != nil {
		return nil, err
	}
	var objects []map[string]any
	d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	for {
		var raw kruntime.RawExtension
		if err := d.Decode(&raw); err == io.EOF {
			return objects, nil
		} else if err != nil {
			return nil, errors.New("its manifest is not YAML")
		}
		doc := bytes.TrimSpace(raw.Raw)
		if len(doc) == 0 || bytes.Equal(doc, []byte("null")) {
			continue
		}
		obj, err := decodeObject(doc)
		if err != nil {
			return nil, errors.New("its manifest is not of objects")
		}
		if objects = append(objects, itemsOf(obj)...); len(objects) > maxReleaseObjects {
			return nil, fmt.Errorf("it has more than %d objects", maxReleaseObjects)
		}
	}
}

// aliases and anchors as they may begin. Most of what looks like one is in a
// script, and costs one reading more.
var (
	aliasForm  = regexp.MustCompile(`\*[0-9A-Za-z_-]`)
	anchorForm = regexp.MustCompile(`&[0-9A-Za-z_-]`)
)

// unfolds refuses YAML that a few aliases make immense: as objects they share what
// they stand for, as JSON, to which it is brought before it is read, they do not.
// The library bounds how many there are, not how long.
func unfolds(manifest string) error {
	if strings.HasPrefix(strings.TrimLeftFunc(manifest, unicode.IsSpace), "{") && aliasForm.MatchString(manifest) && anchorForm.MatchString(manifest) {
		return errors.New("its manifest has aliases behind JSON") // which would be read as a document of their own
	}
	left := 2 * maxReleaseText
	for docs := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(manifest))); ; {
		doc, err := docs.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return errors.New("its manifest is not YAML")
		}
		if !aliasForm.Match(doc) || !anchorForm.Match(doc) {
			continue
		}
		var v any
		if err := yamlv2.Unmarshal(doc, &v); err != nil {
			return errors.New("its manifest is not YAML")
		}
		if left = spend(v, left); left < 0 {
			return errors.New("its manifest is too large once its aliases are followed")
		}
	}
}

// spend takes the size of a tree off what is left, and stops where nothing is.
func spend(v any, left int) int {
	left -= 8
	switch x := v.(type) {
	case string:
		left -= len(x)
	case []any:
		for i := 0; i < len(x) && left >= 0; i++ {
			left = spend(x[i], left)
		}
	case map[any]any:
		for k, f := range x {
			if left < 0 {
				break
			}
			left = spend(f, spend(k, left))
		}
	}
	return left
}

// itemsOf are the objects of a list, which is whatever has items, of any kind
// (apimachinery, pkg/apis/meta/v1/unstructured/helpers.go).
func itemsOf(obj map[string]any) []map[string]any {
	if _, ok := obj["items"]; !ok {
		return []map[string]any{obj}
	}
	var all []map[string]any
	for _, i := range asList(obj["items"]) {
		item, _ := i.(map[string]any) // nil is an object without a kind, and no release's
		all = append(all, item)
	}
	return all
}
