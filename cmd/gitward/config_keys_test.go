package main

import (
	"os"
	"strings"
	"testing"

	"github.com/gitward/gitward/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
)

// TestDecryptionSecret: the age key beside an Origin in a configuration directory
// reaches what its tracker is made from.
func TestDecryptionSecret(t *testing.T) {
	key, err := os.ReadFile("../../gitindex/render/sops/testdata/age.agekey")
	if err != nil {
		t.Fatal(err)
	}
	signer := "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS ada\n"
	c := &configuration{secrets: map[string]*corev1.Secret{"signers": {Data: map[string][]byte{"ada.pub": []byte(signer)}}}}
	o := &v1alpha1.Origin{Spec: v1alpha1.OriginSpec{URL: "https://git.example.org/a.git", Decryption: &v1alpha1.Decryption{SecretRef: v1alpha1.LocalRef{Name: "age"}}}}
	o.Name, o.Spec.Signers.SecretRef.Name = "platform", "signers"
	for name, data := range map[string]map[string][]byte{"no Secret": nil, "no entry": {"age.txt": key}, "no key": {"a.agekey": []byte("nothing")}} {
		delete(c.secrets, "age")
		if data != nil {
			c.secrets["age"] = &corev1.Secret{Data: data}
		}
		if _, err := c.settings(o, &process{}); err == nil || !strings.Contains(err.Error(), "platform") {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.secrets["age"] = &corev1.Secret{Data: map[string][]byte{"age.agekey": key}}
	if s, err := c.settings(o, &process{}); err != nil || s.Keys.None() {
		t.Errorf("%v: %v", s.Keys, err)
	}
}
