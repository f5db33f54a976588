package registration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const key = "registration.json"

// store keeps what the configurations should be. The ConfigMap decides. The
// file says what the ConfigMap said last, for the time that it cannot be read.
type store struct {
	client    kubernetes.Interface
	namespace string
	file      string
}

// kept is what is known of the wanted form.
type kept struct {
	Wanted forms `json:"wanted"`
	// Seen is the resourceVersion at which each was last seen as wanted. Only the
	// file has it: in the ConfigMap it would be a write every few seconds.
	Seen map[string]string `json:"seen,omitempty"`

	adopt   bool   // nothing is wanted: the next complete form is adopted
	before  forms  // what was wanted until then
	version string // of the ConfigMap; empty when there is none
}

// read asks the ConfigMap. None, or one that is marked, means that the next
// complete form is wanted, whatever the file says.
func (s *store) read(ctx context.Context) (kept, error) {
	cm, err := s.client.CoreV1().ConfigMaps(s.namespace).Get(ctx, ConfigMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return kept{adopt: true}, nil
	}
	if err != nil {
		return kept{}, fmt.Errorf("reading ConfigMap %s: %w", ConfigMap, err)
	}
	if cm.Annotations[AdoptAnnotation] == "true" {
		before, _ := parse([]byte(cm.Data[key])) // it is marked whatever it says
		return kept{adopt: true, version: cm.ResourceVersion, before: before.Wanted}, nil
	}
	k, err := parse([]byte(cm.Data[key]))
	if err != nil {
		return kept{}, fmt.Errorf("reading ConfigMap %s: %w", ConfigMap, err)
	}
	k.version, k.Seen = cm.ResourceVersion, nil
	return k, nil
}

func parse(data []byte) (kept, error) {
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return kept{}, err
	}
	return k, k.Wanted.complete()
}

// mark has nothing wanted from now on: the next complete form is adopted. What
// was wanted stays readable.
func (s *store) mark(ctx context.Context, k *kept) error {
	if k.version == "" {
		return nil // there is no ConfigMap, so nothing is
	}
	return s.save(ctx, k, map[string]string{AdoptAnnotation: "true"})
}

// write keeps k in the ConfigMap, over the version of it that k was read from.
// A conflict means that another replica was faster, or somebody else wrote: it
// has to be read again.
func (s *store) write(ctx context.Context, k *kept) error { return s.save(ctx, k, nil) }

func (s *store) save(ctx context.Context, k *kept, annotations map[string]string) error {
	data, err := json.Marshal(kept{Wanted: k.Wanted})
	if err != nil {
		return fmt.Errorf("writing ConfigMap %s: %w", ConfigMap, err)
	}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: ConfigMap, Namespace: s.namespace, ResourceVersion: k.version, Annotations: annotations},
		Data: map[string]string{key: string(data)}}
	client := s.client.CoreV1().ConfigMaps(s.namespace)
	if k.version == "" {
		cm, err = client.Create(ctx, cm, metav1.CreateOptions{FieldManager: manager})
	} else {
		cm, err = client.Update(ctx, cm, metav1.UpdateOptions{FieldManager: manager})
	}
	if err != nil {
		return fmt.Errorf("writing ConfigMap %s: %w", ConfigMap, err)
	}
	k.version = cm.ResourceVersion
	return nil
}

// remember reads the file; an empty answer when there is none of use.
func (s *store) remember() (kept, error) {
	data, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return kept{}, nil
	}
	if err != nil {
		return kept{}, fmt.Errorf("reading the registration: %w", err)
	}
	k, err := parse(data)
	if err != nil {
		return kept{}, fmt.Errorf("reading %s: %w", s.file, err)
	}
	return k, nil
}

// note writes the file, whole or not at all.
func (s *store) note(k kept) error {
	data, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return fmt.Errorf("keeping the registration: %w", err)
	}
	part := filepath.Join(filepath.Dir(s.file), "."+key+".part")
	if err := os.WriteFile(part, data, 0o600); err != nil {
		return fmt.Errorf("keeping the registration: %w", err)
	}
	return os.Rename(part, s.file)
}

func (s *store) forget() error {
	if err := os.Remove(s.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
