package gate

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// storyRelease is a Helm release in its Secret, in place of an object:
//
//	-- release --, -- old release --
type storyRelease struct {
	Name, Namespace, In, Status, Manifest string
	Version                               int
	Hooks                                 []storyHook
	// What Helm would not write.
	SecretName, Type, LabelStatus, JSON string
	Labels                              map[string]string
	Annotations                         map[string]string
	MiB                                 int    // of the chart
	Chart                               string // what it holds
}

type storyHook struct {
	Manifest string   `json:"manifest"`
	Events   []string `json:"events"`
	LastRun  any      `json:"last_run,omitempty"`
}

func releaseSecret(t *testing.T, data []byte) []byte {
	t.Helper()
	var r storyRelease
	strict(t, data, &r)
	return releaseOf(t, &r)
}

func releaseOf(t testing.TB, r *storyRelease) []byte {
	t.Helper()
	labels := map[string]string{"name": r.Name, "owner": "helm", "version": strconv.Itoa(r.Version), "status": r.Status, "createdAt": "1763640000"}
	for k, v := range r.Labels {
		labels[k] = v
	}
	if r.LabelStatus != "" {
		labels["status"] = r.LabelStatus
	}
	if r.SecretName == "" {
		r.SecretName = fmt.Sprintf("sh.helm.release.v1.%s.v%d", r.Name, r.Version)
	}
	if r.Type == "" {
		r.Type = releaseType
	}
	if r.In == "" {
		r.In = r.Namespace
	}
	meta := map[string]any{"name": r.SecretName, "namespace": r.In, "labels": labels}
	if r.Annotations != nil {
		meta["annotations"] = r.Annotations
	}
	secret, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Secret", "type": r.Type, "metadata": meta,
		"data": map[string]any{"release": base64.StdEncoding.EncodeToString([]byte(packed(t, r.json(t))))}})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func (r *storyRelease) json(t testing.TB) []byte {
	t.Helper()
	if r.JSON != "" {
		return []byte(r.JSON)
	}
	data, err := json.Marshal(map[string]any{"name": r.Name, "namespace": r.Namespace, "version": r.Version, "manifest": r.Manifest, "hooks": r.Hooks,
		"info":  map[string]any{"status": r.Status, "description": "hunter2", "first_deployed": "2026-11-20T12:00:00Z"},
		"chart": map[string]any{"metadata": map[string]any{"name": "shop"}, "files": strings.Repeat("0", r.MiB<<20), "templates": r.Chart}, "config": map[string]any{"password": "hunter2"}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func packed(t testing.TB, data []byte) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// FuzzRelease: whatever a Secret holds, it is read within its bounds or refused,
// and what is read is what Helm's own decoder makes of it.
func FuzzRelease(f *testing.F) {
	f.Add([]byte(`{"name":"web","info":{"status":"deployed"},"version":3,"namespace":"shop","manifest":"---\nkind: List\nitems: [{}]\n"}`))
	f.Add([]byte(`{"name":"web","Name":"other","version":1}`))
	f.Add([]byte(`{"manifest":"{}","hooks":[{"manifest":"a","events":["test"]},{}],"info":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRelease(data)
		if err != nil {
			return
		}
		var helms struct {
			Name      string `json:"name,omitempty"`
			Namespace string `json:"namespace,omitempty"`
			Version   int    `json:"version,omitempty"`
			Manifest  string `json:"manifest,omitempty"`
			Hooks     []*struct {
				Manifest string   `json:"manifest,omitempty"`
				Events   []string `json:"events,omitempty"`
			} `json:"hooks,omitempty"`
			Info *struct {
				Status string `json:"status,omitempty"`
			} `json:"info,omitempty"`
		}
		if err := json.Unmarshal(data, &helms); err != nil {
			return
		}
		if r.name != helms.Name || r.namespace != helms.Namespace || r.version != helms.Version || r.manifest != helms.Manifest || len(r.hooks) != len(helms.Hooks) {
			t.Fatalf("read %+v, Helm reads %+v", r, helms)
		}
		for i, h := range helms.Hooks {
			if h != nil && h.Manifest != r.hooks[i].manifest {
				t.Fatalf("hook %d: read %q, Helm reads %q", i, r.hooks[i].manifest, h.Manifest)
			}
		}
		if helms.Info != nil && helms.Info.Status != r.status {
			t.Fatalf("status %q, Helm reads %q", r.status, helms.Info.Status)
		}
		if _, err := objectsOf(r.manifest); err == nil && len(r.manifest) > 1<<20 {
			t.Skip()
		}
	})
}
