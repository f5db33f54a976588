package gate

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
)

// TestSpelling: random objects of the built-in kinds and of two custom ones. How
// a manifest is spelt (the order of keys, quantities, defaults written out or
// left out, nulls and empty maps) never changes the verdict, for what is admitted
// as for what is refused; any edit that means something always does.
func TestSpelling(t *testing.T) {
	schemas, errs := canonical.New([]byte(widgetCRD), []byte(looseCRD))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue && !testing.Short() {
		defer f.Value.Set(f.Value.String())
		f.Value.Set("2000")
	}
	kinds := slices.Sorted(maps.Keys(generators))
	seen := map[string]int{}
	var n tally
	rapid.Check(t, func(r *rapid.T) {
		kind := rapid.SampledFrom(kinds).Draw(r, "kind")
		manifest := generators[kind](draw{r})
		m := manifestOf(r, schemas, manifest)
		g := gateFor(schemas, m)
		seen[kind]++
		n.objects++
		served := m.Canonical
		var others []*Gate
		for range 3 {
			spelt := manifestOf(r, schemas, respell(r, schemas, m, manifest))
			n.spellings++
			if !bytes.Equal(normal(r, spelt.Canonical), normal(r, served)) {
				r.Fatalf("%s: spelt\n%s\nit becomes\n%s\nand not\n%s", kind, spelt.Raw, spelt.Canonical, served)
			}
			other := gateFor(schemas, spelt)
			others = append(others, other)
			for _, old := range [][]byte{nil, served} {
				if d := other.Decide(context.Background(), requestFor(spelt, served, old)); !d.Allowed || old == nil && !d.Traced {
					r.Fatalf("%s: Git spells it\n%s\nand the cluster's\n%s\nis not it: %s", kind, spelt.Raw, served, d.Message())
				}
			}
		}
		n.tryEdits(r, g, others, schemas, m)
	})
	t.Logf("%d objects of %d kinds %v; %d spellings, none changed a verdict; %d edits sent, %d refused, %d say nothing, %d leave a default out; %d refused ones spelt in other ways, none was admitted",
		n.objects, len(seen), seen, n.spellings, n.edits, n.refused, n.nothing, n.defaults, n.respelt)
	// What is skipped is skipped for a reason; were that most of it, nothing would be shown.
	if meant := n.edits - n.nothing; float64(n.refused) < 0.9*float64(meant) {
		t.Errorf("of %d edits that say something %d are refused: less than 90 %%", meant, n.refused)
	}
	if len(seen) < len(kinds) && !testing.Short() {
		t.Errorf("only %d of %d kinds were drawn", len(seen), len(kinds))
	}
}

// tally counts over all objects.
type tally struct{ objects, spellings, edits, refused, nothing, defaults, respelt int }

// tryEdits makes a dozen of all single edits that there are. What is refused is
// so however the request is spelt, and the manifest.
func (n *tally) tryEdits(r *rapid.T, g *Gate, others []*Gate, schemas *canonical.Schemas, m *gitindex.Manifest) {
	original, err := decodeObject(m.Canonical)
	if err != nil {
		r.Fatal(err)
	}
	declaredJSON, err := schemas.Declared(m.Raw, version(m))
	if err != nil {
		r.Fatal(err)
	}
	declared, _ := decodeObject(declaredJSON)
	shape := schemas.Shape(m.Ref.Group, version(m), m.Ref.Kind)
	total := 0
	edits(original, func(edit) { total++ })
	chosen := map[int]bool{}
	for range 12 {
		chosen[rapid.IntRange(0, total-1).Draw(r, "edit")] = true
	}
	i := -1
	edits(original, func(e edit) {
		i++
		if !chosen[i] || isIdentity(e.path) {
			return
		}
		edited, err := json.Marshal(original)
		if err != nil {
			r.Fatal(err)
		}
		for _, old := range [][]byte{nil, m.Canonical} {
			n.edits++
			d := g.Decide(context.Background(), requestFor(m, edited, old))
			switch {
			case !d.Allowed:
				n.refused++
				request := shuffled(r, respelt(r, shape, original, absent, nil))
				for _, other := range append(others, g) {
					n.respelt++
					if again := other.Decide(context.Background(), requestFor(m, request, old)); again.Allowed {
						r.Fatalf("%v: %s of %s is refused as\n%s\nand admitted as\n%s", m.Ref, e.kind, pathText(e.path), edited, request)
					}
				}
			case saysNothing(shape, e):
				n.nothing++
			case (e.kind == "remove" || isEmpty(e.now)) && lookup(declared, e.path) == absent:
				n.defaults++
			default:
				r.Fatalf("%v: %s of %s admitted: %s\n%s", m.Ref, e.kind, pathText(e.path), d.Reason, edited)
			}
		}
	})
}

