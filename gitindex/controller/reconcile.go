package controller

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlbuilder "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/gitrepo"
	"github.com/gitward/gitward/gitindex/signature"
)

// OriginReconciler keeps the Hub's trackers as the cluster's Origins say, and
// the Origins' status as the trackers find things.
type OriginReconciler struct {
	Client     client.Client
	Hub        *Hub
	Namespace  string // Gitward's own, where Secrets are read
	StateDir   string
	AllowLocal bool
	Now        func() time.Time
	// Fetching is how things are fetched from elsewhere; hosts and pins are each
	// Origin's own.
	Fetching Fetching

	changed chan event.GenericEvent
	mu      sync.Mutex
	applied map[string]appliedSettings
	pins    map[string]*FirstUse
}

// appliedSettings tells whether a tracker runs with what the Origin says now.
type appliedSettings struct {
	spec    v1alpha1.OriginSpec
	keyring string
	secret  string // resource version of the credentials
	keys    string // of the Secret with age keys
	// elsewhere are those of the Secrets for other hosts.
	elsewhere string
}

// Setup registers the reconciler, for Origins and the Secrets they name.
func (r *OriginReconciler) Setup(mgr ctrl.Manager) error {
	r.changed = make(chan event.GenericEvent, 64)
	r.applied = map[string]appliedSettings{}
	r.Hub.Changed = func(name string) {
		select {
		case r.changed <- event.GenericEvent{Object: &v1alpha1.Origin{ObjectMeta: metav1.ObjectMeta{Name: name}}}:
		default: // the next look tells it again
		}
	}
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.Origin{}, ctrlbuilder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.originsOf)).
		WatchesRawSource(source.Channel(r.changed, &handler.EnqueueRequestForObject{})).
		Complete(r)
}

func (r *OriginReconciler) originsOf(ctx context.Context, secret client.Object) []reconcile.Request {
	var list v1alpha1.OriginList
	if err := r.Client.List(ctx, &list); err != nil {
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if slices.Contains(secretsOf(&list.Items[i].Spec), secret.GetName()) {
			out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Name: list.Items[i].Name}})
		}
	}
	return out
}

// secretsOf names the Secrets that an Origin is made with.
func secretsOf(s *v1alpha1.OriginSpec) []string {
	refs := []*v1alpha1.LocalRef{&s.Signers.SecretRef, s.SecretRef}
	if d := s.Decryption; d != nil {
		refs = append(refs, &d.SecretRef)
	}
	if e := s.Elsewhere; e != nil {
		for i := range e.Hosts {
			refs = append(refs, e.Hosts[i].SecretRef)
			if v := e.Hosts[i].Verify; v != nil {
				refs = append(refs, &v.SecretRef)
			}
		}
	}
	var names []string
	for _, r := range refs {
		if r != nil {
			names = append(names, r.Name)
		}
	}
	return names
}

// Reconcile brings one Origin's tracker and status up to date.
func (r *OriginReconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var o v1alpha1.Origin
	if err := r.Client.Get(ctx, req.NamespacedName, &o); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(req.Name)
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, fmt.Errorf("reading Origin %s: %w", req.Name, err)
	}
	o.SetDefaults()
	configured := r.configure(ctx, &o)
	return reconcile.Result{}, r.writeStatus(ctx, &o, configured)
}

func (r *OriginReconciler) forget(name string) {
	r.mu.Lock()
	delete(r.applied, name)
	delete(r.pins, name)
	r.mu.Unlock()
	r.Hub.Remove(name)
}

