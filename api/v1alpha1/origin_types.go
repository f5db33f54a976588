package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Origin is a tracked Git repository and ref, and the signers that count there.
// Creating one gives nobody any power until a Gate accepts it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=orig,categories=gitward
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Ref",type=string,JSONPath=`.status.ref`
// +kubebuilder:printcolumn:name="Commit",type=string,JSONPath=`.status.commit`
// +kubebuilder:printcolumn:name="Signed",type=string,JSONPath=`.status.signedBy`
// +kubebuilder:printcolumn:name="Objects",type=integer,JSONPath=`.status.objects`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Held",type=integer,JSONPath=`.status.heldBack`,priority=1
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.url`,priority=1
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
type Origin struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   OriginSpec   `json:"spec"`
	Status OriginStatus `json:"status,omitempty"`
}

// OriginList is a list of Origins.
//
// +kubebuilder:object:root=true
type OriginList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Origin `json:"items"`
}

// OriginSpec says what to track and whom to trust.
//
// +kubebuilder:validation:XValidation:rule="self.signers.require != 'History' || has(self.signers.after)",message="signers.require History needs signers.after: the commit from which every later one must be signed"
type OriginSpec struct {
	// URL of the repository: https://, ssh:// or user@host:path. A local path
	// (file:///… or /…) is taken only where the process allows it by flag.
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^(https?|ssh|file)://.+$') || self.matches('^[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+:.+$') || self.startsWith('/')",message="url must be https://, http://, ssh://, user@host:path, or file:// where the process allows local paths"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[a-z]+://[^/@]*:[^/@]*@')",message="url must not carry a password: put it into the Secret that secretRef names"
	URL string `json:"url"`
	// Ref to follow; the remote's default branch if left out.
	// +optional
	Ref *GitRef `json:"ref,omitempty"`
	// Interval between two looks at the ref. Default 1m.
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:Type=string
	// +kubebuilder:default="1m"
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`
	// SecretRef names a Secret in Gitward's namespace with the repository's
	// credentials, in Flux's format: username and password, bearerToken,
	// identity and known_hosts, ca.crt.
	// +optional
	SecretRef *LocalRef `json:"secretRef,omitempty"`
	// Render lists what of the repository is rendered. Left out: the whole
	// repository, each directory as what it is found to be. Flux and Argo CD
	// objects that are found open further units by themselves.
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Render []Render `json:"render,omitempty"`
	// Artifacts are Flux sources that hold this repository's content although
	// they are no GitRepository of its URL: an OCIRepository that a pipeline fills
	// from it.
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Artifacts []Artifact `json:"artifacts,omitempty"`
	// Elsewhere says from where charts and bases that are not in the repository
	// may be fetched, and what fixes their content. Left out: from nowhere.
	// +optional
	Elsewhere *Elsewhere `json:"elsewhere,omitempty"`
	// Decryption gives the keys of what the repository holds encrypted with SOPS,
	// so that its values are compared too. Left out: any value of the same type
	// is taken in their place.
	// +optional
	Decryption *Decryption `json:"decryption,omitempty"`
	// Cluster is what charts see of the cluster that they are rendered for.
	// +optional
	Cluster *Cluster `json:"cluster,omitempty"`
	// Signers says whose signature counts.
	Signers Signers `json:"signers"`
	// Suspend stops fetching; what was accepted stays in force.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// GitRef picks one ref, in Flux's words.
//
// +kubebuilder:validation:XValidation:rule="[has(self.branch),has(self.tag),has(self.semver),has(self.name),has(self.commit)].filter(x, x).size() <= 1",message="ref takes at most one of branch, tag, semver, name and commit"
type GitRef struct {
	// +kubebuilder:validation:MaxLength=255
	// +optional
	Branch string `json:"branch,omitempty"`
	// +kubebuilder:validation:MaxLength=255
	// +optional
	Tag string `json:"tag,omitempty"`
	// SemVer picks the highest tag in a range: ">=1.2.0 <2".
	// +kubebuilder:validation:MaxLength=255
	// +optional
	SemVer string `json:"semver,omitempty"`
	// Name is a full ref name: refs/heads/main.
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^refs/`
	// +optional
	Name string `json:"name,omitempty"`
	// Commit pins one commit id.
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{40}$`
	// +optional
	Commit string `json:"commit,omitempty"`
}

