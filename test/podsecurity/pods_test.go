package podsecurity

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// object is JSON as it stands: nulls and empty values are what decoders forgive
// and policies have to get right.
type object = map[string]any

// lists are where a pod has containers.
var lists = []string{"containers", "initContainers", "ephemeralContainers"}

// field is something that the standards read.
type field struct {
	path   string // below the pod or below a container; the last part is set
	places []string
	// allowed and forbidden are what baseline takes and what some profile does
	// not. odd are values that no API server would take, or take out.
	allowed, forbidden, odd []any
}

const pod = "pod"

var (
	everywhere = append([]string{pod}, lists...)
	podOnly    = []string{pod}
)

func profiles(types ...any) []any {
	out := make([]any, len(types))
	for i, t := range types {
		out[i] = object{"type": t}
		if t == "Localhost" {
			out[i] = object{"type": t, "localhostProfile": "shop.json"}
		}
	}
	return out
}

func volume(source string, value any) any { return []any{object{"name": "data", source: value}} }

// fields is all that the controls read, with values on both sides of each rule.
var fields = []field{
	{"hostNetwork", podOnly, []any{false}, []any{true}, []any{nil}},
	{"hostPID", podOnly, []any{false}, []any{true}, []any{nil}},
	{"hostIPC", podOnly, []any{false}, []any{true}, []any{nil}},
	{"hostUsers", podOnly, []any{true, false}, nil, []any{nil}},
	{"os", podOnly, []any{object{"name": "linux"}, object{"name": "windows"}}, nil, []any{nil, object{}, object{"name": "plan9"}}},
	{"securityContext", everywhere, []any{object{}}, nil, []any{nil}},
	{"securityContext.runAsNonRoot", everywhere, []any{true}, []any{false}, []any{nil}},
	{"securityContext.runAsUser", everywhere, []any{1000}, []any{0}, []any{nil}},
	{"securityContext.seccompProfile", everywhere, profiles("RuntimeDefault", "Localhost"), profiles("Unconfined"), []any{nil, object{}, object{"type": "Other"}}},
	{"securityContext.appArmorProfile", everywhere, profiles("RuntimeDefault", "Localhost"), profiles("Unconfined"), []any{nil, object{}, object{"type": "Other"}}},
	{"securityContext.seLinuxOptions", everywhere,
		[]any{object{"type": "container_t"}, object{"type": "container_init_t"}, object{"type": "container_kvm_t"}, object{"type": "container_engine_t"}, object{"level": "s0:c1,c2"}},
		[]any{object{"type": "spc_t"}, object{"user": "sysadm_u"}, object{"role": "sysadm_r"}, object{"type": "container_t", "user": "u"}, object{"type": "Container_t"}},
		[]any{nil, object{}, object{"type": "", "user": "", "role": nil}, object{"type": nil}}},
	{"securityContext.windowsOptions", everywhere, []any{object{"hostProcess": false}, object{"runAsUserName": "shop"}}, []any{object{"hostProcess": true}}, []any{nil, object{}, object{"hostProcess": nil}}},
	{"securityContext.sysctls", podOnly,
		[]any{[]any{}, sysctls("kernel.shm_rmid_forced", "net.ipv4.tcp_syncookies"), sysctls("net.ipv4.tcp_notsent_lowat", "net.ipv4.tcp_slow_start_after_idle"),
			sysctls("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem", "net.ipv4.ip_local_reserved_ports"), sysctls("net.ipv4.tcp_fin_timeout", "net.ipv4.ip_unprivileged_port_start"),
			sysctls("net.ipv4.ip_local_port_range", "net.ipv4.ping_group_range", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes")},
		[]any{sysctls("kernel.msgmax"), sysctls("net.ipv4.tcp_syncookies", "net.core.somaxconn")}, []any{nil, []any{object{"value": "1"}}, sysctls("")}},
	{"volumes", podOnly,
		[]any{[]any{}, volume("configMap", object{"name": "shop"}), volume("secret", object{"secretName": "shop"}), volume("emptyDir", object{}),
			volume("projected", object{"sources": []any{}}), volume("downwardAPI", object{"items": []any{}}), volume("persistentVolumeClaim", object{"claimName": "shop"}),
			volume("csi", object{"driver": "example.org"}), volume("image", object{"reference": "models/small:1"}),
			volume("ephemeral", object{"volumeClaimTemplate": object{"spec": object{"accessModes": []any{"ReadWriteOnce"}, "resources": object{"requests": object{"storage": "1Gi"}}}}})},
		[]any{volume("hostPath", object{"path": "/run"}), volume("nfs", object{"server": "nas", "path": "/"}), volume("gitRepo", object{"repository": "https://example.org/x.git"}),
			volume("iscsi", object{"targetPortal": "10.0.0.1:3260", "iqn": "iqn.2001-04.com.example:storage", "lun": 0}), volume("cephfs", object{"monitors": []any{"10.0.0.1"}}),
			volume("rbd", object{"monitors": []any{"10.0.0.1"}, "image": "x"}), volume("fc", object{"targetWWNs": []any{"500a0982991b8dc5"}, "lun": 0}),
			volume("flexVolume", object{"driver": "example.org/lvm"}), volume("azureFile", object{"secretName": "s", "shareName": "x"}),
			volume("awsElasticBlockStore", object{"volumeID": "v"}), volume("gcePersistentDisk", object{"pdName": "v"}), volume("cinder", object{"volumeID": "v"}),
			volume("vsphereVolume", object{"volumePath": "v"}), volume("portworxVolume", object{"volumeID": "v"}), volume("quobyte", object{"registry": "10.0.0.1:1", "volume": "v"}),
			volume("flocker", object{"datasetName": "v"}), volume("azureDisk", object{"diskName": "v", "diskURI": "https://a.blob.core.windows.net/c/d.vhd"}),
			volume("photonPersistentDisk", object{"pdID": "v"}), volume("scaleIO", object{"gateway": "https://a", "system": "s", "volumeName": "v", "secretRef": object{"name": "s"}}),
			volume("storageos", object{"volumeName": "v"}), volume("glusterfs", object{"endpoints": "e", "path": "v"}),
			[]any{object{"name": "a", "emptyDir": object{}}, object{"name": "b", "hostPath": object{"path": "/b"}}}},
		[]any{nil, []any{object{"name": "data"}}, []any{object{"name": "data", "hostPath": nil}}, []any{object{"name": "data", "hostPath": object{}}},
			[]any{object{"name": "data", "emptyDir": object{}, "hostPath": object{"path": "/run"}}}}},

	{"securityContext.privileged", lists, []any{false}, []any{true}, []any{nil}},
	{"securityContext.allowPrivilegeEscalation", lists, []any{false}, []any{true}, []any{nil}},
	{"securityContext.procMount", lists, []any{"Default"}, []any{"Unmasked"}, []any{nil, "", "default"}},
	{"securityContext.capabilities", lists,
		[]any{object{"drop": []any{"ALL"}}, object{"drop": []any{"ALL"}, "add": []any{"NET_BIND_SERVICE"}}},
		[]any{object{"add": []any{"NET_RAW"}}, object{"drop": []any{"ALL"}, "add": []any{"SYS_ADMIN"}}, object{"drop": []any{"NET_RAW"}}, object{"drop": []any{"ALL"}, "add": []any{"CHOWN", "KILL"}},
			object{"add": []any{"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}},
			object{"add": []any{"ALL"}}, object{"add": []any{"CAP_CHOWN"}}, object{"drop": []any{"all"}}},
		[]any{nil, object{}, object{"add": nil, "drop": nil}, object{"add": []any{}, "drop": []any{}}, object{"add": []any{""}}}},
	{"ports", lists, []any{[]any{}, []any{object{"containerPort": 80}}, []any{object{"containerPort": 80, "hostPort": 0}}},
		[]any{[]any{object{"containerPort": 80, "hostPort": 80}}, []any{object{"containerPort": 81}, object{"containerPort": 82, "hostPort": 65535}}}, []any{nil, []any{object{"hostPort": nil}}}},
	{"livenessProbe", lists, []any{object{"httpGet": object{"port": 80}}, object{"tcpSocket": object{"port": 80}}, object{"exec": object{"command": []any{"true"}}}, object{"grpc": object{"port": 80}}},
		[]any{object{"httpGet": object{"port": 80, "host": "127.0.0.1"}}, object{"tcpSocket": object{"port": 80, "host": "10.0.0.1"}}}, []any{nil, object{}, object{"httpGet": object{"port": 80, "host": ""}}, object{"tcpSocket": object{"host": nil}}}},
	{"readinessProbe", lists, []any{object{"httpGet": object{"port": 80}}}, []any{object{"httpGet": object{"port": 80, "host": "localhost"}}, object{"tcpSocket": object{"port": 80, "host": "localhost"}}}, []any{object{"httpGet": nil}}},
	{"startupProbe", lists, []any{object{"tcpSocket": object{"port": 80}}}, []any{object{"httpGet": object{"port": 80, "host": "localhost"}}, object{"tcpSocket": object{"port": 80, "host": "localhost"}}}, []any{object{"tcpSocket": nil}}},
	{"lifecycle", lists, []any{object{"preStop": object{"httpGet": object{"port": 80}}}, object{"postStart": object{"exec": object{"command": []any{"true"}}}}},
		[]any{object{"preStop": object{"httpGet": object{"port": 80, "host": "10.0.0.1"}}}, object{"postStart": object{"httpGet": object{"port": 80, "host": "10.0.0.1"}}},
			object{"preStop": object{"tcpSocket": object{"port": 80, "host": "10.0.0.1"}}}, object{"postStart": object{"tcpSocket": object{"port": 80, "host": "10.0.0.1"}}}},
		[]any{nil, object{}, object{"preStop": nil, "postStart": object{"httpGet": object{"port": 80, "host": ""}}}}},
	{"annotation", podOnly,
		[]any{object{apparmor + "web": "runtime/default"}, object{apparmor + "web": "localhost/shop"}, object{"example.org/x": "unconfined"}},
		[]any{object{apparmor + "web": "unconfined"}, object{apparmor + "nobody": "unconfined"}, object{apparmor + "setup": "Localhost/shop"}},
		[]any{object{apparmor + "web": ""}, object{apparmor + "web": nil}}},
}

const apparmor = "container.apparmor.security.beta.kubernetes.io/"

func sysctls(names ...string) []any {
	out := make([]any, len(names))
	for i, name := range names {
		out[i] = object{"name": name, "value": "1"}
	}
	return out
}

// asked is a pod, and how it came about.
type asked struct {
	name string
	pod  object
}

// base is a pod that restricted takes, or with bare one that says nothing.
func base(bare bool, used []string) object {
	spec := object{}
	names := map[string]string{"containers": "web", "initContainers": "setup", "ephemeralContainers": "debug"}
	for _, list := range used {
		container := object{"name": names[list], "image": "registry.example.com/shop:1"}
		if !bare {
			container["securityContext"] = object{"allowPrivilegeEscalation": false, "capabilities": object{"drop": []any{"ALL"}}}
		}
		spec[list] = []any{container}
	}
	if !bare {
		spec["securityContext"] = object{"runAsNonRoot": true, "seccompProfile": object{"type": "RuntimeDefault"}}
	}
	return object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": "shop"}, "spec": spec}
}

// set puts a value at a place of a pod, if the pod has that place.
func set(p object, place, path string, value any) {
	value = copied(value)
	spec := p["spec"].(object)
	if path == "annotation" {
		p["metadata"].(object)["annotations"] = value
		return
	}
	within := []object{spec}
	if place != pod {
		within = listOf(spec, place)
	}
	parts := strings.Split(path, ".")
	for _, at := range within {
		for _, part := range parts[:len(parts)-1] {
			below, ok := at[part].(object)
			if !ok {
				below = object{}
				at[part] = below
			}
			at = below
		}
		at[parts[len(parts)-1]] = value
	}
}

func listOf(spec object, list string) []object {
	var out []object
	all, _ := spec[list].([]any)
	for _, c := range all {
		out = append(out, c.(object))
	}
	return out
}

func copied(value any) any {
	var out any
	if err := json.Unmarshal(must(json.Marshal(value)), &out); err != nil {
		panic(err)
	}
	return out
}

// variants are what relaxes a rule.
var variants = []struct {
	name string
	set  func(object)
}{
	{"", func(object) {}},
	{" windows", func(p object) { set(p, pod, "os", object{"name": "windows"}) }},
	{" hostUsers=false", func(p object) { set(p, pod, "hostUsers", false) }},
}

// single has each field with each value at each place, in a pod that restricted
// takes but for that and in one that says nothing, with all that relaxes.
func single(used []string, odd bool) []asked {
	var out []asked
	for _, f := range fields {
		for _, value := range f.values(odd) {
			for _, place := range f.places {
				if place != pod && !slices.Contains(used, place) {
					continue
				}
				for _, bare := range []bool{false, true} {
					for _, variant := range variants {
						p := base(bare, used)
						variant.set(p)
						set(p, place, f.path, value)
						out = append(out, asked{fmt.Sprintf("%s %s=%s bare=%v%s", place, f.path, must(json.Marshal(value)), bare, variant.name), p})
					}
				}
			}
		}
	}
	return out
}

func (f field) values(odd bool) []any {
	out := append(slices.Clone(f.allowed), f.forbidden...)
	if odd {
		out = append(out, f.odd...)
	}
	return out
}

// mixed has several fields at once, several containers in a list, and values that
// are more often allowed than not, so that both verdicts are frequent.
func mixed(random *rand.Rand, n int, used []string, odd bool) []asked {
	var out []asked
	for i := range n {
		p := base(random.IntN(4) == 0, used)
		spec := p["spec"].(object)
		for _, list := range used {
			if random.IntN(3) == 0 {
				second := copied(spec[list].([]any)[0]).(object)
				second["name"] = second["name"].(string) + "2"
				spec[list] = append(spec[list].([]any), second)
			}
			if list != "containers" && random.IntN(4) == 0 {
				delete(spec, list)
			}
		}
		for range random.IntN(7) {
			f := fields[random.IntN(len(fields))]
			values := f.values(odd)
			if random.IntN(3) > 0 {
				values = f.allowed
			}
			place := f.places[random.IntN(len(f.places))]
			value := values[random.IntN(len(values))]
			if found := listOf(spec, place); len(found) > 1 && random.IntN(2) == 0 {
				// In one of the containers only.
				one := object{"metadata": p["metadata"], "spec": object{place: []any{found[random.IntN(len(found))]}}}
				set(one, place, f.path, value)
				continue
			}
			set(p, place, f.path, value)
		}
		out = append(out, asked{fmt.Sprintf("mixed %d", i), p})
	}
	return out
}