// configure starts the tracker, or restarts it if something it was made from
// has changed.
func (r *OriginReconciler) configure(ctx context.Context, o *v1alpha1.Origin) error {
	s := Settings{Name: o.Name, Spec: o.Spec, HighWater: o.Status.AcceptedRevision, AllowLocal: r.AllowLocal, Now: r.Now,
		Dir: filepath.Join(r.StateDir, "origins", o.Name), Timeout: 5 * time.Minute}
	now := appliedSettings{spec: o.Spec}
	signers, err := r.secret(ctx, o.Spec.Signers.SecretRef.Name)
	if err != nil {
		return fmt.Errorf("spec.signers.secretRef: %w", err)
	}
	if s.Keyring, err = signature.NewKeyring(signers.Data); err != nil {
		return fmt.Errorf("Secret %s/%s: %w", r.Namespace, signers.Name, err)
	}
	now.keyring = s.Keyring.Digest()
	if s.Fetching, now.elsewhere, err = r.fetching(ctx, o); err != nil {
		return err
	}
	if d := o.Spec.Decryption; d != nil {
		secret, err := r.secret(ctx, d.SecretRef.Name)
		if err != nil {
			return fmt.Errorf("spec.decryption.secretRef: %w", err)
		}
		if s.Keys, err = KeysOf(o.Name, secret.Data); err != nil {
			return fmt.Errorf("Secret %s/%s: %w", r.Namespace, secret.Name, err)
		}
		now.keys = secret.ResourceVersion
	}
	if o.Spec.SecretRef != nil {
		credentials, err := r.secret(ctx, o.Spec.SecretRef.Name)
		if err != nil {
			return fmt.Errorf("spec.secretRef: %w", err)
		}
		if s.Credentials, err = gitrepo.ParseCredentials(credentials.Data); err != nil {
			return fmt.Errorf("Secret %s/%s: %w", r.Namespace, credentials.Name, err)
		}
		now.secret = credentials.ResourceVersion
	}
	r.mu.Lock()
	before, running := r.applied[o.Name]
	r.mu.Unlock()
	if running && reflect.DeepEqual(before, now) {
		return nil
	}
	if err := r.Hub.Set(context.WithoutCancel(ctx), s); err != nil {
		return err
	}
	r.mu.Lock()
	r.applied[o.Name] = now
	r.mu.Unlock()
	return nil
}

// fetching is how an Origin's charts and bases are fetched, and the versions of
// the Secrets that takes. What was pinned by its first use stays so.
func (r *OriginReconciler) fetching(ctx context.Context, o *v1alpha1.Origin) (*Fetching, string, error) {
	e := o.Spec.Elsewhere
	if e == nil {
		return nil, "", nil
	}
	versions := ""
	hosts, err := HostsOf(e, func(name string) (map[string][]byte, error) {
		s, err := r.secret(ctx, name)
		if err != nil {
			return nil, err
		}
		versions += name + "@" + s.ResourceVersion + " "
		return s.Data, nil
	})
	if err != nil {
		return nil, "", err
	}
	f := r.Fetching
	f.Hosts = hosts
	if e.Pin == v1alpha1.PinFirstUse {
		f.FirstUse = r.firstUse(o)
	}
	return &f, versions, nil
}

// firstUse is an Origin's, with what its status remembers.
func (r *OriginReconciler) firstUse(o *v1alpha1.Origin) *FirstUse {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.pins[o.Name]
	if f == nil {
		f = &FirstUse{}
		if r.pins == nil {
			r.pins = map[string]*FirstUse{}
		}
		r.pins[o.Name] = f
	}
	f.Load(o.Status.Pins)
	return f
}

func (r *OriginReconciler) secret(ctx context.Context, name string) (*corev1.Secret, error) {
	var s corev1.Secret
	if err := r.Client.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: name}, &s); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("there is no Secret %s/%s", r.Namespace, name)
		}
		return nil, fmt.Errorf("reading Secret %s/%s: %w", r.Namespace, name, err)
	}
	return &s, nil
}

