package fluxhelm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	kjson "sigs.k8s.io/json"

	"github.com/gitward/gitward/gitindex"
)

// Group is that of HelmRelease objects.
const Group = "helm.toolkit.fluxcd.io"

// helmRelease is what matters here of a HelmRelease: helm-controller's
// api/v2/helmrelease_types.go. The older versions have the same fields, and some
// that the controller no longer reads.
type helmRelease struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
	Spec       spec     `json:"spec"`
}

type metadata struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

type spec struct {
	Chart              *chartTemplate  `json:"chart"`
	ChartRef           *objectRef      `json:"chartRef"`
	Interval           string          `json:"interval"`
	KubeConfig         json.RawMessage `json:"kubeConfig"`
	ReleaseName        string          `json:"releaseName"`
	TargetNamespace    string          `json:"targetNamespace"`
	StorageNamespace   string          `json:"storageNamespace"`
	DriftDetection     drift           `json:"driftDetection"`
	Install            action          `json:"install"`
	Upgrade            action          `json:"upgrade"`
	Test               test            `json:"test"`
	ValuesFrom         []valuesRef     `json:"valuesFrom"`
	Values             json.RawMessage `json:"values"`
	CommonMetadata     *commonMetadata `json:"commonMetadata"`
	PostRenderers      []postRenderer  `json:"postRenderers"`
	PostRenderStrategy string          `json:"postRenderStrategy"`
}

type chartTemplate struct {
	Metadata commonMetadata `json:"metadata"`
	Spec     chartSpec      `json:"spec"`
}

// chartSpec is that of a HelmChart too.
type chartSpec struct {
	Chart                    string        `json:"chart"`
	Version                  string        `json:"version"`
	SourceRef                objectRef     `json:"sourceRef"`
	ReconcileStrategy        string        `json:"reconcileStrategy"`
	ValuesFiles              []string      `json:"valuesFiles"`
	ValuesFile               string        `json:"valuesFile"`
	IgnoreMissingValuesFiles bool          `json:"ignoreMissingValuesFiles"`
	Interval                 string        `json:"interval"`
	Verify                   *verification `json:"verify"`
}

type objectRef struct {
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

type action struct {
	DisableHooks            bool   `json:"disableHooks"`
	DisableSchemaValidation bool   `json:"disableSchemaValidation"`
	CRDs                    string `json:"crds"`
	CreateNamespace         bool   `json:"createNamespace"`
	PreserveValues          bool   `json:"preserveValues"`
}

type test struct {
	Enable bool `json:"enable"`
}

type valuesRef struct {
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	ValuesKey  string `json:"valuesKey"`
	TargetPath string `json:"targetPath"`
	Optional   bool   `json:"optional"`
	Literal    bool   `json:"literal"`
}

type commonMetadata struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

type postRenderer struct {
	Kustomize *kustomize `json:"kustomize"`
}

type kustomize struct {
	Patches []patch `json:"patches"`
	Images  []image `json:"images"`
	// Of the older versions: the controller does not read them any more.
	StrategicMerge json.RawMessage `json:"patchesStrategicMerge"`
	JSON6902       json.RawMessage `json:"patchesJson6902"`
}

type patch struct {
	Patch  string    `json:"patch"`
	Target *selector `json:"target"`
}

type image struct {
	Name    string `json:"name"`
	NewName string `json:"newName"`
	NewTag  string `json:"newTag"`
	Digest  string `json:"digest"`
}

type selector struct {
	Group              string `json:"group"`
	Version            string `json:"version"`
	Kind               string `json:"kind"`
	Namespace          string `json:"namespace"`
	Name               string `json:"name"`
	AnnotationSelector string `json:"annotationSelector"`
	LabelSelector      string `json:"labelSelector"`
}

type drift struct {
	Mode   string       `json:"mode"`
	Ignore []ignoreRule `json:"ignore"`
}

type ignoreRule struct {
	Paths  []string  `json:"paths"`
	Target *selector `json:"target"`
}

func parse(opener json.RawMessage) (*helmRelease, error) {
	hr := &helmRelease{}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(opener, hr); err != nil {
		return nil, fmt.Errorf("reading the HelmRelease: %s", gitindex.Clean(err.Error(), 200))
	}
	if !strings.HasPrefix(hr.APIVersion, Group+"/") || hr.Kind != "HelmRelease" {
		return nil, fmt.Errorf("%s %s is no HelmRelease", gitindex.Clean(hr.APIVersion, 60), gitindex.Clean(hr.Kind, 60))
	}
	if hr.Metadata.Name == "" || hr.Metadata.Namespace == "" {
		return nil, errors.New("the HelmRelease has no name or no namespace")
	}
	return hr, nil
}

// ref is the object for people.
func (hr *helmRelease) ref() gitindex.Ref {
	return gitindex.Ref{Group: Group, Kind: "HelmRelease", Namespace: hr.Metadata.Namespace, Name: hr.Metadata.Name}
}

// check refuses what cannot be known from Git.
func (hr *helmRelease) check() error {
	s := &hr.Spec
	switch {
	case len(s.KubeConfig) > 0 && string(s.KubeConfig) != "null":
		return errors.New("spec.kubeConfig applies it to another cluster")
	case s.Upgrade.PreserveValues:
		return errors.New("spec.upgrade.preserveValues takes values of earlier releases, which are not in Git")
	case (s.Chart == nil) == (s.ChartRef == nil):
		return errNoChart
	}
	for _, p := range s.PostRenderers {
		if p.Kustomize != nil && (len(p.Kustomize.StrategicMerge) > 0 || len(p.Kustomize.JSON6902) > 0) {
			return errors.New("spec.postRenderers has patchesStrategicMerge or patchesJson6902, which Flux no longer reads: write them as patches")
		}
	}
	for _, policy := range []string{s.Install.CRDs, s.Upgrade.CRDs} {
		switch policy {
		case "", "Skip", "Create", "CreateReplace":
		default:
			return fmt.Errorf("%q is no policy for CRDs", gitindex.Clean(policy, 40))
		}
	}
	return nil
}

// releaseName shortens what Helm would refuse, as internal/release/name.go does.
func (hr *helmRelease) releaseName() string {
	name := hr.Spec.ReleaseName
	if name == "" {
		name = hr.Metadata.Name
		if hr.Spec.TargetNamespace != "" {
			name = hr.Spec.TargetNamespace + "-" + name
		}
	}
	if len(name) <= 53 {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:40] + "-" + hex.EncodeToString(sum[:])[:12]
}

func (hr *helmRelease) releaseNamespace() string {
	if hr.Spec.TargetNamespace != "" {
		return hr.Spec.TargetNamespace
	}
	return hr.Metadata.Namespace
}
