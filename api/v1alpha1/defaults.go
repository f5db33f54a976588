package v1alpha1

import (
	"regexp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The defaults below are also in the CRDs; here they serve the two kinds when
// they are read from a directory.

// SetDefaults fills in what the operator left out.
func (o *Origin) SetDefaults() {
	if o.Spec.Interval == nil {
		o.Spec.Interval = &metav1.Duration{Duration: time.Minute}
	}
	if o.Spec.Signers.Require == "" {
		o.Spec.Signers.Require = RequireChange
	}
	for i := range o.Spec.Render {
		r := &o.Spec.Render[i]
		if r.Type == "" {
			r.Type = RenderAuto
		}
		if r.Namespace == "" {
			r.Namespace = metav1.NamespaceDefault
		}
		if r.Applier != nil && r.Applier.Flux != nil && r.Applier.Flux.Namespace == "" {
			r.Applier.Flux.Namespace = "flux-system"
		}
	}
}

// SetDefaults fills in what the operator left out.
func (g *Gate) SetDefaults() {
	if g.Spec.Action == "" {
		g.Spec.Action = ActionAudit
	}
	if g.Spec.Lag == nil {
		g.Spec.Lag = &metav1.Duration{Duration: 15 * time.Minute}
	}
	if g.Spec.StaleAfter == nil {
		g.Spec.StaleAfter = &metav1.Duration{Duration: 15 * time.Minute}
	}
	if g.Spec.OnStale == "" {
		g.Spec.OnStale = OnStaleLastKnown
	}
	for i := range g.Spec.Policies {
		p := &g.Spec.Policies[i]
		if p.Path == "" {
			p.Path = "."
		}
		if p.Action == "" {
			p.Action = ActionDeny
		}
		if p.NewDenials == nil {
			p.NewDenials = new(int32(20))
		}
	}
	if b := g.Spec.BreakGlass; b != nil {
		if b.MaxDuration == nil {
			b.MaxDuration = &metav1.Duration{Duration: 4 * time.Hour}
		}
		if b.ReasonPattern == "" {
			b.ReasonPattern = ".{8,}"
		}
	}
}

// Pattern is the expression that the whole reason must match; an error where
// ReasonPattern is none.
func (b *BreakGlass) Pattern() (*regexp.Regexp, error) {
	return regexp.Compile(`\A(?:` + b.ReasonPattern + `)\z`)
}
