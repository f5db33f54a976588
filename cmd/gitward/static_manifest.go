package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/charts"
	"github.com/gitward/gitward/gitindex"
)

type staticOptions struct {
	url, caFile, dir, target, namespace string
	recovery                            []string
}

func staticManifestCommand() *cobra.Command {
	o := staticOptions{}
	c := &cobra.Command{
		Use:   "static-manifest",
		Short: "Write Gitward's webhook and guard as files for the API server's own disk",
		Long: `Write Gitward's webhook and guard as files for the API server's own disk:
Kubernetes 1.37's manifest-based admission configuration.

What these files say nobody can change through the API, system:masters included,
and no user is exempt from them. They are per API server: copy them to each. The
webhook is reached by URL, since it must not depend on a Service of the cluster.`,
		Example: `  gitward static-manifest --url https://10.0.0.10:9443 --ca-file ca.crt -o admission/`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return staticManifest(cmd, &o) },
	}
	f := c.Flags()
	f.StringVar(&o.url, "url", "", "base URL at which each API server reaches Gitward")
	f.StringVar(&o.caFile, "ca-file", "", "authority of Gitward's certificate, PEM")
	f.StringVarP(&o.dir, "output-dir", "o", "", "directory to write to; it is made")
	f.StringVar(&o.target, "target", "/etc/kubernetes/admission", "where the files will lie on the API server's disk")
	f.StringVarP(&o.namespace, "namespace", "n", "gitward-system", "namespace of Gitward")
	f.StringSliceVar(&o.recovery, "recovery-namespace", nil, "namespace whose Pods may come back while Gitward is down; webhooks.recoveryNamespaces of the chart")
	return c
}

func staticManifest(cmd *cobra.Command, o *staticOptions) error {
	if o.url == "" || o.caFile == "" || o.dir == "" {
		return errors.New("--url, --ca-file and --output-dir are needed")
	}
	if err := checkURL(o.url); err != nil {
		return err
	}
	ca, err := os.ReadFile(o.caFile)
	if err != nil {
		return fmt.Errorf("reading the authority: %w", err)
	}
	if err := checkAuthority(o.caFile, ca); err != nil {
		return err
	}
	recovery := make([]any, len(o.recovery))
	for i, name := range o.recovery {
		recovery[i] = name
	}
	objects, err := charts.Release{Name: "gitward", Namespace: o.namespace, Values: map[string]any{
		"webhooks": map[string]any{"url": o.url, "recoveryNamespaces": recovery}, "certs": map[string]any{"mode": "secret", "caBundle": string(ca)}}}.Static()
	if err != nil {
		return err
	}
	files := map[string]string{"admission.yaml": o.admission()}
	for _, u := range objects {
		data, err := yaml.Marshal(u.Object)
		if err != nil {
			return fmt.Errorf("writing %s: %w", u.GetName(), err)
		}
		file := "policies/guard.yaml"
		if strings.Contains(u.GetKind(), "Webhook") {
			file = "webhooks/from-git.yaml"
		}
		files[file] += "---\n" + string(data)
	}
	for name, text := range files {
		if err := writeFile(filepath.Join(o.dir, name), text); err != nil {
			return err
		}
	}
	fmt.Fprintf(cmd.OutOrStdout(), `wrote admission.yaml, webhooks/ and policies/ to %s
  do    copy the directory to %s on each API server's disk, and start it with
        --admission-control-config-file=%s/admission.yaml
  note  taking Gitward out again means taking these files away: the API has no way
`, o.dir, o.target, o.target)
	return nil
}

// checkURL: what the API server does not take, it would not start with.
func checkURL(text string) error {
	u, err := url.Parse(text)
	what := ""
	switch {
	case err != nil:
		what = "is no URL: " + err.Error()
	case u.Scheme != "https":
		what = "is not https: the API server asks no other"
	case u.Hostname() == "":
		what = "names no host"
	case u.User != nil:
		what = "has a user, which the API server does not take"
	case strings.ContainsAny(text, "?#"):
		what = "has a query or a fragment, which the API server does not take"
	}
	if what == "" {
		return nil
	}
	return fmt.Errorf("--url %s %s\n  do    give the base URL of Gitward, as in https://10.0.0.10:9443", gitindex.Clean(text, 200), what)
}

// checkAuthority: a file that is no authority would have every write fail.
func checkAuthority(file string, data []byte) error {
	advice := "\n  do    give the certificate of the authority that signed Gitward's, PEM"
	read := 0
	block, rest := pem.Decode(data)
	for ; block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("--ca-file %s: block %d is %s, not CERTIFICATE%s", file, read+1, gitindex.Clean(block.Type, 60), advice)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("--ca-file %s: certificate %d: %w%s", file, read+1, err, advice)
		}
		read++
	}
	if read == 0 {
		return fmt.Errorf("--ca-file %s holds no certificate%s", file, advice)
	}
	return nil
}

func writeFile(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// admission is the file that the API server is started with.
func (o *staticOptions) admission() string {
	return `apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: ValidatingAdmissionWebhook
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: WebhookAdmissionConfiguration
    staticManifestsDir: ` + o.target + `/webhooks
- name: ValidatingAdmissionPolicy
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: ValidatingAdmissionPolicyConfiguration
    staticManifestsDir: ` + o.target + `/policies
`
}
