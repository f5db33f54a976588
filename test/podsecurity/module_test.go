package podsecurity

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	defaults "k8s.io/kubernetes/pkg/apis/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// controls are our names of the checks of the module.
var controls = map[policy.CheckID]string{
	"allowPrivilegeEscalation":   "allow_privilege_escalation",
	"appArmorProfile":            "apparmor",
	"capabilities_baseline":      "capabilities",
	"capabilities_restricted":    "capabilities",
	"hostNamespaces":             "host_namespaces",
	"hostPathVolumes":            "host_path_volumes",
	"hostPorts":                  "host_ports",
	"hostProbesAndHostLifecycle": "host_probes",
	"privileged":                 "privileged",
	"procMount":                  "proc_mount",
	"procMount_restricted":       "proc_mount",
	"restrictedVolumes":          "volume_types",
	"runAsNonRoot":               "run_as_non_root",
	"runAsUser":                  "run_as_user",
	"seLinuxOptions":             "selinux",
	"seccompProfile_baseline":    "seccomp",
	"seccompProfile_restricted":  "seccomp",
	"sysctls":                    "sysctls",
	"windowsHostProcess":         "windows_host_process",
}

// theirs is the module: each check alone, and the evaluator of all.
type theirs struct {
	checks    map[string]map[string]policy.CheckPodFn // by profile and control
	evaluator policy.Evaluator
}

func module(t *testing.T) theirs {
	t.Helper()
	out := theirs{checks: map[string]map[string]policy.CheckPodFn{"baseline": {}, "restricted": {}}}
	checks := policy.DefaultChecks()
	evaluator, err := policy.NewEvaluator(checks, nil)
	if err != nil {
		t.Fatal(err)
	}
	out.evaluator = evaluator
	replaced := map[policy.CheckID]bool{}
	for _, check := range checks {
		for _, id := range latest(check).OverrideCheckIDs {
			replaced[id] = true
		}
	}
	for _, check := range checks {
		control, ok := controls[check.ID]
		if !ok {
			t.Fatalf("the standards have a control %s that the policies do not know", check.ID)
		}
		if check.Level == api.LevelBaseline {
			out.checks["baseline"][control] = latest(check).CheckPod
		}
		if !replaced[check.ID] {
			out.checks["restricted"][control] = latest(check).CheckPod
		}
	}
	return out
}

func latest(check policy.Check) policy.VersionedCheck { return check.Versions[len(check.Versions)-1] }

func (m theirs) ask(p object) (profilesOf, error) {
	var decoded corev1.Pod
	if err := json.Unmarshal(must(json.Marshal(p)), &decoded); err != nil {
		return nil, err
	}
	out := profilesOf{}
	for profile, checks := range m.checks {
		out[profile] = verdict{}
		for control, check := range checks {
			out[profile][control] = !check(&decoded.ObjectMeta, &decoded.Spec).Allowed
		}
		level := api.LevelVersion{Level: api.Level(profile), Version: api.LatestVersion()}
		all := policy.AggregateCheckResults(m.evaluator.EvaluatePod(level, &decoded.ObjectMeta, &decoded.Spec))
		if all.Allowed == out[profile].denied() {
			panic("the evaluator and its checks do not agree: " + all.ForbiddenDetail())
		}
	}
	return out, nil
}

// TestModule compares the policies with k8s.io/pod-security-admission on
// generated pods, control by control.
func TestModule(t *testing.T) {
	theirs, ours := module(t), load(t)
	pods := single(lists, true)
	pods = append(pods, mixed(rand.New(rand.NewPCG(1, 2)), 1200, lists, true)...)
	fired, silent := map[string]int{}, map[string]int{}
	denied := map[string]int{}
	verdicts, differences := 0, 0
	for i, p := range pods {
		want, err := theirs.ask(p.pod)
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		requests := []object{creation(p.pod)}
		if i%2 == 0 {
			requests = append(requests, wrapped(i/2, p.pod))
		}
		for _, request := range requests {
			got := ours.ask(t, request)
			for profile, checks := range want {
				if !maps.Equal(got[profile], checks) {
					differences++
					t.Errorf("%s as %s: %s\n got %v\nwant %v\n%s", p.name, request["kind"], profile, got[profile], checks, must(json.Marshal(p.pod)))
				}
				verdicts++
			}
			if differences > 5 {
				t.Fatal("and so on")
			}
		}
		for profile, checks := range want {
			if checks.denied() {
				denied[profile]++
			}
			for control, no := range checks {
				if no {
					fired[profile+"."+control]++
				} else {
					silent[profile+"."+control]++
				}
			}
		}
	}
	for profile, checks := range theirs.checks {
		for control := range checks {
			if name := profile + "." + control; fired[name] < 20 || silent[name] < 20 {
				t.Errorf("%s denied %d pods and took %d: too few to prove anything", name, fired[name], silent[name])
			}
		}
	}
	t.Logf("%d pods, each alone and every other in a kind that makes it too: %d verdicts of %d and %d controls, %d differences; baseline denied %d pods, restricted %d",
		len(pods), verdicts, len(theirs.checks["baseline"]), len(theirs.checks["restricted"]), differences, denied["baseline"], denied["restricted"])
	for _, name := range slices.Sorted(maps.Keys(fired)) {
		t.Logf("%-40s denied %5d, took %5d", name, fired[name], silent[name])
	}
}