// LocalRef names a Secret in Gitward's own namespace.
type LocalRef struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// Render is one part of the repository that is rendered to objects.
type Render struct {
	// Path of a directory or file; "." or empty is the whole repository.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.split('/').exists(p, p == '..')",message="path must be relative to the repository and must not leave it"
	// +optional
	Path string `json:"path,omitempty"`
	// Type: Auto (default) finds out what a directory is: a kustomization, a
	// chart, or plain YAML and JSON with kustomizations among it. Plain reads
	// every file as it stands; Kustomize, Helm and Jsonnet render the path.
	// +kubebuilder:default=Auto
	// +optional
	Type RenderType `json:"type,omitempty"`
	// Namespace for objects that name none, as `kubectl -n` gives them.
	// Default "default".
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:default=default
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// Applier says which Flux Kustomization or Argo CD Application applies this
	// path, so that the labels and annotations it adds can be told from a
	// person's.
	// +optional
	Applier *Applier `json:"applier,omitempty"`
	// Helm says how the chart at this path is installed.
	// +optional
	Helm *HelmRender `json:"helm,omitempty"`
	// Jsonnet says with what the file or files at this path are evaluated.
	// +optional
	Jsonnet *JsonnetRender `json:"jsonnet,omitempty"`
}

// HelmRender is how a chart in the repository is installed.
type HelmRender struct {
	// ReleaseName; default: the name of the chart's directory.
	// +kubebuilder:validation:MaxLength=53
	// +optional
	ReleaseName string `json:"releaseName,omitempty"`
	// Namespace of the release; default: the entry's namespace.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// ValuesFiles, relative to the chart or, with a leading "/", to the
	// repository; later ones win.
	// +kubebuilder:validation:MaxItems=64
	// +optional
	ValuesFiles []string `json:"valuesFiles,omitempty"`
	// Values win over those of the files.
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	// +optional
	Values *runtime.RawExtension `json:"values,omitempty"`
	// SkipCRDs leaves out the chart's crds directory.
	// +optional
	SkipCRDs bool `json:"skipCRDs,omitempty"`
	// SkipTests leaves out test hooks.
	// +optional
	SkipTests bool `json:"skipTests,omitempty"`
}

// JsonnetRender is what a jsonnet file is evaluated with.
type JsonnetRender struct {
	// Libraries are directories of the repository that imports are looked for in.
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Libraries []string `json:"libraries,omitempty"`
	// ExtVars are external variables.
	// +kubebuilder:validation:MaxItems=64
	// +optional
	ExtVars []JsonnetVar `json:"extVars,omitempty"`
	// TLAs are top-level arguments.
	// +kubebuilder:validation:MaxItems=64
	// +optional
	TLAs []JsonnetVar `json:"tlas,omitempty"`
}

// JsonnetVar is one variable; with code, its value is jsonnet itself.
type JsonnetVar struct {
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// +optional
	Value string `json:"value,omitempty"`
	// +optional
	Code bool `json:"code,omitempty"`
}

// Decryption names the keys of encrypted files.
type Decryption struct {
	// SecretRef names a Secret in Gitward's namespace in Flux's form: each entry
	// whose name ends in .agekey holds age identities. A document that none of
	// them opens is refused. What is decrypted is kept nowhere.
	SecretRef LocalRef `json:"secretRef"`
}

// Elsewhere is where charts and bases that are not in the repository come from.
type Elsewhere struct {
	// Hosts that may be asked.
	// +listType=map
	// +listMapKey=host
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Hosts []ElsewhereHost `json:"hosts"`
	// Pin: Lock (default) takes only what Git fixes, in the reference itself or in
	// .gitward/lock.yaml, which "gitward lock" writes. FirstUse also takes what is
	// served first, keeps its digest in the status, and never changes it.
	// +kubebuilder:validation:Enum=Lock;FirstUse
	// +kubebuilder:default=Lock
	// +optional
	Pin PinPolicy `json:"pin,omitempty"`
}

