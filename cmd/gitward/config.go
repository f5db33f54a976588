package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex/controller"
	"github.com/gitward/gitward/gitindex/gitrepo"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/signature"
)

// configuration is what operators write: the same objects, whether they stand
// in a cluster or in a directory.
type configuration struct {
	origins []v1alpha1.Origin
	gates   []v1alpha1.Gate
	secrets map[string]*corev1.Secret
	// known is how sources name the repositories that --origin reads elsewhere.
	known map[string]render.Repository
}

// readConfiguration reads every YAML file of a directory. Kinds other than
// Origin, Gate and Secret, and fields that do not exist, are errors: what is
// not understood must not look as if it were in force.
func readConfiguration(dir string) (*configuration, error) {
	c := &configuration{secrets: map[string]*corev1.Secret{}}
	var files []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && strings.HasPrefix(e.Name(), "..") && path != dir {
			return filepath.SkipDir // the other side of a mounted ConfigMap or Secret
		}
		if ext := filepath.Ext(path); err == nil && !e.IsDir() && (ext == ".yaml" || ext == ".yml" || ext == ".json") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("reading configuration: %w", err)
		}
		if err := c.add(data); err != nil {
			return nil, fmt.Errorf("reading %s: %w", f, err)
		}
	}
	if len(c.origins) == 0 {
		return nil, fmt.Errorf("reading configuration: %s holds no Origin", dir)
	}
	return c, c.check()
}

func (c *configuration) add(data []byte) error {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for n := 1; ; n++ {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("document %d: %w", n, err)
		}
		if len(bytes.TrimSpace(doc)) == 0 {
			continue
		}
		if err := c.addDocument(doc); err != nil {
			return fmt.Errorf("document %d: %w", n, err)
		}
	}
}

func (c *configuration) addDocument(doc []byte) error {
	var t metav1.TypeMeta
	if err := yaml.Unmarshal(doc, &t); err != nil {
		return err
	}
	switch t.APIVersion + " " + t.Kind {
	case v1alpha1.GroupVersion.String() + " Origin":
		var o v1alpha1.Origin
		if err := yaml.UnmarshalStrict(doc, &o); err != nil {
			return fmt.Errorf("Origin: %w", err)
		}
		o.SetDefaults()
		c.origins = append(c.origins, o)
	case v1alpha1.GroupVersion.String() + " Gate":
		var g v1alpha1.Gate
		if err := yaml.UnmarshalStrict(doc, &g); err != nil {
			return fmt.Errorf("Gate: %w", err)
		}
		g.SetDefaults()
		c.gates = append(c.gates, g)
	case "v1 Secret":
		var s corev1.Secret
		if err := yaml.UnmarshalStrict(doc, &s); err != nil {
			return errors.New("Secret: it does not parse (its text is not repeated here)")
		}
		if s.Data == nil {
			s.Data = map[string][]byte{}
		}
		for k, v := range s.StringData {
			s.Data[k] = []byte(v)
		}
		c.secrets[s.Name] = &s
	case " ":
		return nil
	default:
		return fmt.Errorf("%s %s is no Origin, Gate or Secret", t.APIVersion, t.Kind)
	}
	return nil
}

// check does for a directory what the CRDs' rules do in a cluster.
func (c *configuration) check() error {
	names := map[string]bool{}
	for i := range c.origins {
		o := &c.origins[i]
		if o.Name == "" || names[o.Name] {
			return fmt.Errorf("Origin %q: each needs a name of its own", o.Name)
		}
		names[o.Name] = true
		if err := checkOrigin(&o.Spec); err != nil {
			return fmt.Errorf("Origin %s: %w", o.Name, err)
		}
	}
	for i := range c.gates {
		g := &c.gates[i]
		if err := checkGate(&g.Spec); err != nil {
			return fmt.Errorf("Gate %s: %w", g.Name, err)
		}
		for _, o := range g.Spec.Origins {
			if !names[o.Name] {
				return fmt.Errorf("Gate %s: there is no Origin %s", g.Name, o.Name)
			}
		}
	}
	return nil
}