// isIdentity: another name is another object.
func isIdentity(path []segment) bool {
	switch len(path) {
	case 1:
		return path[0].name == "apiVersion" || path[0].name == "kind"
	case 2:
		return path[0].name == "metadata" && (path[1].name == "name" || path[1].name == "namespace")
	}
	return false
}

func manifestOf(r *rapid.T, schemas *canonical.Schemas, manifest any) *gitindex.Manifest {
	raw := shuffled(r, manifest)
	v, err := decodeObject(raw)
	if err != nil {
		r.Fatal(err)
	}
	m := &gitindex.Manifest{APIVersion: text(v["apiVersion"]), Origin: "platform", Path: "a.yaml", Line: 1, Raw: raw,
		Commit: &gitindex.Commit{ID: "1", Verdict: gitindex.Verdict{Outcome: gitindex.Good}}}
	m.Ref = gitindex.Ref{Group: groupOf(m.APIVersion), Kind: text(v["kind"]), Namespace: text(dig(v, "metadata", "namespace")), Name: text(dig(v, "metadata", "name"))}
	if m.Canonical, err = schemas.Canonical(raw, version(m)); err != nil {
		r.Fatalf("%s: %v", raw, err)
	}
	return m
}

func normal(r *rapid.T, data []byte) []byte {
	v, err := decodeObject(data)
	if err != nil {
		r.Fatal(err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		r.Fatal(err)
	}
	return out
}

// shuffled writes JSON with its keys in a random order.
func shuffled(r *rapid.T, v any) []byte {
	var b bytes.Buffer
	writeShuffled(r, &b, v)
	return b.Bytes()
}

func writeShuffled(r *rapid.T, b *bytes.Buffer, v any) {
	switch x := v.(type) {
	case map[string]any:
		keys := slices.Sorted(maps.Keys(x))
		if len(keys) > 1 {
			keys = rapid.Permutation(keys).Draw(r, "keys")
		}
		b.WriteByte('{')
		for i, k := range keys {
			if i > 0 {
				b.WriteByte(',')
			}
			name, _ := json.Marshal(k)
			b.Write(name)
			b.WriteByte(':')
			writeShuffled(r, b, x[k])
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i := range x {
			if i > 0 {
				b.WriteByte(',')
			}
			writeShuffled(r, b, x[i])
		}
		b.WriteByte(']')
	default:
		data, err := json.Marshal(x)
		if err != nil {
			r.Fatal(err)
		}
		b.Write(data)
	}
}

// respell says the same in another way.
func respell(r *rapid.T, schemas *canonical.Schemas, m *gitindex.Manifest, manifest any) any {
	full, err := decodeObject(m.Canonical)
	if err != nil {
		r.Fatal(err)
	}
	shape := schemas.Shape(m.Ref.Group, version(m), m.Ref.Kind)
	spelt := respelt(r, shape, manifest, full, nil)
	if m.Ref.Kind == "Secret" {
		return secretly(r, spelt.(map[string]any))
	}
	return spelt
}

// secretly says a Secret's data in clear or in base64.
func secretly(r *rapid.T, secret map[string]any) any {
	clear, _ := secret["stringData"].(map[string]any)
	coded, _ := secret["data"].(map[string]any)
	if !rapid.Bool().Draw(r, "the other way") {
		return secret
	}
	delete(secret, "stringData")
	delete(secret, "data")
	for k, v := range clear {
		put(secret, "data", k, base64.StdEncoding.EncodeToString([]byte(v.(string))))
	}
	for k, v := range coded {
		text, err := base64.StdEncoding.DecodeString(v.(string))
		if err != nil {
			r.Fatal(err)
		}
		put(secret, "stringData", k, string(text))
	}
	return secret
}

func put(o map[string]any, field, k string, v any) {
	if o[field] == nil {
		o[field] = map[string]any{}
	}
	o[field].(map[string]any)[k] = v
}

func respelt(r *rapid.T, s canonical.Shape, v, full any, path []string) any {
	switch x := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for _, k := range slices.Sorted(maps.Keys(x)) {
			out[k] = respelt(r, s.Field(k), x[k], at(full, k), append(path[:len(path):len(path)], k))
		}
		f, _ := full.(map[string]any)
		for _, k := range slices.Sorted(maps.Keys(f)) {
			if _, ok := out[k]; !ok && len(path) > 0 && !isServers(path, k) && rapid.Bool().Draw(r, "default") {
				out[k] = f[k] // a default, written out
			}
		}
		if _, has := x["labels"]; len(path) == 1 && path[0] == "metadata" && !has && rapid.Bool().Draw(r, "empty") {
			out["labels"] = rapid.SampledFrom([]any{nil, map[string]any{}}).Draw(r, "labels")
		}
		return out
	case []any:
		fl := asList(full)
		out := make([]any, len(x))
		for i := range x {
			var fi any = absent
			if len(fl) == len(x) {
				fi = fl[i]
			}
			out[i] = respelt(r, s.Item(), x[i], fi, append(path[:len(path):len(path)], "[]"))
		}
		return out
	case string:
		return requantified(r, x, path)
	}
	return v
}

// isServers: what is in the canonical form but belongs in no manifest. A
// Secret's data are there under two names.
func isServers(path []string, k string) bool {
	return k == "creationTimestamp" || k == "status" || k == "data" || k == "stringData"
}

var sameQuantity = map[string][]any{
	"500m": {"0.5", "500m"}, "1Gi": {"1024Mi", "1Gi"}, "2": {"2", int64(2), "2000m"}, "100m": {"0.1", "100m"}, "64Mi": {"65536Ki", "64Mi"}, "1": {"1", int64(1), "1000m"}}

func requantified(r *rapid.T, s string, path []string) any {
	if same := sameQuantity[s]; same != nil && isQuantity(path) {
		return rapid.SampledFrom(same).Draw(r, "quantity")
	}
	return s
}

func isQuantity(path []string) bool {
	p := strings.Join(path, ".")
	return strings.Contains(p, ".requests.") || strings.Contains(p, ".limits.") || strings.Contains(p, ".hard.") || strings.Contains(p, ".default.")
}

const widgetCRD = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.example.org"},"spec":{"group":"example.org",
"names":{"kind":"Widget","plural":"widgets"},"scope":"Namespaced","versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{}},"schema":{"openAPIV3Schema":{"type":"object","properties":{
"spec":{"type":"object","properties":{"size":{"type":"integer","default":3},"port":{"x-kubernetes-int-or-string":true},"mode":{"type":"string","default":"auto"},
"tags":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}},
"parts":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],"items":{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"weight":{"type":"integer","default":1}}}},
"note":{"type":"string","nullable":true}}},"status":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}}]}}`

const looseCRD = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"looses.example.org"},"spec":{"group":"example.org",
"names":{"kind":"Loose","plural":"looses"},"scope":"Cluster","versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}`

