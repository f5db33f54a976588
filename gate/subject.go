package gate

import (
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
)

// subject is what a request would make of one object: both states without what
// no request can set, and the stamps apart, since they are judged apart.
type subject struct {
	ref                  gitindex.Ref
	apiVersion           string
	resource             string // with its group: "deployments.apps"
	uid                  string
	shape                canonical.Shape
	managed              *managedFields
	deleting             bool // somebody has deleted it, and finalizers hold it
	hasStatus            bool // status has a subresource of its own, and is not content here
	old, new             map[string]any
	oldStamps, newStamps map[string]string

	compared, same bool // what unchanged has found
}

func newSubject(schemas *canonical.Schemas, req *Request, o objects) *subject {
	s := &subject{
		ref:        req.Ref(),
		apiVersion: apiVersion(req.Group, req.Version),
		resource:   req.resource(),
		shape:      schemas.Shape(req.Group, req.Version, req.Kind),
		uid:        text(dig(o.new, "metadata", "uid")),
		managed:    managedFieldsOf(o.new),
		old:        o.old,
		new:        o.new,
	}
	if s.ref.Name == "" {
		s.ref.Name = text(dig(o.new, "metadata", "name"))
	}
	s.deleting = dig(o.old, "metadata", "deletionTimestamp") != absent
	s.hasStatus = schemas.HasStatus(req.Group, req.Version, req.Kind)
	s.newStamps = strip(s.new, s.hasStatus)
	if o.same() {
		s.oldStamps = s.newStamps
	} else {
		s.oldStamps = strip(s.old, s.hasStatus)
	}
	return s
}

// strip takes off an object what the API server alone sets, and its stamps,
// which it returns.
func strip(obj map[string]any, hasStatus bool) map[string]string {
	meta, ok := at(obj, "metadata").(map[string]any)
	if !ok {
		return nil
	}
	for _, f := range serverMetadata {
		delete(meta, f)
	}
	if hasStatus {
		delete(obj, "status")
	}
	return takeStamps(meta)
}

// takeStamps removes the gitward.dev annotations from metadata and returns
// them.
func takeStamps(meta map[string]any) map[string]string {
	annotations, ok := meta["annotations"].(map[string]any)
	if !ok {
		return nil
	}
	var stamps map[string]string
	for k, v := range annotations {
		if strings.HasPrefix(k, StampPrefix) {
			if stamps == nil {
				stamps = map[string]string{}
			}
			stamps[k] = text(v)
			delete(annotations, k)
		}
	}
	if len(annotations) == 0 {
		delete(meta, "annotations")
	}
	return stamps
}

// unchanged reports whether the request leaves all but stamps and server
// metadata as it was.
func (s *subject) unchanged() bool {
	if !s.compared {
		s.compared, s.same = true, s.old != nil && equal(s.old, s.new)
	}
	return s.same
}

func apiVersion(group, version string) string {
	if group == "" {
		return version
	}
	return group + "/" + version
}

// groupOf is the group of an apiVersion.
func groupOf(apiVersion string) string {
	group, _, ok := strings.Cut(apiVersion, "/")
	if !ok {
		return ""
	}
	return group
}

func versionOf(apiVersion string) string {
	if _, version, ok := strings.Cut(apiVersion, "/"); ok {
		return version
	}
	return apiVersion
}
