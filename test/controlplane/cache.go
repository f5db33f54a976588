package controlplane

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// manifest describes a cached directory, in its manifest.json. It is written
// last, so a directory that has one was finished.
type manifest struct {
	Kubernetes string         `json:"kubernetes"`
	Etcd       string         `json:"etcd"`
	Files      []manifestFile `json:"files"`
}

type manifestFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

func (s *workshop) builtDir() string {
	return filepath.Join(s.cache, "controlplane", fmt.Sprintf("kubernetes-%s_etcd-%s_%s-%s",
		kubernetesModule.version(), etcdModule.version(), runtime.GOOS, runtime.GOARCH))
}

func (s *workshop) downloadDir(version string) string {
	return filepath.Join(s.cache, "controlplane", fmt.Sprintf("envtest-%s_%s-%s", version, runtime.GOOS, runtime.GOARCH))
}

// fill has a directory filled beside dir, describes it, and only then puts it
// in dir's place: nobody ever sees half a cache.
func (s *workshop) fill(dir string, with func(dir string) error) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := with(temp); err != nil {
		return err
	}
	if err := describe(temp); err != nil {
		return fmt.Errorf("describing %s: %w", dir, err)
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Rename(temp, dir); err != nil {
		return err
	}
	return checkManifest(dir, nil, true)
}

// describe writes the manifest of a directory's programs.
func describe(dir string) error {
	m := manifest{Kubernetes: kubernetesModule.version(), Etcd: etcdModule.version()}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		size, sum, err := measure(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		m.Files = append(m.Files, manifestFile{Name: entry.Name(), Size: size, SHA256: sum})
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "manifest.json"), append(text, '\n'), 0o644)
}

func (s *workshop) check(dir string, need []string) error { return checkManifest(dir, need, s.verify) }

// checkManifest holds a directory against its manifest: every file's size, and
// with sums its checksum too. It misses none of need.
func checkManifest(dir string, need []string, sums bool) error {
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		return err
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("reading %s: %w", filepath.Join(dir, "manifest.json"), err)
	}
	for _, program := range need {
		if !slices.ContainsFunc(m.Files, func(f manifestFile) bool { return f.Name == program }) {
			return fmt.Errorf("%s in %s: %w", program, dir, os.ErrNotExist)
		}
	}
	for _, file := range m.Files {
		if err := file.check(dir, sums); err != nil {
			return err
		}
	}
	return nil
}

func (f manifestFile) check(dir string, sum bool) error {
	path := filepath.Join(dir, f.Name)
	if !sum {
		stat, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("%s is listed in the manifest but cannot be read: %v", path, err)
		}
		if stat.Size() != f.Size {
			return fmt.Errorf("%s has %d bytes, its manifest says %d", path, stat.Size(), f.Size)
		}
		return nil
	}
	size, got, err := measure(path)
	if err != nil {
		return fmt.Errorf("%s is listed in the manifest but cannot be read: %v", path, err)
	}
	if size != f.Size || got != f.SHA256 {
		return fmt.Errorf("%s has %d bytes and SHA-256 %.12s…, its manifest says %d and %.12s…", path, size, got, f.Size, f.SHA256)
	}
	return nil
}

// measure returns a file's size and its SHA-256 in hex.
func measure(path string) (int64, string, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer file.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, file)
	if err != nil {
		return 0, "", err
	}
	return size, hex.EncodeToString(hash.Sum(nil)), nil
}