// draw draws the parts that objects are made of.
type draw struct{ *rapid.T }

func (d draw) word(label string) string {
	return rapid.StringMatching(`[a-z]{1,6}`).Draw(d.T, label)
}

func (d draw) maybe(m map[string]any, key string, value func() any) {
	if rapid.Bool().Draw(d.T, "has "+key) {
		m[key] = value()
	}
}

func (d draw) number(least, most int) any {
	return int64(rapid.IntRange(least, most).Draw(d.T, "number"))
}

func (d draw) words() any {
	m := map[string]any{}
	for range rapid.IntRange(1, 3).Draw(d.T, "words") {
		m[d.word("key")] = d.word("value")
	}
	return m
}

func (d draw) named(n int, item func(name string) map[string]any) any {
	out := []any{}
	for i := range rapid.IntRange(1, n).Draw(d.T, "items") {
		out = append(out, item(fmt.Sprintf("%s%d", d.word("name"), i)))
	}
	return out
}

func (d draw) object(apiVersion, kind string, namespaced bool) map[string]any {
	meta := map[string]any{"name": d.word("name")}
	if namespaced {
		meta["namespace"] = d.word("namespace")
	}
	d.maybe(meta, "labels", d.words)
	d.maybe(meta, "annotations", d.words)
	return map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": meta}
}

