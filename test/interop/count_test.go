package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/gitward/gitward/audit"
	"github.com/gitward/gitward/test/server"
)

// request is one request as the API server's audit log has it. The log is an
// oracle that knows nothing of Gitward.
type request struct {
	Verb       string
	RequestURI string
	User       struct{ Username string }
	Imperson   struct{ Username string } `json:"impersonatedUser"`
	Object     struct {
		Resource, APIGroup, Namespace, Name, Subresource string
	} `json:"objectRef"`
	Response struct {
		Code    int
		Message string
	} `json:"responseStatus"`
	Body json.RawMessage `json:"requestObject"` // but for Secrets
}

// auditPolicy has the log hold what was sent too, so that a write that should
// not be tells what it was about; but no Secret.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: Metadata
  resources: [{group: "", resources: [secrets, "serviceaccounts/token"]}]
- level: None
  verbs: [get, list, watch]
- level: Request
`

// user is who the request counts as.
func (r request) user() string {
	if r.Imperson.Username != "" {
		return r.Imperson.Username
	}
	return r.User.Username
}

// object is what the request is about: "deployments.apps shop/web".
func (r request) object() string {
	text := r.Object.Resource
	if r.Object.APIGroup != "" {
		text += "." + r.Object.APIGroup
	}
	if r.Object.Subresource != "" {
		text += "/" + r.Object.Subresource
	}
	text += " "
	if r.Object.Namespace != "" {
		text += r.Object.Namespace + "/"
	}
	return text + r.Object.Name
}

func (r request) writes() bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, r.Verb)
}

func (r request) dryRun() bool { return strings.Contains(r.RequestURI, "dryRun=All") }

func (r request) denied() bool { return r.Response.Code >= 400 && server.IsDenial(r.Response.Message) }

// requests are all that change something, in order.
func (l *lab) requests() []request {
	l.t.Helper()
	data, err := os.ReadFile(filepath.Join(l.plane.Dir, "audit.log"))
	l.check(err)
	var out []request
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			continue // the last line may be half written
		}
		if r.writes() {
			out = append(out, r)
		}
	}
	l.check(lines.Err())
	return out
}

// tally is what one tool asked for about one object.
type tally struct {
	dryRuns, writes, denied int
	others                  int // refused by somebody else than Gitward: a conflict
	written                 []string
}

// tallies counts the requests of users whose name ends in one of who, by
// object, from the mark on. Leases and events are the tools' own and change all
// the time: they count only where they are refused.
func (l *lab) tallies(mark int, who ...string) map[string]*tally {
	l.t.Helper()
	out := map[string]*tally{}
	for _, r := range l.requests()[mark:] {
		if !slices.ContainsFunc(who, func(w string) bool { return strings.HasSuffix(r.user(), w) }) {
			continue
		}
		if (r.Object.Resource == "leases" || r.Object.Resource == "events") && !r.denied() {
			continue
		}
		t := out[r.object()]
		if t == nil {
			t = &tally{}
			out[r.object()] = t
		}
		t.count(r)
	}
	return out
}

func (t *tally) count(r request) {
	switch {
	case r.denied():
		t.denied++
	case r.Response.Code >= 400:
		t.others++
	case r.dryRun():
		t.dryRuns++
	default:
		t.writes++
		t.written = append(t.written, fmt.Sprintf("%s %s %.800s", r.Verb, r.RequestURI, r.Body))
	}
}

// decided counts what Gitward recorded of those users from the mark on: a dry
// run leaves no record.
func (l *lab) decided(mark int, who ...string) (all, denied int) {
	l.t.Helper()
	for _, r := range l.recorded()[mark:] {
		if !slices.ContainsFunc(who, func(w string) bool { return strings.HasSuffix(r.User, w) }) {
			continue
		}
		all++
		if !r.Allowed {
			denied++
		}
	}
	return all, denied
}

// recorded are Gitward's records of requests so far.
func (l *lab) recorded() []audit.Record {
	l.t.Helper()
	data, err := os.ReadFile(l.gitward.Records)
	l.check(err)
	var out []audit.Record
	for line := range bytes.Lines(data) {
		var r audit.Record
		if json.Unmarshal(line, &r) == nil && r.UID != "" {
			out = append(out, r)
		}
	}
	return out
}

// table prints the tallies; objects of which nothing was written, denied or
// failed are one line together.
func table(t testing.TB, title string, tallies map[string]*tally) {
	t.Helper()
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "object\tdry runs\twrites\tdenied\tother errors")
	var sum, quiet tally
	still := 0
	for _, object := range slices.Sorted(maps.Keys(tallies)) {
		c := tallies[object]
		sum.add(c)
		if c.writes+c.denied+c.others == 0 {
			still++
			quiet.add(c)
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", object, c.dryRuns, c.writes, c.denied, c.others)
	}
	fmt.Fprintf(w, "%d left as they are\t%d\t0\t0\t0\n", still, quiet.dryRuns)
	fmt.Fprintf(w, "sum of %d\t%d\t%d\t%d\t%d\n", len(tallies), sum.dryRuns, sum.writes, sum.denied, sum.others)
	w.Flush()
	t.Logf("%s\n%s", title, text.String())
}

func (t *tally) add(c *tally) {
	t.dryRuns, t.writes, t.denied, t.others = t.dryRuns+c.dryRuns, t.writes+c.writes, t.denied+c.denied, t.others+c.others
}

// mark is a moment: what was asked and recorded before it does not count.
type mark struct{ requests, records int }

func (l *lab) mark() mark { return mark{len(l.requests()), len(l.recorded())} }

// nothingDenied fails if a user in who was refused since the mark, dry run or
// not, and tells what and why. It fails too if nothing was asked for.
func (l *lab) nothingDenied(t *testing.T, since mark, who ...string) {
	t.Helper()
	recorded, refusals := l.decided(since.records, who...)
	asked, denied, told := 0, 0, map[string]bool{}
	for _, r := range l.requests()[since.requests:] {
		if !slices.ContainsFunc(who, func(w string) bool { return strings.HasSuffix(r.user(), w) }) {
			continue
		}
		asked++
		if !r.denied() {
			continue
		}
		denied++
		if !told[r.object()] {
			told[r.object()] = true
			t.Errorf("denied: %s %s by %s: %s", r.Verb, r.object(), r.user(), r.Response.Message)
		}
	}
	t.Logf("%d requests to change something, %d denied; %d records, %d of them of denials", asked, denied, recorded, refusals)
	if asked == 0 || denied > 0 || refusals > 0 {
		t.Errorf("%d requests, %d denied, %d recorded as denied", asked, denied, refusals)
	}
}

// deniedSince counts denials of users in who since the mark.
func (l *lab) deniedSince(since mark, who ...string) int {
	sum := 0
	for _, c := range l.tallies(since.requests, who...) {
		sum += c.denied
	}
	return sum
}
