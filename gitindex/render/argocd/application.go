package argocd

import (
	"encoding/json"
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The fields of argoproj.io/v1alpha1 as Argo CD 3.6 writes and reads them
// (pkg/apis/application/v1alpha1/types.go). The order and the omitted zeroes
// count: what the ApplicationSet controller creates is such a value as JSON.

// Application is the object without its status.
type Application struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              Spec            `json:"spec"`
	Operation         json.RawMessage `json:"operation,omitempty"`
}

// Spec says what is applied where.
type Spec struct {
	Source               *Source            `json:"source,omitempty"`
	Destination          Target             `json:"destination"`
	Project              string             `json:"project"`
	SyncPolicy           *SyncPolicy        `json:"syncPolicy,omitempty"`
	IgnoreDifferences    []IgnoreDifference `json:"ignoreDifferences,omitempty"`
	Info                 []Pair             `json:"info,omitempty"`
	RevisionHistoryLimit *int64             `json:"revisionHistoryLimit,omitempty"`
	Sources              []Source           `json:"sources,omitempty"`
	SourceHydrator       *Hydrator          `json:"sourceHydrator,omitempty"`
}

// Target is a destination: a cluster by its address or name, and a namespace.
type Target struct {
	Server    string `json:"server,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
}

// Source is one place that manifests come from.
type Source struct {
	RepoURL        string     `json:"repoURL"`
	Path           string     `json:"path,omitempty"`
	TargetRevision string     `json:"targetRevision,omitempty"`
	Helm           *Helm      `json:"helm,omitempty"`
	Kustomize      *Kustomize `json:"kustomize,omitempty"`
	Directory      *Directory `json:"directory,omitempty"`
	Plugin         *Plugin    `json:"plugin,omitempty"`
	Chart          string     `json:"chart,omitempty"`
	Ref            string     `json:"ref,omitempty"`
	Name           string     `json:"name,omitempty"`
	TagPrefix      string     `json:"tagPrefix,omitempty"`
}

// Helm are a source's options for Helm.
type Helm struct {
	ValueFiles              []string        `json:"valueFiles,omitempty"`
	Parameters              []Parameter     `json:"parameters,omitempty"`
	ReleaseName             string          `json:"releaseName,omitempty"`
	Values                  string          `json:"values,omitempty" patchStrategy:"replace"`
	FileParameters          []FileParameter `json:"fileParameters,omitempty"`
	Version                 string          `json:"version,omitempty"`
	PassCredentials         bool            `json:"passCredentials,omitempty"`
	IgnoreMissingValueFiles bool            `json:"ignoreMissingValueFiles,omitempty"`
	SkipCrds                bool            `json:"skipCrds,omitempty"`
	ValuesObject            json.RawMessage `json:"valuesObject,omitempty"`
	Namespace               string          `json:"namespace,omitempty"`
	KubeVersion             string          `json:"kubeVersion,omitempty"`
	APIVersions             []string        `json:"apiVersions,omitempty"`
	SkipTests               bool            `json:"skipTests,omitempty"`
	SkipSchemaValidation    bool            `json:"skipSchemaValidation,omitempty"`
}

// Parameter is one --set.
type Parameter struct {
	Name        string `json:"name,omitempty"`
	Value       string `json:"value,omitempty"`
	ForceString bool   `json:"forceString,omitempty"`
}

// FileParameter is one --set-file.
type FileParameter struct {
	Name string `json:"name,omitempty"`
	Path string `json:"path,omitempty"`
}

// Kustomize are a source's options for kustomize.
type Kustomize struct {
	NamePrefix                string            `json:"namePrefix,omitempty"`
	NameSuffix                string            `json:"nameSuffix,omitempty"`
	Images                    []string          `json:"images,omitempty"`
	CommonLabels              map[string]string `json:"commonLabels,omitempty"`
	Version                   string            `json:"version,omitempty"`
	CommonAnnotations         map[string]string `json:"commonAnnotations,omitempty"`
	ForceCommonLabels         bool              `json:"forceCommonLabels,omitempty"`
	ForceCommonAnnotations    bool              `json:"forceCommonAnnotations,omitempty"`
	Namespace                 string            `json:"namespace,omitempty"`
	CommonAnnotationsEnvsubst bool              `json:"commonAnnotationsEnvsubst,omitempty"`
	Replicas                  []Replica         `json:"replicas,omitempty"`
	Patches                   []Patch           `json:"patches,omitempty"`
	Components                []string          `json:"components,omitempty"`
	IgnoreMissingComponents   bool              `json:"ignoreMissingComponents,omitempty"`
	LabelWithoutSelector      bool              `json:"labelWithoutSelector,omitempty"`
	KubeVersion               string            `json:"kubeVersion,omitempty"`
	APIVersions               []string          `json:"apiVersions,omitempty"`
	LabelIncludeTemplates     bool              `json:"labelIncludeTemplates,omitempty"`
}

// Replica sets a count.
type Replica struct {
	Name  string `json:"name"`
	Count Count  `json:"count"`
}

// Count is a whole number, or text that is one.
type Count struct{ text, quoted string }

// UnmarshalJSON takes either.
func (c *Count) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '"' {
		return json.Unmarshal(raw, &c.quoted)
	}
	if _, err := strconv.ParseInt(string(raw), 10, 32); err != nil && string(raw) != "null" {
		return fmt.Errorf("a count of replicas is no whole number")
	}
	c.text = string(raw)
	return nil
}

// MarshalJSON gives it back in the form that it came in.
func (c Count) MarshalJSON() ([]byte, error) {
	if c.text == "" || c.text == "null" {
		if c.quoted == "" {
			return []byte("0"), nil
		}
		return json.Marshal(c.quoted)
	}
	return []byte(c.text), nil
}

func (c Count) number() (int64, error) {
	if c.quoted != "" {
		n, err := strconv.Atoi(c.quoted)
		return int64(n), err
	}
	if c.text == "" || c.text == "null" {
		return 0, nil
	}
	return strconv.ParseInt(c.text, 10, 64)
}

// Patch is one of kustomize's patches.
type Patch struct {
	Path    string          `json:"path,omitempty"`
	Patch   string          `json:"patch,omitempty"`
	Target  *PatchTarget    `json:"target,omitempty"`
	Options map[string]bool `json:"options,omitempty"`
}

// PatchTarget selects what a patch changes.
type PatchTarget struct {
	Group              string `json:"group,omitempty"`
	Version            string `json:"version,omitempty"`
	Kind               string `json:"kind,omitempty"`
	Name               string `json:"name,omitempty"`
	Namespace          string `json:"namespace,omitempty"`
	AnnotationSelector string `json:"annotationSelector,omitempty"`
	LabelSelector      string `json:"labelSelector,omitempty"`
}

// Directory are a source's options for plain files and jsonnet.
type Directory struct {
	Recurse                bool    `json:"recurse,omitempty"`
	Jsonnet                Jsonnet `json:"jsonnet,omitzero"`
	Exclude                string  `json:"exclude,omitempty"`
	Include                string  `json:"include,omitempty"`
	DisableExtensionFilter bool    `json:"disableExtensionFilter,omitempty"`
}

// Jsonnet are its variables and libraries.
type Jsonnet struct {
	ExtVars []Variable `json:"extVars,omitempty"`
	TLAs    []Variable `json:"tlas,omitempty"`
	Libs    []string   `json:"libs,omitempty"`
}

// IsZero is for omitzero.
func (j Jsonnet) IsZero() bool { return len(j.ExtVars)+len(j.TLAs)+len(j.Libs) == 0 }

// Variable is one of jsonnet's.
type Variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Code  bool   `json:"code,omitempty"`
}

// Plugin is a config management plugin: a program that Argo CD runs.
type Plugin struct {
	Name       string            `json:"name,omitempty"`
	Env        []Pair            `json:"env,omitempty"`
	Parameters []json.RawMessage `json:"parameters,omitempty"`
}

// Pair is a name with a value.
type Pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// SyncPolicy says how a sync goes about it.
type SyncPolicy struct {
	Automated                *Automated         `json:"automated,omitempty"`
	SyncOptions              []string           `json:"syncOptions,omitempty"`
	Retry                    *Retry             `json:"retry,omitempty"`
	ManagedNamespaceMetadata *NamespaceMetadata `json:"managedNamespaceMetadata,omitempty"`
}

// Automated says whether nobody need ask for a sync.
type Automated struct {
	Prune      *bool `json:"prune,omitempty"`
	SelfHeal   *bool `json:"selfHeal,omitempty"`
	AllowEmpty *bool `json:"allowEmpty,omitempty"`
	Enabled    *bool `json:"enabled,omitempty"`
}

// Retry says how often a failed sync is tried again.
type Retry struct {
	Limit   int64    `json:"limit,omitempty"`
	Backoff *Backoff `json:"backoff,omitempty"`
	Refresh bool     `json:"refresh,omitempty"`
}

// Backoff is the time between two tries.
type Backoff struct {
	Duration    string `json:"duration,omitempty"`
	Factor      *int64 `json:"factor,omitempty"`
	MaxDuration string `json:"maxDuration,omitempty"`
}

// NamespaceMetadata is what the destination's namespace is given.
type NamespaceMetadata struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// IgnoreDifference names fields whose live value is let be.
type IgnoreDifference struct {
	Group                 string   `json:"group,omitempty"`
	Kind                  string   `json:"kind"`
	Name                  string   `json:"name,omitempty"`
	Namespace             string   `json:"namespace,omitempty"`
	JSONPointers          []string `json:"jsonPointers,omitempty"`
	JQPathExpressions     []string `json:"jqPathExpressions,omitempty"`
	ManagedFieldsManagers []string `json:"managedFieldsManagers,omitempty"`
}

// Hydrator renders one source into another place of Git, from which is synced.
type Hydrator struct {
	DrySource  DrySource  `json:"drySource"`
	SyncSource SyncSource `json:"syncSource"`
	HydrateTo  *Branch    `json:"hydrateTo,omitempty"`
}

// DrySource is what is rendered.
type DrySource struct {
	RepoURL        string     `json:"repoURL"`
	TargetRevision string     `json:"targetRevision"`
	Path           string     `json:"path"`
	Helm           *Helm      `json:"helm,omitempty"`
	Kustomize      *Kustomize `json:"kustomize,omitempty"`
	Directory      *Directory `json:"directory,omitempty"`
	Plugin         *Plugin    `json:"plugin,omitempty"`
}

// SyncSource is where the rendered files lie.
type SyncSource struct {
	TargetBranch string `json:"targetBranch"`
	Path         string `json:"path"`
	RepoURL      string `json:"repoURL,omitempty"`
}

// Branch is where a hydrator puts what it rendered before it is promoted.
type Branch struct {
	TargetBranch string `json:"targetBranch"`
}
