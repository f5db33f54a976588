package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What the API server would not start with, or could not reach, is not written.
func TestStaticManifest(t *testing.T) {
	dir := t.TempDir()
	good := string(certificateUntil(t, time.Now().Add(time.Hour)))
	for _, c := range []struct{ what, url, ca, says string }{
		{"good", "https://10.0.0.10:9443", good, ""},
		{"two authorities, a name, a path", "https://gitward.example.org/base/", good + good, ""},
		{"http", "http://10.0.0.10:9443", good, "--url http://10.0.0.10:9443 is not https"},
		{"no scheme", "10.0.0.10:9443", good, "--url 10.0.0.10:9443 is no URL"},
		{"no host", "https://:9443", good, "names no host"},
		{"user", "https://a:b@10.0.0.10", good, "has a user"},
		{"query", "https://10.0.0.10?a=b", good, "has a query"},
		{"fragment", "https://10.0.0.10/#x", good, "a fragment"},
		{"empty query", "https://10.0.0.10?", good, "has a query"},
		{"empty", "https://10.0.0.10", "", "holds no certificate"},
		{"a key", "https://10.0.0.10", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "is PRIVATE KEY, not CERTIFICATE"},
		{"not DER", "https://10.0.0.10", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1: "},
	} {
		file, to := filepath.Join(dir, "ca.crt"), filepath.Join(dir, c.what)
		if err := os.WriteFile(file, []byte(c.ca), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := staticManifestCommand()
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetArgs([]string{"--url", c.url, "--ca-file", file, "-o", to, "--recovery-namespace", "kube-system"})
		cmd.SetOut(&bytes.Buffer{})
		err := cmd.Execute()
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "\n  do    ") {
				t.Errorf("%s: %v", c.what, err)
			}
			if _, err := os.Stat(to); err == nil {
				t.Errorf("%s: files are written", c.what)
			}
			continue
		}
		data, _ := os.ReadFile(filepath.Join(to, "webhooks", "from-git.yaml"))
		if err != nil || !strings.Contains(string(data), "name: recovery-of-kube-system") {
			t.Errorf("%s: %v\n%s", c.what, err, data)
		}
	}
}
