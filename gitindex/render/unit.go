package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/gitward/gitward/gitindex"
)

// Tool is what makes objects of a unit.
type Tool string

// The tools. Auto is what a directory turns out to be: see Detect.
const (
	Auto       Tool = "Auto"
	Plain      Tool = "Plain"
	Kustomize  Tool = "Kustomize"
	Helm       Tool = "Helm"
	Jsonnet    Tool = "Jsonnet"
	Flux       Tool = "Flux"       // a Flux Kustomization
	FluxHelm   Tool = "FluxHelm"   // a Flux HelmRelease
	Argo       Tool = "Argo"       // an Argo CD Application
	ArgoAppSet Tool = "ArgoAppSet" // an Argo CD ApplicationSet: it renders to Applications
)

// Unit is one thing that renders to objects. It is plain data: the same Unit
// over the same Sources always gives the same Output.
type Unit struct {
	// ID names the unit among those of an Origin: the tool and path of one that
	// the Origin lists or that was detected, the object that opened it otherwise.
	ID   string
	Tool Tool
	// Path is the unit's directory (or file) in the tree; "" is the root. The
	// tools that an object opens find theirs in the object.
	Path string
	// Namespace is for namespaced objects that name none.
	Namespace string
	// Opener is the Flux or Argo CD object that opened the unit, as it was
	// rendered, as JSON; nil for one that the Origin lists or that was detected.
	Opener json.RawMessage
	// Repository is what the tree is of.
	Repository Repository
	// Here says that the source which the opener names holds this tree, and
	// Artifact what of it, where that is not all.
	Here     bool
	Artifact *Artifact
	// Helm and Jsonnet are the options that an Origin's render entry gives.
	Helm    *HelmOptions
	Jsonnet *JsonnetOptions
	// Cluster is what a rendering may ask about the cluster. The Origin
	// declares it: nothing is asked of a live one.
	Cluster Cluster
}

// Artifact is what a Flux source holds of a tree: one directory, or what an
// ArtifactGenerator copies together.
type Artifact struct {
	Root   string // the directory that is the artifact's root; "" is the tree's
	Copies []Copy // instead, in this order; empty: the whole of Root
}

// Copy is one step of an ArtifactGenerator, as its spec has it but for the
// aliases: Root is the directory of the tree that the alias stands for, From is
// relative to it, To to the artifact.
type Copy struct {
	Root, From, To string
	Exclude        []string
	Strategy       string // "", Overwrite, Merge, Extract
}

// Cluster is what templates see of the cluster. A zero field means the
// renderer's default.
type Cluster struct {
	KubeVersion string   // "v1.37.2"
	APIVersions []string // beside those of Kubernetes itself: "monitoring.coreos.com/v1"
	// Clusters are those that Argo CD knows beside the one it runs in, for the
	// clusters generator of ApplicationSets.
	Clusters []ArgoCluster
}

// ArgoCluster is a cluster as Argo CD's Secret for it describes it.
type ArgoCluster struct {
	Name, Server        string
	Project             string
	Labels, Annotations map[string]string
}

// HelmOptions are those of "helm template" that are settled by Git.
type HelmOptions struct {
	ReleaseName, Namespace string
	ValuesFiles            []string // relative to the chart, or absolute from the tree's root with a leading "/"
	Values                 json.RawMessage
	SkipCRDs               bool
	SkipHooks              bool
	SkipTests              bool // leaves out hooks of type test
	KubeVersion            string
	APIVersions            []string
	Revision               int  // .Release.Revision; 0 means 1
	IsUpgrade              bool // .Release.IsUpgrade instead of IsInstall
}

// JsonnetOptions are Argo CD's: libraries are directories of the tree.
type JsonnetOptions struct {
	Libraries []string
	ExtVars   []JsonnetVar
	TLAs      []JsonnetVar
}

// JsonnetVar is one variable; Code says that the value is jsonnet itself.
type JsonnetVar struct {
	Name, Value string
	Code        bool
}

// Sources is everything a rendering may read. What is read through it is
// noted, so that a unit is rendered again when, and only when, something it
// read has changed. It is used by one goroutine at a time.
type Sources interface {
	// Tree is the trusted tree: fs.ReadFileFS, fs.ReadDirFS and fs.StatFS.
	// Symbolic links that stay inside the tree are followed.
	Tree() fs.FS
	// Chart gives the unpacked chart that a reference is pinned to, its root
	// being the chart's directory, and the pin.
	Chart(ref ChartRef) (fs.FS, Pin, error)
	// Base gives a kustomize base from another repository or address. It may be
	// a BaseFS; otherwise its root is what the address names.
	Base(url string) (fs.FS, Pin, error)
	// Declared gives an object that the Origin declares, as rendered JSON; nil
	// if it declares none: a ConfigMap that values are taken from, a
	// GitRepository that a source names.
	Declared(ref gitindex.Ref) (json.RawMessage, error)
}

// BaseFS is a base together with what lies beside it in its repository, which
// it may lean on.
type BaseFS interface {
	fs.FS
	// BaseDir is the directory that the address names, "." for the root; or the
	// one file, where it names a file.
	BaseDir() string
}

// ChartRef names a chart that is not in the tree. Exactly one of Repository
// and OCI is set.
type ChartRef struct {
	Repository string // https://charts.example.org, with an index.yaml
	OCI        string // oci://ghcr.io/acme/charts/redis: with the chart's name
	Name       string // in the Repository
	Version    string // a version, or a semantic range as Helm takes it; empty: the newest
	Digest     string // sha256:… where the reference itself fixes the content
}

// String is the reference as people write it, without what a URL should not
// hold (CleanURL): for messages, never a key.
func (r ChartRef) String() string {
	s := r.OCI
	if s == "" {
		s = r.Repository + " " + r.Name
	}
	if r.Version != "" {
		s += " " + r.Version
	}
	if r.Digest != "" {
		s += " @" + r.Digest
	}
	return gitindex.CleanURL(s, 400)
}

// Pin is what content from outside the repository is fixed to.
type Pin struct {
	Digest  string // sha256:… of the archive, or of the manifest for OCI
	Version string // that a range was resolved to
}

// Output is what a unit renders to.
type Output struct {
	Objects  []Object
	Problems []gitindex.Problem
	// Level is the least direct way in which any part of the unit came about.
	Level gitindex.Level
	// Applier is what applies the unit's objects; nil if nothing is known.
	Applier *gitindex.Applier
	// Namespace is for namespaced objects that name none, where the opener
	// decides it; empty: the Unit's.
	Namespace string
}

// NeedsError says that a unit needs something that is not in the tree and not
// pinned. Nothing of the unit is traceable until that is mended.
type NeedsError struct {
	What string // "the chart https://… redis 1.2.3"
	Why  string // "no pin for it in .gitward/lock.yaml"
	Do   string // what people should do; may be empty
}

func (e *NeedsError) Error() string {
	s := fmt.Sprintf("needs %s: %s", e.What, e.Why)
	if e.Do != "" {
		s += " (" + e.Do + ")"
	}
	return s
}

// ErrUnstable is wrapped by the error of a unit that renders differently each
// time: random values, the time of day.
var ErrUnstable = errors.New("renders differently each time")