// writeStatus writes the status if it says something new.
func (r *OriginReconciler) writeStatus(ctx context.Context, o *v1alpha1.Origin, configured error) error {
	before := o.Status.DeepCopy()
	snap := r.Hub.Snapshot(o.Name)
	lookErr, looked := r.Hub.Err(o.Name)
	describe(&o.Status, snap)
	if e := o.Spec.Elsewhere; e != nil && e.Pin == v1alpha1.PinFirstUse {
		o.Status.Pins = r.firstUse(o).Status()
	}
	o.Status.ObservedGeneration = o.Generation
	ready := metav1.Condition{Type: "Ready", ObservedGeneration: o.Generation, Status: metav1.ConditionFalse}
	switch {
	case configured != nil:
		ready.Reason, ready.Message = "NotConfigured", configured.Error()
	case snap != nil && snap.Frozen != "":
		ready.Reason, ready.Message = "Frozen", snap.Frozen
	case snap != nil && snap.Accepted != nil && lookErr != nil:
		ready.Status, ready.Reason, ready.Message = metav1.ConditionTrue, "FetchFailed",
			"decides from "+snap.Accepted.Short()+"; "+lookErr.Error()
	case lookErr != nil:
		ready.Reason, ready.Message = "FetchFailed", lookErr.Error()
	case snap != nil && snap.Accepted != nil:
		ready.Status, ready.Reason, ready.Message = metav1.ConditionTrue, "Accepted",
			fmt.Sprintf("%d objects at %s", snap.Count(), snap.Accepted.Short())
	case looked:
		ready.Reason, ready.Message = "NothingTrusted", "no commit of the ref is trusted yet"
	default:
		ready.Reason, ready.Message = "Fetching", "the repository is being read for the first time"
	}
	ready.Message = gitindex.Clean(ready.Message, 1000)
	meta.SetStatusCondition(&o.Status.Conditions, ready)
	if reflect.DeepEqual(before, &o.Status) {
		return nil
	}
	if err := r.Client.Status().Update(ctx, o); err != nil && !apierrors.IsNotFound(err) {
		if apierrors.IsConflict(err) {
			return errors.New("the Origin changed meanwhile")
		}
		return fmt.Errorf("writing the status of Origin %s: %w", o.Name, err)
	}
	return nil
}

// describe fills the status from a snapshot. LastFetch is kept to the minute,
// so that looking does not mean writing.
func describe(status *v1alpha1.OriginStatus, snap *gitindex.Snapshot) {
	if snap == nil {
		return
	}
	status.Ref = snap.Ref
	status.Objects = int32(snap.Count())
	status.HeldBack = int32(len(snap.Held))
	status.Held, status.Problems = nil, nil
	for _, h := range snap.Held[:min(len(snap.Held), 20)] {
		status.Held = append(status.Held, v1alpha1.HeldPath{Path: gitindex.Clean(h.Path, 300), Commit: h.Commit.ID,
			Why: h.Commit.Verdict.Outcome.String() + ": " + gitindex.Clean(h.Commit.Verdict.Detail, 200)})
	}
	for _, p := range snap.Problems[:min(len(snap.Problems), 20)] {
		status.Problems = append(status.Problems, gitindex.Clean(p.String(), 400))
	}
	if fetched := metav1.NewTime(snap.FetchedAt.Truncate(time.Minute)); !snap.FetchedAt.IsZero() {
		status.LastFetch = &fetched
	}
	if c := snap.Accepted; c != nil {
		status.Commit, status.AcceptedRevision = c.Short(), c.ID
		status.SignedBy = gitindex.Clean(signedBy(c), 200)
	}
}

func signedBy(c *gitindex.Commit) string {
	if s := c.Verdict.Signer; c.Verdict.Outcome == gitindex.Good {
		return or(s.Principal, s.String())
	}
	return c.Verdict.Outcome.String()
}

// GateReconciler hands the cluster's Gates to whoever decides by them.
type GateReconciler struct {
	Client client.Client
	// Use takes all Gates there are, defaults set, in the order of their names.
	Use func([]v1alpha1.Gate)
	// Check says what of a Gate opens nothing, because whoever decides by it cannot
	// read it; nil if nobody asks.
	Check func(*v1alpha1.GateSpec) error
	// Policies says what is in force of a Gate's; nil if nobody knows.
	Policies func(gate string) []v1alpha1.PolicyStatus
	// Look has the conditions of all Gates written anew when something comes.
	Look <-chan event.GenericEvent
}