// PinPolicy is what may fix content from elsewhere.
type PinPolicy string

// The policies.
const (
	PinLock     PinPolicy = "Lock"
	PinFirstUse PinPolicy = "FirstUse"
)

// ElsewhereHost is one host that content may come from.
type ElsewhereHost struct {
	// Host, with its port where that is not 443, or *.example.org.
	// +kubebuilder:validation:XValidation:rule="self != '*'",message="host must name a host, or *.domain"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Host string `json:"host"`
	// SecretRef names a Secret in Gitward's namespace with username and password,
	// and ca.crt. It is sent to this host alone.
	// +optional
	SecretRef *LocalRef `json:"secretRef,omitempty"`
	// Private lets the host lie at a private or loopback address.
	// +optional
	Private bool `json:"private,omitempty"`
	// InsecureHTTP allows http.
	// +optional
	InsecureHTTP bool `json:"insecureHTTP,omitempty"`
	// Verify demands a signature of everything that comes from the host.
	// +optional
	Verify *ElsewhereVerify `json:"verify,omitempty"`
}

// ElsewhereVerify is whose signature content from elsewhere must carry.
type ElsewhereVerify struct {
	// Provider: cosign, with public keys.
	// +kubebuilder:validation:Enum=cosign
	// +kubebuilder:default=cosign
	// +optional
	Provider string `json:"provider,omitempty"`
	// SecretRef names a Secret in Gitward's namespace with the keys: *.pub.
	SecretRef LocalRef `json:"secretRef"`
}

// Pin is what one reference is fixed to by its first use.
type Pin struct {
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
	// +optional
	Version string `json:"version,omitempty"`
}

// Artifact is a Flux source that holds a directory of the repository.
type Artifact struct {
	// +kubebuilder:validation:Enum=OCIRepository;Bucket;ExternalArtifact;GitRepository
	Kind string `json:"kind"`
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// +kubebuilder:default=flux-system
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// Path of the directory that is the artifact's root; default: the
	// repository's.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Path string `json:"path,omitempty"`
}

// Cluster is what templates may ask about the cluster. It is declared, so that
// rendering depends on Git and the Origin alone.
type Cluster struct {
	// KubeVersion is what charts see as .Capabilities.KubeVersion: v1.37.2.
	// +kubebuilder:validation:Pattern=`^v?[0-9]+\.[0-9]+(\.[0-9]+)?([-+].*)?$`
	// +optional
	KubeVersion string `json:"kubeVersion,omitempty"`
	// APIVersions that charts see beside Kubernetes' own.
	// +kubebuilder:validation:MaxItems=512
	// +optional
	APIVersions []string `json:"apiVersions,omitempty"`
	// Names and server addresses under which an Argo CD elsewhere knows this
	// cluster. An Argo CD in the cluster needs none.
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Names []string `json:"names,omitempty"`
	// ArgoCD lists the clusters that Argo CD knows beside its own, as its Secrets
	// describe them: what the clusters generator of ApplicationSets goes through.
	// +kubebuilder:validation:MaxItems=256
	// +optional
	ArgoCD []ArgoCluster `json:"argocd,omitempty"`
}

// ArgoCluster is a cluster as Argo CD knows it.
type ArgoCluster struct {
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// +kubebuilder:validation:MinLength=1
	Server string `json:"server"`
	// +optional
	Project string `json:"project,omitempty"`
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
}

// RenderType is how files become objects.
//
// +kubebuilder:validation:Enum=Auto;Plain;Kustomize;Helm;Jsonnet
type RenderType string

const (
	// RenderAuto detects what a directory is.
	RenderAuto RenderType = "Auto"
	// RenderPlain reads every YAML and JSON file as it stands.
	RenderPlain RenderType = "Plain"
	// RenderKustomize, RenderHelm and RenderJsonnet render the path itself.
	RenderKustomize RenderType = "Kustomize"
	RenderHelm      RenderType = "Helm"
	RenderJsonnet   RenderType = "Jsonnet"
)

