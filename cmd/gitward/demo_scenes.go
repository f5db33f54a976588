package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitward/gitward/audit"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/test/gitserver"
)

const applyCommand = "kubectl apply --server-side --field-manager=" + fluxManager + " -f "

// admit is scene 3: Flux applies what Git declares.
func (d *demo) admit(ctx context.Context) error {
	a := d.door.apply(ctx, namespaceYAML, false)
	if err := d.show(flux, applyCommand+namespaceFile, a); err != nil {
		return err
	}
	a = d.door.apply(ctx, webYAML(goodImage), true)
	if err := d.show(flux, strings.Replace(applyCommand, " -f", " --dry-run=server -f", 1)+webFile, a); err != nil {
		return err
	}
	a = d.door.apply(ctx, webYAML(goodImage), false)
	if err := d.show(flux, applyCommand+webFile, a); err != nil {
		return err
	}
	d.verdict(a, "a trusted commit declares exactly this. Not even Flux had to be trusted.")
	stamps := stampLines(a.object)
	d.screen.command(dev, "kubectl get deployment web -n shop -o yaml | grep gitward.dev/")
	d.screen.answer(strings.Join(stamps, "\n"))
	if len(stamps) != 5 {
		d.differs(fmt.Sprintf("five annotations were to say where it comes from, there are %d", len(stamps)))
	}
	d.screen.why("Gitward writes where it comes from onto every object. It never believes such a note.")
	return nil
}

// stampLines are an object's own annotations of ours, as YAML has them.
func stampLines(object map[string]any) []string {
	annotations, _, _ := unstructured.NestedStringMap(object, "metadata", "annotations")
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(annotations)) {
		if strings.HasPrefix(k, gate.StampPrefix) {
			lines = append(lines, k+": "+annotations[k])
		}
	}
	return lines
}

// goAround is scene 4: changing the cluster without changing Git.
func (d *demo) goAround(ctx context.Context) error {
	a := d.door.edit(ctx, admin, hotfixImage)
	if err := d.show(admin, "KUBE_EDITOR='sed -i s/1.8.2/1.8.3-hotfix/' kubectl edit deployment web -n shop", a,
		"Deployment shop/web differs from Git", goodImage, hotfixImage, webFile); err != nil {
		return err
	}
	d.verdict(a, "the image is not Git's, and admin is only a member of system:masters, not a commit.")
	a = d.door.scale(ctx, dev, 10)
	if err := d.show(dev, "kubectl scale deployment web -n shop --replicas=10", a,
		"Deployment shop/web differs from Git", "spec.replicas"); err != nil {
		return err
	}
	d.verdict(a, "Git says 3.")
	a = d.door.remove(ctx, dev)
	if err := d.show(dev, "kubectl delete deployment web -n shop", a,
		"is still in Git", "cannot be deleted here"); err != nil {
		return err
	}
	d.verdict(a, "what Git declares stays.")
	return nil
}

// stranger is scene 5: commits that are in Git and do not count.
func (d *demo) stranger(ctx context.Context) error {
	if err := d.commit("mallory", gitserver.CommitOptions{Message: "web: a faster mirror",
		Files: map[string]string{webFile: webYAML(strangerImage)}}, d.stage.mallory); err != nil {
		return err
	}
	a := d.door.apply(ctx, webYAML(strangerImage), false)
	if err := d.show(flux, applyCommand+webFile, a,
		"signed by a key that is not trusted here", d.stage.mallory.Fingerprint); err != nil {
		return err
	}
	d.verdict(a, "her commit is on main, and Flux applies it: a push alone is not enough.")
	if err := d.commit("ada", gitserver.CommitOptions{Message: "shop: a banner",
		Files: map[string]string{bannerFile: bannerYAML}}, nil); err != nil {
		return err
	}
	a = d.door.apply(ctx, bannerYAML, false)
	if err := d.show(flux, applyCommand+bannerFile, a, "which is not signed"); err != nil {
		return err
	}
	d.verdict(a, "Ada is trusted, but anybody can commit in her name. Only her key is hers.")
	return d.stillRuns(ctx, goodImage)
}

