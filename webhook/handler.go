// Package webhook is the door: an AdmissionReview comes in, an
// AdmissionResponse goes out. What is decided is the gate's affair; this package
// reads, bounds and answers.
package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

// MaxBody is the largest review that is read: two objects of the API server's 3
// MiB limit, each byte of which JSON may escape into six, and room for the rest.
const MaxBody = 40 << 20

// spare is what is kept of the API server's timeout for the way back.
const spare = 500 * time.Millisecond

// Handler answers reviews on two paths: /validate is the judge
// (from-git.gitward.dev), /mutate writes stamps (annotate.gitward.dev).
type Handler struct {
	Gate *gate.Gate
	Log  *slog.Logger
	// Budget bounds the bytes of reviews in flight; nil means no bound.
	Budget *Budget
}

// ServeHTTP answers POST /validate and /mutate.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "reviews are POSTed", http.StatusMethodNotAllowed)
		return
	}
	var answer func(context.Context, *gate.Request) *admissionv1.AdmissionResponse
	var refuse func(uid, why string, code int32) *admissionv1.AdmissionResponse
	switch r.URL.Path {
	case "/validate":
		answer, refuse = h.validate, denied
	case "/mutate":
		answer, refuse = h.annotate, untouched
	default:
		http.NotFound(w, r)
		return
	}
	patience := patience(r)
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	respond(w, h.read(ctx, newArrival(w, r.Body, time.Now().Add(patience)), answer, refuse))
}

// read takes the body in, within bounds, and has it answered. Whatever goes
// wrong, the answer carries the review's uid if the body showed one.
func (h *Handler) read(ctx context.Context, body *arrival, answer func(context.Context, *gate.Request) *admissionv1.AdmissionResponse,
	refuse func(uid, why string, code int32) *admissionv1.AdmissionResponse) (resp *admissionv1.AdmissionResponse) {
	in := h.Budget.take(ctx, body, MaxBody)
	defer in.release()
	uid := func() string { return uidOf(in.data[:min(len(in.data), 8<<10)]) } // needed only where something fails
	defer func() {
		if p := recover(); p != nil {
			h.Log.Error("panic while deciding", "uid", uid(), "panic", fmt.Sprint(p))
			resp = refuse(uid(), "Gitward failed while deciding this request and therefore refuses it", http.StatusInternalServerError)
		}
	}()
	switch {
	case in.crowded:
		return refuse(uidOf(head(in.data, body)), "Gitward is overloaded; the client tries again by itself", http.StatusTooManyRequests)
	case in.late: // who is slow because much is going on may come again
		return refuse(uid(), "the review did not arrive in time; the client tries again by itself", http.StatusTooManyRequests)
	case in.broke:
		return refuse(uid(), "the review could not be read to its end", http.StatusBadRequest)
	case in.more:
		return refuse(uid(), fmt.Sprintf("the review is larger than %d MiB, which is more than Gitward reads\n  do    make the object smaller", MaxBody>>20),
			http.StatusRequestEntityTooLarge)
	}
	req, err := decodeReview(in.data)
	if err != nil {
		return refuse(uid(), "the review cannot be read: "+err.Error(), http.StatusBadRequest)
	}
	return answer(ctx, req)
}

// head is the beginning of a body of which little or nothing was read.
func head(have []byte, rest io.Reader) []byte {
	more, _ := io.ReadAll(io.LimitReader(rest, 8<<10))
	return append(have[:len(have):len(have)], more...)
}

// validate is the judge.
func (h *Handler) validate(ctx context.Context, req *gate.Request) *admissionv1.AdmissionResponse {
	d := h.Gate.Decide(ctx, req)
	resp := &admissionv1.AdmissionResponse{UID: types.UID(req.UID), Allowed: d.Allowed, AuditAnnotations: auditAnnotations(&d)}
	resp.Warnings = cut(d.Warnings())
	if d.Refusal == nil {
		return resp
	}
	// The record has it too, and knows how to bear a flood.
	h.Log.Debug("refused", "decision", d.ID, "action", d.Action.String(), "allowed", d.Allowed, "reason", d.Refusal.Kind,
		"operation", req.Operation, "object", req.What(), "user", req.User.Name, "dryRun", req.DryRun)
	if d.Allowed {
		if d.Action == gate.Warn {
			resp.Warnings = append(resp.Warnings, warnings(&d)...)
		}
		return resp
	}
	resp.Result = refusalStatus(&d)
	return resp
}

