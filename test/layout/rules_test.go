package layout

// module is the path that all imports of our own begin with.
const module = "github.com/gitward/gitward"

// room is one directory of the house, with all below it that is no room of
// its own.
type room struct {
	imports []string // the rooms it may import; "*" for all but the ones nobody may
	quiet   bool     // it returns what it finds and never logs
	// libraries, if not nil, are the only ones it may import beside the
	// standard library.
	libraries []string
}

// rooms is the house. Arrows point downwards only, and rooms on one floor do
// not know each other:
//
//	cmd -> webhook, audit, gitindex/controller -> gate
//	    -> policy, canonical, gitrepo, signature, render -> object -> gitindex, api
//
// Test files may import what they like: they are not part of the product.
var rooms = map[string]room{
	"gitindex":            {quiet: true, libraries: []string{"k8s.io/apimachinery"}},
	"gitindex/object":     {imports: []string{"gitindex"}, quiet: true, libraries: []string{}},
	"gitindex/gitrepo":    {imports: []string{"gitindex", "gitindex/object"}, quiet: true},
	"gitindex/signature":  {imports: []string{"gitindex", "gitindex/object"}, quiet: true},
	"gitindex/render":     {imports: []string{"gitindex", "gitindex/render/sandbox"}, quiet: true},
	"gitindex/elsewhere":  {imports: []string{"gitindex", "gitindex/render", "gitindex/render/sandbox"}, quiet: true}, // it provides charts and bases for render.Sources
	"gitindex/canonical":  {imports: []string{"gitindex"}, quiet: true},
	"gitindex/controller": {imports: []string{"api/v1alpha1", "gitindex", "gitindex/object", "gitindex/gitrepo", "gitindex/signature", "gitindex/render", "gitindex/canonical", "gitindex/elsewhere"}},
	"policy":              {imports: []string{"gitindex", "gitindex/render/sandbox", "policy/gatekeeper"}, quiet: true},
	"policy/gatekeeper":   {quiet: true},
	"policy/controller":   {imports: []string{"gitindex", "policy"}},
	// Children that read what others wrote lock themselves in, whatever they are for.
	"gitindex/render/sandbox": {imports: []string{"gitindex"}, quiet: true, libraries: []string{"golang.org/x/sys"}},
	"gate":                    {imports: []string{"gitindex", "gitindex/canonical", "policy"}, quiet: true},
	"gate/live":               {imports: []string{"gate", "gitindex"}},
	"webhook/registration":    {libraries: []string{"k8s.io/api", "k8s.io/apimachinery", "k8s.io/client-go"}},
	"audit/ledger":            {imports: []string{"api/v1alpha1", "gate", "gitindex"}},
	"webhook":                 {imports: []string{"gate", "gitindex", "policy"}},
	"audit":                   {imports: []string{"gate", "gitindex", "policy"}},
	"api/v1alpha1":            {quiet: true, libraries: []string{"k8s.io/apimachinery"}},
	"policies":                {quiet: true, libraries: []string{}},
	"charts":                  {quiet: true, libraries: []string{"helm.sh", "k8s.io/apimachinery", "k8s.io/client-go"}},
	"cmd/gitward":             {imports: []string{"*"}},

	// Only tests import these; but the demo runs on the first three, so cmd may
	// have them.
	"test/controlplane": {},
	"test/gitserver":    {imports: []string{"gitindex", "gitindex/object"}},
	"test/install":      {imports: []string{"charts", "test/gitserver"}},
	"test/server":       {imports: []string{"test/install"}},
	"test":              {imports: []string{"*", "test/controlplane", "test/gitserver", "test/install", "test/server"}}, // test/corpus too: only tests and test/bench import it
}

// reserved rooms are not part of "*", and only those named here may import
// them.
var reserved = map[string][]string{
	"cmd/gitward":       nil,
	"test":              nil,
	"test/controlplane": {"cmd/gitward", "test"},
	"test/gitserver":    {"cmd/gitward", "test", "test/install"},
	"test/install":      {"cmd/gitward", "test", "test/server"},
	"test/server":       {"test"},
}

// libraries that belong to some rooms alone, so that a change of library stays
// a change of one room. A name stands for all packages below it too.
var libraries = []struct {
	names, rooms []string
}{
	{[]string{"github.com/go-git"}, []string{"gitindex/gitrepo", "test/gitserver"}},
	{[]string{"k8s.io/kubernetes", "sigs.k8s.io/structured-merge-diff"}, []string{"gitindex/canonical"}},
	{[]string{"github.com/ProtonMail/go-crypto", "github.com/hiddeco/sshsig", "github.com/sigstore"},
		[]string{"gitindex/signature", "test", "test/controlplane", "test/gitserver"}},
	{[]string{"sigs.k8s.io/kustomize"}, []string{"gitindex/render"}},
	{[]string{"helm.sh"}, []string{"gitindex/render", "charts"}},
	{[]string{"github.com/open-policy-agent"}, []string{"policy", "policy/gatekeeper"}},
	{[]string{"sigs.k8s.io/controller-runtime"}, []string{"gitindex/controller", "webhook", "cmd/gitward", "test"}},
	{[]string{"database/sql", "modernc.org/sqlite", "github.com/jackc"}, []string{"audit"}},
	{[]string{"github.com/spf13/cobra", "github.com/spf13/pflag"}, []string{"cmd/gitward"}},
}

// logging is what a quiet room does without.
var logging = []string{"log", "k8s.io/klog", "go.uber.org/zap", "github.com/go-logr"}

// vague names say nothing about what is inside.
var vague = []string{"util", "utils", "common", "helper", "helpers", "types", "misc"}