func (d draw) resources() any {
	r := map[string]any{}
	d.maybe(r, "requests", func() any {
		return map[string]any{"cpu": rapid.SampledFrom([]string{"500m", "100m", "2"}).Draw(d.T, "cpu")}
	})
	d.maybe(r, "limits", func() any {
		return map[string]any{"memory": rapid.SampledFrom([]string{"1Gi", "64Mi"}).Draw(d.T, "memory")}
	})
	return r
}

func (d draw) container(name string) map[string]any {
	c := map[string]any{"name": name, "image": d.word("image") + ":" + d.word("tag")}
	d.maybe(c, "resources", d.resources)
	d.maybe(c, "args", func() any { return []any{d.word("arg"), d.word("arg")} })
	d.maybe(c, "env", func() any {
		return d.named(3, func(n string) map[string]any { return map[string]any{"name": n, "value": d.word("value")} })
	})
	d.maybe(c, "ports", func() any { return []any{map[string]any{"containerPort": d.number(1, 9999), "name": "http"}} })
	d.maybe(c, "securityContext", func() any {
		return map[string]any{"runAsNonRoot": true, "capabilities": map[string]any{"drop": []any{"ALL"}}}
	})
	d.maybe(c, "livenessProbe", func() any {
		return map[string]any{"httpGet": map[string]any{"path": "/", "port": rapid.SampledFrom([]any{"http", int64(80)}).Draw(d.T, "port")}}
	})
	return c
}

func (d draw) podSpec() map[string]any {
	s := map[string]any{"containers": d.named(2, d.container)}
	d.maybe(s, "initContainers", func() any {
		return []any{map[string]any{"name": "init", "image": d.word("image")}}
	})
	d.maybe(s, "serviceAccountName", func() any { return d.word("account") })
	d.maybe(s, "volumes", func() any {
		return d.named(2, func(n string) map[string]any { return map[string]any{"name": n, "emptyDir": map[string]any{}} })
	})
	d.maybe(s, "nodeSelector", d.words)
	d.maybe(s, "tolerations", func() any { return []any{map[string]any{"key": d.word("key"), "operator": "Exists"}} })
	return s
}

func (d draw) workload(kind string, more func(spec map[string]any)) map[string]any {
	labels := map[string]any{"app": d.word("app")}
	spec := map[string]any{"selector": map[string]any{"matchLabels": labels}, "template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": d.podSpec()}}
	more(spec)
	o := d.object("apps/v1", kind, true)
	o["spec"] = spec
	return o
}

func (d draw) with(o map[string]any, fields map[string]any) map[string]any {
	maps.Copy(o, fields)
	return o
}