// annotate writes the stamp and decides nothing.
func (h *Handler) annotate(ctx context.Context, req *gate.Request) *admissionv1.AdmissionResponse {
	resp := &admissionv1.AdmissionResponse{UID: types.UID(req.UID), Allowed: true}
	next := h.Gate.Annotate(ctx, req)
	if next == nil {
		return resp
	}
	patch, err := stampPatch(req.Object, next)
	if err != nil {
		h.Log.Error("no stamp written", "object", req.What(), "error", err)
		return resp
	}
	kind := admissionv1.PatchTypeJSONPatch
	resp.Patch, resp.PatchType = patch, &kind
	return resp
}

// denied and untouched answer a review that was not read whole: the judge
// refuses, the annotator leaves it to the judge.
func denied(uid, why string, code int32) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{UID: types.UID(uid), Result: status(code, why)}
}

func untouched(uid, _ string, _ int32) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{UID: types.UID(uid), Allowed: true}
}

func refusalStatus(d *gate.Decision) *metav1.Status {
	if d.Refusal.Kind.Transient() {
		return status(http.StatusTooManyRequests, d.Message())
	}
	return status(http.StatusForbidden, d.Message())
}

func status(code int32, message string) *metav1.Status {
	s := &metav1.Status{Status: metav1.StatusFailure, Code: code, Message: message}
	switch code {
	case http.StatusForbidden:
		s.Reason = metav1.StatusReasonForbidden
	case http.StatusTooManyRequests:
		s.Reason = metav1.StatusReasonTooManyRequests
		// Not all at once: whoever was turned away together comes back apart.
		s.Details = &metav1.StatusDetails{RetryAfterSeconds: 1 + rand.Int32N(5)}
	case http.StatusRequestEntityTooLarge:
		s.Reason = metav1.StatusReasonRequestEntityTooLarge
	case http.StatusInternalServerError:
		s.Reason = metav1.StatusReasonInternalError
	default:
		s.Reason = metav1.StatusReasonBadRequest
	}
	return s
}

func warnings(d *gate.Decision) []string {
	return cut(strings.Split("would be refused: "+d.Message(), "\n"))
}

// cut makes lines fit: kubectl shows warnings, and the API server cuts each at
// 256 runes.
func cut(lines []string) []string {
	var out []string
	for _, line := range lines {
		if r := []rune(strings.TrimSpace(line)); len(r) > 0 {
			out = append(out, string(r[:min(len(r), 250)]))
		}
	}
	return out
}

// auditAnnotations land in the API server's audit log, under the webhook's
// name.
func auditAnnotations(d *gate.Decision) map[string]string {
	a := map[string]string{"decision": "allow", "decision-id": d.ID}
	switch {
	case d.Refusal != nil:
		a["reason"] = string(d.Refusal.Kind)
		a["decision"] = strings.ToLower(d.Action.String())
	default:
		a["reason"] = string(d.Reason)
	}
	if level := d.Level(); level != "" {
		a["level"] = string(level)
	}
	if names := policyNames(d); names != "" {
		a["policies"] = names
	}
	if m := d.Manifest; m != nil {
		a["origin"], a["commit"], a["path"] = m.Origin, m.Commit.ID, m.Path
		a["author"] = m.Commit.Author.String()
		if s := m.Commit.Verdict.Signer.String(); s != "" {
			a["signer"] = s
		}
	}
	return a
}

// policyNames are the policies that found something, and what follows.
func policyNames(d *gate.Decision) string {
	var out []string
	for _, f := range d.Findings {
		out = append(out, gitindex.Clean(f.Policy, 100)+"="+strings.ToLower(f.Action.String()))
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if more := len(out) - 20; more > 0 {
		out = append(out[:20], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, " ")
}

// patience is the time the API server grants, less what the way back takes.
func patience(r *http.Request) time.Duration {
	granted, err := time.ParseDuration(r.URL.Query().Get("timeout"))
	if err != nil || granted <= 0 || granted > 30*time.Second {
		granted = 10 * time.Second
	}
	return max(granted-spare, granted/2)
}

func respond(w http.ResponseWriter, resp *admissionv1.AdmissionResponse) {
	w.Header().Set("Content-Type", "application/json")
	review := admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Response: resp,
	}
	if err := json.NewEncoder(w).Encode(review); err != nil {
		// The connection is gone; there is nobody left to tell.
		return
	}
}
