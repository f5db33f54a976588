package flux

import (
	"encoding/json"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

func TestOCIAddress(t *testing.T) {
	for spec, want := range map[string]string{
		`{"url":"oci://r.example/m"}`:                                        "oci://r.example/m:latest",
		`{"url":"oci://r.example/m","ref":{"tag":"v1"}}`:                     "oci://r.example/m:v1",
		`{"url":"oci://r.example/m","ref":{"tag":"v1","digest":"sha256:1"}}`: "oci://r.example/m@sha256:1",
		`{"url":"oci://r.example/m","ref":{"semver":">=1"}}`:                 "",
		`{"url":"oci://r.example/m","ignore":"x"}`:                           "",
		`{"url":"oci://r.example/m","layerSelector":{"operation":"copy"}}`:   "",
	} {
		got, err := ociAddress(json.RawMessage(`{"spec":` + spec + `}`))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", spec, got, err)
		}
	}
}

// registry gives one artifact, by its address.
type registry struct {
	render.Alone
	address string
}

func (r registry) Base(address string) (fs.FS, render.Pin, error) {
	if address != r.address {
		return r.Alone.Base(address)
	}
	return fstest.MapFS{"deploy/cm.yaml": {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\n")}}, render.Pin{Digest: "sha256:2"}, nil
}

func TestArtifactOfARegistry(t *testing.T) {
	source := gitindex.Ref{Group: sourceGroup, Kind: "OCIRepository", Namespace: "apps", Name: "m"}
	src := registry{render.Alone{FS: fstest.MapFS{}, Objects: map[gitindex.Ref]json.RawMessage{
		source: json.RawMessage(`{"spec":{"url":"oci://r.example/m","ref":{"tag":"v1"}}}`)}}, "oci://r.example/m:v1"}
	u := render.Unit{Opener: json.RawMessage(`{"apiVersion":"kustomize.toolkit.fluxcd.io/v1","kind":"Kustomization","metadata":{"name":"m","namespace":"apps"},
		"spec":{"path":"./deploy","sourceRef":{"kind":"OCIRepository","name":"m"}}}`)}
	files, err := Artifact(src, u)
	if err != nil || files == nil {
		t.Fatal(files, err)
	}
	out, err := BuildHere(render.Alone{FS: files}, u)
	if err != nil || len(out.Objects) != 1 || out.Objects[0].Name != "a" {
		t.Errorf("%v %v", out.Objects, err)
	}
	src.address = "another"
	if files, err := Artifact(src, u); err == nil {
		t.Errorf("what is not pinned is %v", files)
	}
}