// checkOrigin holds the rules that the CRD has as CEL.
func checkOrigin(s *v1alpha1.OriginSpec) error {
	switch {
	case !urlForm.MatchString(s.URL):
		return errors.New("spec.url must be https://, http://, ssh://, user@host:path, or a local path where the process allows them")
	case urlPassword.MatchString(s.URL):
		return errors.New("spec.url must not carry a password: put it into the Secret that secretRef names")
	case s.Signers.SecretRef.Name == "":
		return errors.New("spec.signers.secretRef is missing")
	case !slices.Contains([]v1alpha1.Require{v1alpha1.RequireHead, v1alpha1.RequireChange, v1alpha1.RequireHistory}, s.Signers.Require):
		return fmt.Errorf("spec.signers.require %q is none of Head, Change, History", s.Signers.Require)
	case s.Signers.Require == v1alpha1.RequireHistory && s.Signers.After == "":
		return errors.New("spec.signers.require History needs spec.signers.after")
	case s.Signers.After != "" && !commitForm.MatchString(s.Signers.After):
		return errors.New("spec.signers.after must be a commit id of 40 hex digits")
	case s.Ref != nil && refs(s.Ref) > 1:
		return errors.New("spec.ref takes at most one of branch, tag, semver, name and commit")
	}
	for i, r := range s.Render {
		switch {
		case strings.HasPrefix(r.Path, "/") || slices.Contains(strings.Split(r.Path, "/"), ".."):
			return fmt.Errorf("spec.render[%d].path must be relative to the repository and must not leave it", i)
		case !slices.Contains(renderTypes, r.Type):
			return fmt.Errorf("spec.render[%d].type %q is none of Auto, Plain, Kustomize, Helm, Jsonnet", i, r.Type)
		case r.Applier != nil && (r.Applier.Flux == nil) == (r.Applier.ArgoCD == nil):
			return fmt.Errorf("spec.render[%d].applier takes exactly one of flux and argocd", i)
		}
	}
	return nil
}