var generators = map[string]func(d draw) map[string]any{
	"ConfigMap": func(d draw) map[string]any {
		return d.with(d.object("v1", "ConfigMap", true), map[string]any{"data": d.words()})
	},
	"Secret": func(d draw) map[string]any {
		o := d.object("v1", "Secret", true)
		for k, v := range d.words().(map[string]any) {
			if rapid.Bool().Draw(d.T, "in clear") {
				put(o, "stringData", k, v)
			} else {
				put(o, "data", k, base64.StdEncoding.EncodeToString([]byte(v.(string))))
			}
		}
		return o
	},
	"Pod": func(d draw) map[string]any {
		return d.with(d.object("v1", "Pod", true), map[string]any{"spec": d.podSpec()})
	},
	"ReplicaSet": func(d draw) map[string]any {
		return d.workload("ReplicaSet", func(s map[string]any) { d.maybe(s, "replicas", func() any { return d.number(0, 9) }) })
	},
	"Job": func(d draw) map[string]any {
		pod := d.podSpec()
		pod["restartPolicy"] = "Never"
		// Each of the two has a default only where the other is not given.
		spec := map[string]any{"completions": d.number(1, 9), "parallelism": d.number(1, 9), "template": map[string]any{"spec": pod}}
		d.maybe(spec, "backoffLimit", func() any { return d.number(0, 9) })
		d.maybe(spec, "suspend", func() any { return rapid.Bool().Draw(d.T, "suspended") })
		return d.with(d.object("batch/v1", "Job", true), map[string]any{"spec": spec})
	},
	"Namespace": func(d draw) map[string]any { return d.object("v1", "Namespace", false) },
	"PersistentVolume": func(d draw) map[string]any {
		spec := map[string]any{"capacity": map[string]any{"storage": "1Gi"}, "accessModes": []any{"ReadWriteOnce"}, "storageClassName": d.word("class"),
			"hostPath": map[string]any{"path": "/" + d.word("path")}}
		d.maybe(spec, "persistentVolumeReclaimPolicy", func() any {
			return rapid.SampledFrom([]string{"Retain", "Delete"}).Draw(d.T, "policy")
		})
		return d.with(d.object("v1", "PersistentVolume", false), map[string]any{"spec": spec})
	},
	"StorageClass": func(d draw) map[string]any {
		o := d.with(d.object("storage.k8s.io/v1", "StorageClass", false), map[string]any{"provisioner": d.word("provisioner") + ".example.org"})
		d.maybe(o, "parameters", d.words)
		d.maybe(o, "allowVolumeExpansion", func() any { return rapid.Bool().Draw(d.T, "expands") })
		return o
	},
	"Role": func(d draw) map[string]any {
		return d.with(d.object("rbac.authorization.k8s.io/v1", "Role", true), map[string]any{"rules": []any{
			map[string]any{"apiGroups": []any{""}, "resources": []any{"secrets", d.word("resource")}, "verbs": []any{"get", "list"}, "resourceNames": []any{d.word("one")}}}})
	},
	"ClusterRoleBinding": func(d draw) map[string]any {
		return d.with(d.object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", false), map[string]any{
			"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": d.word("role")},
			"subjects": []any{map[string]any{"kind": "Group", "name": d.word("group")}, map[string]any{"kind": "ServiceAccount", "name": d.word("account"), "namespace": "x"}}})
	},
	"ServiceAccount": func(d draw) map[string]any {
		o := d.object("v1", "ServiceAccount", true)
		d.maybe(o, "automountServiceAccountToken", func() any { return rapid.Bool().Draw(d.T, "mount") })
		return o
	},
	"Deployment": func(d draw) map[string]any {
		return d.workload("Deployment", func(s map[string]any) { d.maybe(s, "replicas", func() any { return d.number(0, 9) }) })
	},
	"StatefulSet": func(d draw) map[string]any {
		return d.workload("StatefulSet", func(s map[string]any) { s["serviceName"] = d.word("service") })
	},
	"DaemonSet": func(d draw) map[string]any { return d.workload("DaemonSet", func(map[string]any) {}) },
	"CronJob": func(d draw) map[string]any {
		pod := d.podSpec()
		pod["restartPolicy"] = "Never"
		return d.with(d.object("batch/v1", "CronJob", true), map[string]any{"spec": map[string]any{"schedule": "0 * * * *",
			"jobTemplate": map[string]any{"spec": map[string]any{"template": map[string]any{"spec": pod}}}}})
	},
	"Service": func(d draw) map[string]any {
		return d.with(d.object("v1", "Service", true), map[string]any{"spec": map[string]any{"clusterIP": "None", "selector": d.words(),
			"ports": []any{map[string]any{"port": d.number(1, 9999), "name": "a"}, map[string]any{"port": d.number(10000, 20000), "name": "b", "protocol": "UDP"}}}})
	},
	"Ingress": func(d draw) map[string]any {
		return d.with(d.object("networking.k8s.io/v1", "Ingress", true), map[string]any{"spec": map[string]any{"ingressClassName": d.word("class"), "rules": []any{map[string]any{
			"host": d.word("host") + ".example.org", "http": map[string]any{"paths": []any{map[string]any{"path": "/", "pathType": "Prefix",
				"backend": map[string]any{"service": map[string]any{"name": d.word("service"), "port": map[string]any{"number": d.number(1, 9999)}}}}}}}}}})
	},
	"NetworkPolicy": func(d draw) map[string]any {
		spec := map[string]any{"podSelector": map[string]any{}, "policyTypes": []any{"Ingress"}}
		d.maybe(spec, "ingress", func() any {
			return []any{map[string]any{"from": []any{map[string]any{"podSelector": map[string]any{"matchLabels": d.words()}}}}}
		})
		return d.with(d.object("networking.k8s.io/v1", "NetworkPolicy", true), map[string]any{"spec": spec})
	},
	"ClusterRole": func(d draw) map[string]any {
		return d.with(d.object("rbac.authorization.k8s.io/v1", "ClusterRole", false), map[string]any{"rules": []any{
			map[string]any{"apiGroups": []any{""}, "resources": []any{"configmaps", d.word("resource")}, "verbs": []any{"get", "list"}},
			map[string]any{"apiGroups": []any{"apps"}, "resources": []any{"deployments"}, "verbs": []any{"watch"}}}})
	},
	"RoleBinding": func(d draw) map[string]any {
		return d.with(d.object("rbac.authorization.k8s.io/v1", "RoleBinding", true), map[string]any{
			"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": d.word("role")},
			"subjects": []any{map[string]any{"kind": "User", "name": d.word("user")}, map[string]any{"kind": "ServiceAccount", "name": d.word("account"), "namespace": "x"}}})
	},
	"HorizontalPodAutoscaler": func(d draw) map[string]any {
		return d.with(d.object("autoscaling/v2", "HorizontalPodAutoscaler", true), map[string]any{"spec": map[string]any{"maxReplicas": d.number(3, 9),
			"scaleTargetRef": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": d.word("target")}}})
	},
	"PodDisruptionBudget": func(d draw) map[string]any {
		return d.with(d.object("policy/v1", "PodDisruptionBudget", true), map[string]any{"spec": map[string]any{
			"minAvailable": rapid.SampledFrom([]any{int64(1), "50%"}).Draw(d.T, "min"), "selector": map[string]any{"matchLabels": d.words()}}})
	},
	"PersistentVolumeClaim": func(d draw) map[string]any {
		return d.with(d.object("v1", "PersistentVolumeClaim", true), map[string]any{"spec": map[string]any{"accessModes": []any{"ReadWriteOnce"},
			"storageClassName": d.word("class"), "resources": map[string]any{"requests": map[string]any{"storage": "1Gi"}}}})
	},
	"ResourceQuota": func(d draw) map[string]any {
		return d.with(d.object("v1", "ResourceQuota", true), map[string]any{"spec": map[string]any{"hard": map[string]any{"pods": "2", "requests.cpu": "500m"}}})
	},
	"LimitRange": func(d draw) map[string]any {
		return d.with(d.object("v1", "LimitRange", true), map[string]any{"spec": map[string]any{"limits": []any{map[string]any{"type": "Container",
			"default": map[string]any{"cpu": "500m"}}}}})
	},
	"PriorityClass": func(d draw) map[string]any {
		return d.with(d.object("scheduling.k8s.io/v1", "PriorityClass", false), map[string]any{"value": d.number(1, 9)})
	},
	"Widget": func(d draw) map[string]any {
		spec := map[string]any{"port": rapid.SampledFrom([]any{int64(80), "http"}).Draw(d.T, "port")}
		d.maybe(spec, "size", func() any { return d.number(1, 9) })
		d.maybe(spec, "tags", func() any { return []any{"a" + d.word("tag"), "b" + d.word("tag")} })
		d.maybe(spec, "parts", func() any {
			return d.named(3, func(n string) map[string]any {
				p := map[string]any{"name": n}
				d.maybe(p, "weight", func() any { return d.number(2, 9) })
				return p
			})
		})
		return d.with(d.object("example.org/v1", "Widget", true), map[string]any{"spec": spec})
	},
	"Loose": func(d draw) map[string]any {
		return d.with(d.object("example.org/v1", "Loose", false), map[string]any{"anything": map[string]any{"goes": []any{d.number(1, 9), d.word("x"), d.words()}}})
	},
}