// Setup registers the reconciler. Origins matter to it because a Gate's
// condition tells of an Origin that is missing.
func (r *GateReconciler) Setup(mgr ctrl.Manager) error {
	all := handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request {
		var list v1alpha1.GateList
		if err := r.Client.List(ctx, &list); err != nil {
			return nil
		}
		var out []reconcile.Request
		for _, g := range list.Items {
			out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Name: g.Name}})
		}
		return out
	})
	b := ctrl.NewControllerManagedBy(mgr).For(&v1alpha1.Gate{}, ctrlbuilder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, debtChanged))).
		Watches(&v1alpha1.Origin{}, all, ctrlbuilder.WithPredicates(predicate.GenerationChangedPredicate{}))
	if r.Look != nil {
		b = b.WatchesRawSource(source.Channel(r.Look, all))
	}
	return b.Complete(r)
}

// debtChanged sees what another replica noted of break-glass.
var debtChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, ok1 := e.ObjectOld.(*v1alpha1.Gate)
	after, ok2 := e.ObjectNew.(*v1alpha1.Gate)
	return ok1 && ok2 && !reflect.DeepEqual(before.Status.BreakGlass, after.Status.BreakGlass)
}}

// Load hands over the Gates as they are now; it is what a start waits for.
func (r *GateReconciler) Load(ctx context.Context) error {
	var list v1alpha1.GateList
	if err := r.Client.List(ctx, &list); err != nil {
		return fmt.Errorf("reading Gates: %w", err)
	}
	for i := range list.Items {
		list.Items[i].SetDefaults()
	}
	r.Use(list.Items)
	return nil
}

// Reconcile hands over all Gates, and writes one Gate's condition.
func (r *GateReconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if err := r.Load(ctx); err != nil {
		return reconcile.Result{}, err
	}
	var g v1alpha1.Gate
	if err := r.Client.Get(ctx, req.NamespacedName, &g); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	ready := metav1.Condition{Type: "Ready", Status: metav1.ConditionTrue, Reason: "InForce", ObservedGeneration: g.Generation,
		Message: fmt.Sprintf("action %s", or(string(g.Spec.Action), "Audit"))}
	for _, o := range g.Spec.Origins {
		var origin v1alpha1.Origin
		if err := r.Client.Get(ctx, types.NamespacedName{Name: o.Name}, &origin); apierrors.IsNotFound(err) {
			ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, "OriginMissing", "there is no Origin "+o.Name+": nothing can be decided"
		}
	}
	if b := g.Spec.BreakGlass; b != nil {
		if _, err := b.Pattern(); err != nil {
			ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, "ReasonPatternInvalid",
				"nobody can break the glass, since breakGlass.reasonPattern is no regular expression: "+err.Error()
		}
	}
	if r.Check != nil {
		if err := r.Check(&g.Spec); err != nil {
			ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, "HoleInvalid", "nobody can fill it in: "+err.Error()
		}
	}
	before := g.Status.DeepCopy()
	g.Status.ObservedGeneration = g.Generation
	if r.Policies != nil {
		g.Status.Policies = r.Policies(g.Name)
		for _, p := range g.Status.Policies {
			if p.Revision == "" {
				ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, "PoliciesNotInForce",
					"the policies "+p.Origin+":"+p.Path+" are not in force, and what they govern is refused: "+strings.Join(p.Problems, "; ")
			}
		}
	}
	meta.SetStatusCondition(&g.Status.Conditions, ready)
	if reflect.DeepEqual(before, &g.Status) {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, client.IgnoreNotFound(r.Client.Status().Update(ctx, &g))
}