// Applier names the one object through which a tool applies a path.
//
// +kubebuilder:validation:XValidation:rule="[has(self.flux),has(self.argocd)].filter(x, x).size() == 1",message="applier takes exactly one of flux and argocd"
type Applier struct {
	// Flux is the Kustomization's name and namespace.
	// +optional
	Flux *FluxApplier `json:"flux,omitempty"`
	// ArgoCD is the Application.
	// +optional
	ArgoCD *ArgoCDApplier `json:"argocd,omitempty"`
}

// FluxApplier is a Flux Kustomization.
type FluxApplier struct {
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// +kubebuilder:default=flux-system
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// ArgoCDApplier is an Argo CD Application.
type ArgoCDApplier struct {
	// Application is its name, or namespace_name outside Argo CD's namespace.
	// +kubebuilder:validation:MinLength=1
	Application string `json:"application"`
	// InstallationID is Argo CD's, where one is set.
	// +optional
	InstallationID string `json:"installationID,omitempty"`
	// InstanceLabel is the label Argo CD tracks by, in its label mode; left out
	// in the default annotation mode.
	// +optional
	InstanceLabel string `json:"instanceLabel,omitempty"`
}

// Require is how far a signature reaches.
//
// +kubebuilder:validation:Enum=Head;Change;History
type Require string

const (
	// RequireHead lets the tip's signature vouch for the whole tree, as Flux does.
	RequireHead Require = "Head"
	// RequireChange takes each path as the last trusted commit left it: an
	// untrusted commit changes nothing.
	RequireChange Require = "Change"
	// RequireHistory accepts a tip only if every commit since Signers.After is
	// trusted.
	RequireHistory Require = "History"
)

// Signers says whose signature counts, and how far it reaches.
type Signers struct {
	// Require: Head, Change (default) or History.
	// +kubebuilder:default=Change
	// +optional
	Require Require `json:"require,omitempty"`
	// SecretRef names a Secret in Gitward's namespace with the trusted keys, in
	// Flux's format: *.asc, *.pub, *.sshpub; and allowed_signers as git reads it.
	SecretRef LocalRef `json:"secretRef"`
	// After seals history: this commit and what lies before it is accepted as
	// it is.
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{40}$`
	// +optional
	After string `json:"after,omitempty"`
}

// OriginStatus is what Gitward knows of the Origin.
type OriginStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Ref that is followed.
	// +optional
	Ref string `json:"ref,omitempty"`
	// Commit is the accepted revision, abbreviated, for people.
	// +optional
	Commit string `json:"commit,omitempty"`
	// AcceptedRevision is the full id of the commit that Gitward decides from.
	// It only moves forward: this is the high-water mark.
	// +optional
	AcceptedRevision string `json:"acceptedRevision,omitempty"`
	// SignedBy is the accepted revision's signer, or why there is none.
	// +optional
	SignedBy string `json:"signedBy,omitempty"`
	// Objects declared in the trusted tree.
	// +optional
	Objects int32 `json:"objects,omitempty"`
	// HeldBack counts paths whose newest change is not trusted.
	// +optional
	HeldBack int32 `json:"heldBack,omitempty"`
	// Held lists the first of them.
	// +kubebuilder:validation:MaxItems=20
	// +optional
	Held []HeldPath `json:"held,omitempty"`
	// Problems lists the first files that people should mend.
	// +kubebuilder:validation:MaxItems=20
	// +optional
	Problems []string `json:"problems,omitempty"`
	// Pins are what references to content from elsewhere are fixed to by their
	// first use. They change only when somebody takes one away.
	// +kubebuilder:validation:MaxItems=500
	// +optional
	Pins []Pin `json:"pins,omitempty"`
	// LastFetch is when the ref was last read.
	// +optional
	LastFetch *metav1.Time `json:"lastFetch,omitempty"`
}

// HeldPath is a path that an untrusted commit changed.
type HeldPath struct {
	Path   string `json:"path"`
	Commit string `json:"commit"`
	Why    string `json:"why"`
}
