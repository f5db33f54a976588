package main

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// door is where requests go: a real API server, or the webhook alone. All
// requests but apply are about Deployment shop/web.
type door interface {
	// apply is a server-side apply as Flux makes it.
	apply(ctx context.Context, manifest string, dryRun bool) answer
	edit(ctx context.Context, by, image string) answer
	scale(ctx context.Context, by string, replicas int) answer
	remove(ctx context.Context, by string) answer
	// image is what the Deployment has now.
	image(ctx context.Context) (string, error)
}

// answer is what came back. The zero value is no answer.
type answer struct {
	text    string         // as the person sees it
	message string         // of the refusal, whole; empty when admitted
	object  map[string]any // as admitted
	err     error          // nobody answered
}

func admitted(text string, object map[string]any) answer { return answer{text: text, object: object} }

// The people who send requests. Flux is the service account of its
// kustomize-controller.
const (
	fluxUser = "system:serviceaccount:flux-system:kustomize-controller"
	flux     = "flux"
	admin    = "admin"
	dev      = "dev"
	grace    = "grace" // on call
)

func userName(who string) string {
	if who == flux {
		return fluxUser
	}
	return who
}

const fluxManager = "kustomize-controller"

// show runs one request and holds the answer against the story: with says, it
// is to be refused with these words; without, admitted.
func (d *demo) show(who, command string, a answer, says ...string) error {
	d.screen.command(who, command)
	if a.err != nil {
		return fmt.Errorf("%s: %w", command, a.err)
	}
	d.screen.answer(a.text)
	switch {
	case len(says) == 0 && a.message != "":
		d.differs(fmt.Sprintf("%q was to be admitted", command))
	case len(says) > 0 && a.message == "":
		d.differs(fmt.Sprintf("%q was to be refused", command))
	}
	for _, words := range says {
		if a.message != "" && !strings.Contains(a.message, words) {
			d.differs(fmt.Sprintf("the refusal of %q was to say %q", command, words))
		}
	}
	return nil
}

// verdict closes an exchange: what the person saw, and why.
func (d *demo) verdict(a answer, why string) {
	if a.message == "" {
		d.screen.good("admitted: " + why)
		return
	}
	d.screen.bad("refused: " + why)
}

func decodeManifest(manifest string) (map[string]any, error) {
	var obj map[string]any
	if err := yaml.Unmarshal([]byte(manifest), &obj); err != nil {
		return nil, fmt.Errorf("reading a manifest: %w", err)
	}
	return obj, nil
}

// kubectlName is how kubectl names an object: "deployment.apps/web".
func kubectlName(object map[string]any) string {
	u := unstructured.Unstructured{Object: object}
	name := strings.ToLower(u.GetKind())
	if group := u.GroupVersionKind().Group; group != "" {
		name += "." + group
	}
	return name + "/" + u.GetName()
}

// imageOf is the image of a Deployment's one container.
func imageOf(deployment map[string]any) string {
	containers, _, _ := unstructured.NestedSlice(deployment, "spec", "template", "spec", "containers")
	if len(containers) != 1 {
		return ""
	}
	image, _ := containers[0].(map[string]any)["image"].(string)
	return image
}

// imagePatch is what `kubectl edit` sends after the image was changed.
func imagePatch(image string) []byte {
	return fmt.Appendf(nil, `{"spec":{"template":{"spec":{"$setElementOrder/containers":[{"name":"web"}],"containers":[{"image":%q,"name":"web"}]}}}}`, image)
}