// TestModuleBites: the comparison finds it when a policy is a little wrong.
func TestModuleBites(t *testing.T) {
	if testing.Short() {
		t.Skip("takes its time, which -short has not")
	}
	theirs, pods := module(t), single(lists, true)
	var wants []profilesOf
	for _, p := range pods {
		wants = append(wants, must(theirs.ask(p.pod)))
	}
	mistakes := []struct{ file, right, wrong string }{
		{"baseline/pod.rego", `"ephemeralContainers": "ephemeral container",`, ""},
		{"restricted/pod.rego", `"initContainers": "init container",`, ""},
		{"baseline/pod.rego", "hostUsers == false", "hostUsers == true"},
		{"restricted/pod.rego", `os.name == "windows"`, `os.name != "linux"`},
		{"baseline/apparmor.rego", `"", "runtime/default"`, `"runtime/default"`},
		{"baseline/apparmor.rego", `object.get(setter.profile, "type", "")`, "setter.profile.type"},
		{"baseline/capabilities.rego", `"SYS_CHROOT",`, ""},
		{"baseline/host_ports.rego", "port.hostPort != 0", "true"},
		{"baseline/host_probes.rego", `"postStart", "preStop"`, `"preStop"`},
		{"baseline/selinux.rego", `"user", "role"`, `"user"`},
		{"baseline/selinux.rego", `, "container_engine_t"}`, "}"},
		{"baseline/sysctls.rego", `"net.ipv4.tcp_wmem",`, ""},
		{"baseline/proc_mount.rego", "not pod.user_namespace", "true"},
		{"restricted/proc_mount.rego", "some container in pod.containers", "not pod.user_namespace\n\tsome container in pod.containers"},
		{"restricted/capabilities.rego", "not drops_all(container.spec)", "not drops_all(container.spec)\n\tcontainer.spec.securityContext"},
		{"restricted/run_as_non_root.rego", "not pod.user_namespace", "true"},
		{"restricted/run_as_non_root.rego", "not said(pod.spec)", "true"},
		{"restricted/run_as_user.rego", "setter.user == 0", "setter.user < 1; pod.spec.hostUsers"},
		{"restricted/seccomp.rego", "not pod.windows", "true"},
		{"restricted/volume_types.rego", `"image",`, ""},
		{"restricted/windows_host_process.rego", "setter.value == true", "setter.value != false"},
	}
	for _, mistake := range mistakes {
		found := false
		ours := edited(t, func(name, text string) string {
			if !strings.HasSuffix(name, mistake.file) {
				return text
			}
			found = strings.Contains(text, mistake.right)
			return strings.Replace(text, mistake.right, mistake.wrong, 1)
		})
		differs := false
		for i := 0; i < len(pods) && !differs; i++ {
			got := ours.ask(t, creation(pods[i].pod))
			differs = !maps.Equal(got["baseline"], wants[i]["baseline"]) || !maps.Equal(got["restricted"], wants[i]["restricted"])
		}
		if !found || !differs {
			t.Errorf("%s with %q instead of %q: found %v, and pods differ: %v", mistake.file, mistake.wrong, mistake.right, found, differs)
		}
	}
	t.Logf("%d mistakes", len(mistakes))
}

// TestFixtures plays the pods that come with the module, which its authors say
// pass or fail. They are for a running API server, and one of them leans on what
// that fills in before admission: a volume with a name alone becomes an emptyDir.
func TestFixtures(t *testing.T) {
	ours := load(t)
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/pod-security-admission").Output()
	if err != nil {
		t.Fatalf("finding the module: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "test/testdata/*/v1.37/*/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, file := range files {
		parts := strings.Split(filepath.ToSlash(file), "/")
		profile, outcome := parts[len(parts)-4], parts[len(parts)-2]
		var decoded corev1.Pod
		if err := yaml.Unmarshal(must(os.ReadFile(file)), &decoded); err != nil {
			t.Fatal(err)
		}
		defaults.SetObjectDefaults_Pod(&decoded)
		p := copied(decoded).(object)
		got := ours.ask(t, creation(p))[profile]
		if got.denied() != (outcome == "fail") {
			t.Errorf("%s: %v", file, got)
		}
		count[profile+" "+outcome]++
	}
	if len(files) == 0 {
		t.Fatal("the module has no fixtures of 1.37")
	}
	t.Logf("%d fixtures: %v", len(files), count)
}