var (
	urlForm     = regexp.MustCompile(`^((https?|ssh|file)://.+|[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+:.+|/.*)$`)
	urlPassword = regexp.MustCompile(`^[a-z]+://[^/@]*:[^/@]*@`)
	commitForm  = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

func refs(r *v1alpha1.GitRef) int {
	n := 0
	for _, s := range []string{r.Branch, r.Tag, r.SemVer, r.Name, r.Commit} {
		if s != "" {
			n++
		}
	}
	return n
}

func checkGate(s *v1alpha1.GateSpec) error {
	switch {
	case !slices.Contains([]v1alpha1.Action{v1alpha1.ActionAudit, v1alpha1.ActionWarn, v1alpha1.ActionDeny}, s.Action):
		return fmt.Errorf("spec.action %q is none of Audit, Warn, Deny", s.Action)
	case s.OnStale != v1alpha1.OnStaleLastKnown && s.OnStale != v1alpha1.OnStaleDeny:
		return fmt.Errorf("spec.onStale %q is none of LastKnown, Deny", s.OnStale)
	case s.Action == v1alpha1.ActionDeny && len(s.Origins) == 0:
		return errors.New("spec.action Deny needs at least one origin")
	case s.StaleAfter.Duration < 0:
		return errors.New("spec.staleAfter must not be negative")
	case s.Lag.Duration < 0 || s.Lag.Duration > 24*time.Hour:
		return errors.New("spec.lag must be between 0s and 24h")
	}
	return checkExceptions(s)
}

// checkExceptions holds the rules that the CRD has for what may be beside Git.
func checkExceptions(s *v1alpha1.GateSpec) error {
	for i, e := range s.Exclude {
		switch all := len(e.Namespaces) == 0 || slices.Contains(e.Namespaces, "*"); {
		case e.Reason == "":
			return fmt.Errorf("spec.exclude[%d] needs a reason", i)
		case len(e.Namespaces)+len(e.Resources)+len(e.Users) == 0:
			return fmt.Errorf("spec.exclude[%d] must name namespaces, resources or users", i)
		case all && e.Expires == nil:
			return fmt.Errorf("spec.exclude[%d] names no namespaces, or all: it must expire", i)
		}
	}
	for i, f := range s.AllowFields {
		if f.Reason == "" || len(f.Resources) == 0 || len(f.Users) == 0 || len(f.Paths) == 0 {
			return fmt.Errorf("spec.allowFields[%d] needs resources, paths, users and a reason", i)
		}
		for _, p := range f.Paths {
			if !fieldPath.MatchString(p) {
				return fmt.Errorf("spec.allowFields[%d]: %q is no path below the object's first level, as in spec.replicas", i, p)
			}
		}
	}
	if err := checkHoles(s); err != nil {
		return err
	}
	for i, d := range s.Derive {
		if d.Owner.Kind == "" || len(d.Makes) == 0 || len(d.Users) == 0 {
			return fmt.Errorf("spec.derive[%d] needs an owner's kind, what is made, and users", i)
		}
	}
	for i, v := range s.AllowVerbs {
		if v.Reason == "" || len(v.Resources) == 0 || len(v.Users)+len(v.Groups) == 0 {
			return fmt.Errorf("spec.allowVerbs[%d] needs resources, users or groups, and a reason", i)
		}
	}
	if b := s.BreakGlass; b != nil {
		if _, err := b.Pattern(); err != nil {
			return fmt.Errorf("spec.breakGlass.reasonPattern: %w", err)
		}
		if len(b.Groups) == 0 || b.MaxDuration.Duration <= 0 || b.MaxDuration.Duration > 24*time.Hour {
			return errors.New("spec.breakGlass needs groups, and a maxDuration over 0s and at most 24h")
		}
	}
	return nil
}

// checkHoles holds the rules for what Git leaves open: those that the CRD has, and
// those of whoever decides by them.
func checkHoles(s *v1alpha1.GateSpec) error {
	for i := range s.Holes {
		h := &s.Holes[i]
		if h.Reason == "" || len(h.Resources) == 0 || len(h.Paths) == 0 {
			return fmt.Errorf("spec.holes[%d] needs resources, paths and a reason", i)
		}
		for _, p := range h.Paths {
			if !fieldPath.MatchString(p) {
				return fmt.Errorf("spec.holes[%d]: %q is no path below the object's first level, as in spec.replicas", i, p)
			}
		}
		rule := holeRule(h)
		if err := rule.Check(); err != nil {
			return fmt.Errorf("spec.holes[%d]: %w", i, err)
		}
	}
	return nil
}

func holeRule(h *v1alpha1.HoleRule) gate.HoleRule {
	return gate.HoleRule{Resources: h.Resources, Paths: h.Paths, Pattern: h.Pattern, Claim: h.Claim, Users: h.Users, Groups: h.Groups,
		Namespaces: h.Namespaces, Reason: h.Reason, Expires: moment(h.Expires)}
}

var renderTypes = []v1alpha1.RenderType{v1alpha1.RenderAuto, v1alpha1.RenderPlain, v1alpha1.RenderKustomize, v1alpha1.RenderHelm, v1alpha1.RenderJsonnet}

var fieldPath = regexp.MustCompile(`^[a-z][A-Za-z0-9]*([.].+|\[.*\].*)$`)

// settings makes an Origin's tracker settings from the directory.
func (c *configuration) settings(o *v1alpha1.Origin, p *process) (controller.Settings, error) {
	s := controller.Settings{Name: o.Name, Spec: o.Spec, Dir: filepath.Join(p.stateDir, "origins", o.Name),
		AllowLocal: p.allowLocal, Now: time.Now, Timeout: 5 * time.Minute}
	signers, err := c.secret(o.Spec.Signers.SecretRef.Name)
	if err != nil {
		return s, fmt.Errorf("Origin %s: spec.signers.secretRef: %w", o.Name, err)
	}
	if s.Keyring, err = signature.NewKeyring(signers.Data); err != nil {
		return s, fmt.Errorf("Origin %s: Secret %s: %w", o.Name, signers.Name, err)
	}
	if d := o.Spec.Decryption; d != nil {
		secret, err := c.secret(d.SecretRef.Name)
		if err != nil {
			return s, fmt.Errorf("Origin %s: spec.decryption.secretRef: %w", o.Name, err)
		}
		if s.Keys, err = controller.KeysOf(o.Name, secret.Data); err != nil {
			return s, fmt.Errorf("Origin %s: Secret %s: %w", o.Name, secret.Name, err)
		}
	}
	if o.Spec.SecretRef != nil {
		credentials, err := c.secret(o.Spec.SecretRef.Name)
		if err != nil {
			return s, fmt.Errorf("Origin %s: spec.secretRef: %w", o.Name, err)
		}
		if s.Credentials, err = gitrepo.ParseCredentials(credentials.Data); err != nil {
			return s, fmt.Errorf("Origin %s: Secret %s: %w", o.Name, credentials.Name, err)
		}
	}
	if e := o.Spec.Elsewhere; e != nil {
		f := fetching(p.stateDir)
		f.Hosts, err = controller.HostsOf(e, func(name string) (map[string][]byte, error) {
			secret, err := c.secret(name)
			if err != nil {
				return nil, err
			}
			return secret.Data, nil
		})
		if err != nil {
			return s, fmt.Errorf("Origin %s: %w", o.Name, err)
		}
		if e.Pin == v1alpha1.PinFirstUse {
			f.FirstUse = &controller.FirstUse{}
			f.FirstUse.Load(o.Status.Pins)
		}
		s.Fetching = &f
	}
	return s, nil
}

func (c *configuration) secret(name string) (*corev1.Secret, error) {
	if s := c.secrets[name]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("there is no Secret %s beside the Origin", name)
}

// rules turns Gates into what the decision reads.
func rules(gates []v1alpha1.Gate) []gate.Rule {
	var out []gate.Rule
	for i := range gates {
		g := &gates[i]
		s := &g.Spec
		r := gate.Rule{Name: g.Name, Action: action(s.Action), Namespaces: s.Match.Namespaces,
			ClusterScoped: len(s.Match.Namespaces) == 0, Lag: s.Lag.Duration, StaleAfter: s.StaleAfter.Duration,
			DenyStale: s.OnStale == v1alpha1.OnStaleDeny, Author: s.Annotations.Author == nil || *s.Annotations.Author}
		if s.Match.ClusterScoped != nil {
			r.ClusterScoped = *s.Match.ClusterScoped
		}
		for _, o := range s.Origins {
			r.Origins = append(r.Origins, gate.Source{Origin: o.Name, Namespaces: o.Namespaces})
		}
		exceptions(&r, s)
		r.Policed = len(s.Policies) > 0
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b gate.Rule) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// exceptions are what a Gate lets be beside Git.
func exceptions(r *gate.Rule, s *v1alpha1.GateSpec) {
	for _, e := range s.Exclude {
		r.Exclude = append(r.Exclude, gate.Exclusion{Namespaces: e.Namespaces, Resources: e.Resources, Users: e.Users,
			Reason: e.Reason, Expires: moment(e.Expires)})
	}
	for _, f := range s.AllowFields {
		r.AllowFields = append(r.AllowFields, gate.FieldRule{Resources: f.Resources, Paths: f.Paths, Users: f.Users,
			Namespaces: f.Namespaces, Reason: f.Reason, Expires: moment(f.Expires)})
	}
	for i := range s.Holes {
		r.Holes = append(r.Holes, holeRule(&s.Holes[i]))
	}
	for _, d := range s.Derive {
		r.Derive = append(r.Derive, gate.DeriveRule{Group: d.Owner.Group, Kind: d.Owner.Kind, Makes: d.Makes, Users: d.Users,
			Expires: moment(d.Expires)})
	}
	for _, v := range s.AllowVerbs {
		r.AllowVerbs = append(r.AllowVerbs, gate.VerbRule{Resources: v.Resources, Users: v.Users, Groups: v.Groups,
			Namespaces: v.Namespaces, Reason: v.Reason, Expires: moment(v.Expires)})
	}
	if b := s.BreakGlass; b != nil {
		// A pattern that does not compile lets nobody break the glass; the Gate's
		// condition says so.
		if reason, err := b.Pattern(); err == nil {
			r.BreakGlass = &gate.BreakGlass{Groups: b.Groups, Max: b.MaxDuration.Duration, Reason: reason}
		}
	}
}

func moment(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

// action maps the words; a word that is not known denies.
func action(a v1alpha1.Action) gate.Action {
	switch a {
	case v1alpha1.ActionAudit:
		return gate.Audit
	case v1alpha1.ActionWarn:
		return gate.Warn
	}
	return gate.Deny
}