// breakPolicy is scene 6: signed, and still against a policy that is in Git.
func (d *demo) breakPolicy(ctx context.Context) error {
	d.screen.command(dev, "cat "+policyFile)
	d.screen.answer(strings.TrimSpace(policyRego))
	if err := d.commit("ben", gitserver.CommitOptions{Message: "web: always the latest",
		Files: map[string]string{webFile: webYAML(latestImage)}}, d.stage.ben); err != nil {
		return err
	}
	a := d.door.apply(ctx, webYAML(latestImage), false)
	if err := d.show(flux, applyCommand+webFile, a, `breaks policy "images"`, policyFile, "name a version"); err != nil {
		return err
	}
	d.verdict(a, "Ben is trusted, and Git declares it. Ada's policy, signed like everything else, is against it.")
	if err := d.commit("ben", gitserver.CommitOptions{Message: "web: 1.8.2 again",
		Files: map[string]string{webFile: webYAML(goodImage)}}, d.stage.ben); err != nil {
		return err
	}
	return d.stillRuns(ctx, goodImage)
}

// stillRuns shows that nothing of all this came through.
func (d *demo) stillRuns(ctx context.Context, want string) error {
	image, err := d.door.image(ctx)
	if err != nil {
		return err
	}
	d.screen.command(dev, "kubectl get deployment web -n shop -o jsonpath='{..image}'")
	d.screen.answer(image)
	if image != want {
		d.differs("the Deployment was to have image " + want)
		return nil
	}
	d.screen.good("unharmed: the cluster has what Ben signed.")
	return nil
}

// trace is scene 9.
func (d *demo) trace(ctx context.Context) error {
	var out bytes.Buffer
	err := d.run(ctx, &out, "trace", "deployment/web", "-n", "shop")
	d.screen.command(dev, "gitward trace deployment/web -n shop")
	d.screen.answer(out.String())
	if err != nil {
		d.differs("gitward trace: " + err.Error())
	}
	out.Reset()
	err = d.run(ctx, &out, "coverage", "-n", "shop")
	d.screen.command(dev, "gitward coverage -n shop")
	d.screen.answer(out.String())
	if err != nil {
		d.differs("gitward coverage: " + err.Error())
	}
	return d.showRecords(ctx)
}

// showRecords shows three of the decisions that were recorded.
func (d *demo) showRecords(_ context.Context) error {
	records, err := readRecords(d.guard.records)
	if err != nil {
		return fmt.Errorf("reading the records: %w", err)
	}
	d.screen.command(admin, "tail records.jsonl        # a JSON line each; here three of them, in columns")
	wanted := []string{string(gate.ByGit), string(gate.Differs), string(gate.UnknownSigner)}
	for _, reason := range wanted {
		i := slices.IndexFunc(records, func(r audit.Record) bool { return r.Reason == reason && r.Kind == "Deployment" })
		if i < 0 {
			d.differs("no decision was recorded with reason " + reason)
			continue
		}
		d.screen.answer(recordLine(&records[i]))
	}
	d.screen.why(fmt.Sprintf("%d decisions so far. No value of an object is ever in a record.", len(records)))
	return nil
}

func recordLine(r *audit.Record) string {
	verdict, by := "deny", r.User
	if r.Allowed {
		verdict = "allow"
	}
	if by == fluxUser {
		by = fluxManager
	}
	line := fmt.Sprintf("%s  %s  %-5s  %-13s  %-6s  %s/%s  %-20s", r.Time.Local().Format("15:04:05"), r.Decision, verdict, r.Reason,
		r.Operation, r.Namespace, r.Name, by)
	if r.Commit == "" {
		return strings.TrimRight(line, " ")
	}
	return line + "  " + gitindex.Short(r.Commit)
}

func readRecords(file string) ([]audit.Record, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []audit.Record
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r audit.Record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out = append(out, r)
	}
	return out, lines.Err()
}
