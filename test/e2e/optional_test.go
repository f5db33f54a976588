package e2e

import "slices"

// optional adds what the object's schema would take and its author left out.
// What a map is, is told by what is in it.
func (e *editor) optional(path []any, m map[string]any) {
	for _, kind := range []struct {
		is     func(path []any, m map[string]any) bool
		fields map[string]any
	}{
		{isPodSpec, podSpecFields}, {isContainer, containerFields}, {isService, serviceFields}, {isRule, ruleFields},
		{isNetworkPolicy, networkPolicyFields}, {isWorkload, workloadFields}, {isTemplate, templateFields},
	} {
		if kind.is(path, m) {
			e.fill(path, m, kind.fields)
		}
	}
	if isTexts(path, m) {
		e.add("add a key", append(slices.Clone(path), "evil"), func(c container) { c.fields["evil"] = "ZXZpbA==" })
	}
	if len(path) == 0 {
		e.fill(path, m, topFields[text(m["kind"])])
	}
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// fill adds the fields that are not there, and an item to the lists that are.
func (e *editor) fill(path []any, m map[string]any, fields map[string]any) {
	for key, value := range fields {
		at := append(slices.Clone(path), key)
		had, isList := m[key].([]any)
		items, addItems := value.([]any)
		switch {
		case m[key] == nil:
			e.add("add a field", at, func(c container) { c.fields[key] = deepCopy(value) })
		case isList && addItems:
			e.add("add a new item", at, func(c container) { c.fields[key] = append(slices.Clone(had), deepCopy(items[0])) })
		}
	}
}

func has(m map[string]any, keys ...string) bool {
	for _, k := range keys {
		if _, ok := m[k]; !ok {
			return false
		}
	}
	return true
}

func last(path []any) string {
	if len(path) == 0 {
		return ""
	}
	name, _ := path[len(path)-1].(string)
	return name
}

func isPodSpec(path []any, m map[string]any) bool {
	return last(path) == "spec" && has(m, "containers")
}
func isContainer(_ []any, m map[string]any) bool {
	return has(m, "name", "image", "terminationMessagePath")
}
func isService(path []any, m map[string]any) bool {
	return pathText(path) == "spec" && has(m, "clusterIP")
}
func isRule(_ []any, m map[string]any) bool { return has(m, "verbs") }
func isWorkload(path []any, m map[string]any) bool {
	return pathText(path) == "spec" && has(m, "template")
}
func isTemplate(path []any, m map[string]any) bool { return pathText(path) == "spec.template.metadata" }
func isNetworkPolicy(p []any, m map[string]any) bool {
	return pathText(p) == "spec" && has(m, "podSelector")
}

var textMaps = []string{"labels", "annotations", "data", "binaryData", "selector", "matchLabels", "nodeSelector", "limits", "requests", "parameters"}

func isTexts(path []any, m map[string]any) bool {
	if !slices.Contains(textMaps, last(path)) {
		return false
	}
	for _, v := range m {
		if _, ok := v.(string); !ok {
			return false
		}
	}
	return true
}

type object = map[string]any

var podSpecFields = object{
	"hostNetwork": true, "hostPID": true, "hostIPC": true, "hostUsers": false, "nodeName": "evil", "nodeSelector": object{"evil": "true"},
	"serviceAccountName": "evil", "automountServiceAccountToken": true, "shareProcessNamespace": true, "enableServiceLinks": false,
	"initContainers":   []any{object{"name": "evil-init", "image": "evil"}},
	"containers":       []any{object{"name": "evil", "image": "evil"}},
	"volumes":          []any{object{"name": "evil", "hostPath": object{"path": "/"}}},
	"tolerations":      []any{object{"operator": "Exists"}},
	"affinity":         object{"nodeAffinity": object{}},
	"dnsConfig":        object{"nameservers": []any{"192.0.2.1"}},
	"hostAliases":      []any{object{"ip": "192.0.2.1", "hostnames": []any{"evil"}}},
	"imagePullSecrets": []any{object{"name": "evil"}}, "priorityClassName": "system-node-critical", "runtimeClassName": "evil",
	"terminationGracePeriodSeconds": int64(1), "activeDeadlineSeconds": int64(1), "hostname": "evil", "subdomain": "evil",
	"topologySpreadConstraints": []any{object{"maxSkew": int64(1), "topologyKey": "evil", "whenUnsatisfiable": "ScheduleAnyway"}},
	"readinessGates":            []any{object{"conditionType": "evil.example.org/ready"}}, "os": object{"name": "linux"},
	"schedulerName": "evil", "setHostnameAsFQDN": true, "preemptionPolicy": "Never",
	"securityContext": object{"runAsUser": int64(0), "sysctls": []any{object{"name": "kernel.shm_rmid_forced", "value": "0"}}},
}

var containerFields = object{
	"command": []any{"/bin/evil"}, "args": []any{"--evil"}, "env": []any{object{"name": "EVIL", "value": "1"}},
	"envFrom": []any{object{"secretRef": object{"name": "evil"}}}, "ports": []any{object{"containerPort": int64(6666)}},
	"volumeDevices":   []any{object{"name": "evil", "devicePath": "/evil"}},
	"securityContext": object{"privileged": true}, "lifecycle": object{"postStart": object{"exec": object{"command": []any{"evil"}}}},
	"livenessProbe": object{"exec": object{"command": []any{"evil"}}}, "startupProbe": object{"tcpSocket": object{"port": int64(1)}},
	"stdin": true, "tty": true, "workingDir": "/evil", "resizePolicy": []any{object{"resourceName": "cpu", "restartPolicy": "NotRequired"}},
}

var serviceFields = object{
	"externalIPs": []any{"192.0.2.1"}, "selector": object{"evil": "true"}, "publishNotReadyAddresses": true, "loadBalancerIP": "192.0.2.1",
	"loadBalancerSourceRanges": []any{"0.0.0.0/0"}, "externalName": "evil.example.org", "healthCheckNodePort": int64(30000),
	"ports": []any{object{"name": "evil", "port": int64(6666)}}, "trafficDistribution": "PreferClose", "loadBalancerClass": "example.org/evil",
	"sessionAffinityConfig": object{"clientIP": object{"timeoutSeconds": int64(1)}},
}

var ruleFields = object{
	"verbs": []any{"*"}, "resources": []any{"secrets"}, "apiGroups": []any{"*"}, "resourceNames": []any{"evil"}, "nonResourceURLs": []any{"/evil"},
}

var networkPolicyFields = object{
	"ingress": []any{object{}}, "egress": []any{object{}}, "policyTypes": []any{"Egress"},
}

var workloadFields = object{
	"paused": true, "minReadySeconds": int64(1), "suspend": true, "ttlSecondsAfterFinished": int64(1), "manualSelector": true,
	"volumeClaimTemplates": []any{object{"metadata": object{"name": "evil"}, "spec": object{}}},
}

var templateFields = object{
	"labels": object{"evil": "true"}, "annotations": object{"evil": "true"}, "finalizers": []any{"example.org/evil"},
}

// topFields are what a kind takes beside its spec.
var topFields = map[string]object{
	"ConfigMap":      {"data": object{"evil": "1"}, "binaryData": object{"evil": "ZXZpbA=="}, "immutable": true},
	"Secret":         {"data": object{"evil": "ZXZpbA=="}, "stringData": object{"evil": "1"}, "immutable": true},
	"ServiceAccount": {"automountServiceAccountToken": true, "secrets": []any{object{"name": "evil"}}, "imagePullSecrets": []any{object{"name": "evil"}}},
	"ClusterRole": {"rules": []any{object{"apiGroups": []any{"*"}, "resources": []any{"*"}, "verbs": []any{"*"}}},
		"aggregationRule": object{"clusterRoleSelectors": []any{object{}}}},
	"Role":               {"rules": []any{object{"apiGroups": []any{"*"}, "resources": []any{"*"}, "verbs": []any{"*"}}}},
	"ClusterRoleBinding": {"subjects": []any{object{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "evil"}}},
	"RoleBinding":        {"subjects": []any{object{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "evil"}}},
	"StorageClass":       {"mountOptions": []any{"evil"}, "allowVolumeExpansion": true, "parameters": object{"evil": "1"}},
	"PriorityClass":      {"globalDefault": true, "preemptionPolicy": "Never"},
	"Namespace":          {"spec": object{"finalizers": []any{"example.org/evil"}}},
}

// metadata adds what steers other controllers: labels, annotations, owners and
// finalizers.
func (e *editor) metadata(obj map[string]any) {
	m, ok := obj["metadata"].(map[string]any)
	if !ok {
		return
	}
	e.fill([]any{"metadata"}, m, object{
		"labels": object{"evil": "true"}, "annotations": object{"evil": "true"}, "finalizers": []any{"example.org/evil"},
		"ownerReferences": []any{object{"apiVersion": "v1", "kind": "ConfigMap", "name": "evil", "uid": "3a0d2c5e-9f7f-4f0e-8d43-5d0a6c7c2d11"}},
	})
	for field, key := range map[string]string{"labels": "pod-security.kubernetes.io/enforce", "annotations": "kubectl.kubernetes.io/last-applied-configuration"} {
		if had, ok := m[field].(map[string]any); ok && had[key] == nil {
			e.add("add a key", []any{"metadata", field, key}, func(c container) { c.fields[key] = "privileged" })
		}
	}
}
