package controlplane

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// envtestIndex lists the archives that controller-runtime's envtest downloads.
// Its own code for that is not open to others and starts no connection with a
// time-out, hence these few lines.
const envtestIndex = "https://raw.githubusercontent.com/kubernetes-sigs/controller-tools/HEAD/envtest-releases.yaml"

// envtestReleases is the index: release, archive name, archive.
type envtestReleases struct {
	Releases map[string]map[string]envtestArchive `json:"releases"`
}

type envtestArchive struct {
	Hash     string `json:"hash"` // SHA-512 in hex
	SelfLink string `json:"selfLink"`
}

// downloader gives up on a connection after three seconds: where there is no
// such network, the build should not have to wait for it.
var downloader = &http.Client{Transport: &http.Transport{
	Proxy:                 http.ProxyFromEnvironment,
	DialContext:           (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
	TLSHandshakeTimeout:   3 * time.Second,
	ResponseHeaderTimeout: 10 * time.Second,
}}

// fromDownload fetches an archive with etcd and kube-apiserver of our minor.
func (s *workshop) fromDownload(ctx context.Context, w io.Writer, need []string) (Binaries, error) {
	if slices.Contains(need, ControllerManager) {
		return Binaries{}, fmt.Errorf("the archives for download hold no %s: %w", ControllerManager, errNotHere)
	}
	version, archive, err := s.findArchive(ctx)
	if err != nil {
		fmt.Fprintf(w, "control plane  no download: %v\n", err)
		return Binaries{}, fmt.Errorf("no download (%v): %w", err, errNotHere)
	}
	fmt.Fprintf(w, "control plane  downloading %s\n", archive.SelfLink)
	text, err := httpGet(ctx, archive.SelfLink, 1<<30)
	if err != nil {
		return Binaries{}, fmt.Errorf("no download (%v): %w", err, errNotHere)
	}
	if sum := sha512.Sum512(text); hex.EncodeToString(sum[:]) != archive.Hash {
		return Binaries{}, fmt.Errorf("%s does not have the checksum that its index names", archive.SelfLink)
	}
	dir := s.downloadDir(version)
	if err := s.fill(dir, func(temp string) error { return extract(text, temp) }); err != nil {
		return Binaries{}, fmt.Errorf("unpacking %s: %w", archive.SelfLink, err)
	}
	return Binaries{Dir: dir, Source: "a download of " + version + ", now cached (" + dir + ")"}, nil
}

// findArchive picks the newest release of our minor that has an archive for
// this machine.
func (s *workshop) findArchive(ctx context.Context) (string, envtestArchive, error) {
	text, err := httpGet(ctx, s.index, 16<<20)
	if err != nil {
		return "", envtestArchive{}, err
	}
	var index envtestReleases
	if err := yaml.Unmarshal(text, &index); err != nil {
		return "", envtestArchive{}, fmt.Errorf("reading %s: %w", s.index, err)
	}
	minor, best, found := minorOf(kubernetesModule.version()), -1, ""
	for version, archives := range index.Releases {
		patch, err := strconv.Atoi(strings.TrimPrefix(version, minor+"."))
		if _, ok := archives[archiveName(version)]; ok && err == nil && patch > best {
			best, found = patch, version
		}
	}
	if found == "" {
		return "", envtestArchive{}, fmt.Errorf("%s names no archive of %s for %s/%s", s.index, minor, runtime.GOOS, runtime.GOARCH)
	}
	return found, index.Releases[found][archiveName(found)], nil
}

func archiveName(version string) string {
	return fmt.Sprintf("envtest-%s-%s-%s.tar.gz", version, runtime.GOOS, runtime.GOARCH)
}

// minorOf is "v1.37" for "v1.37.2".
func minorOf(version string) string {
	if i := strings.LastIndexByte(version, '.'); i > 0 {
		return version[:i]
	}
	return version
}

func httpGet(ctx context.Context, url string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := downloader.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, limit))
}

// extract writes the servers of an archive into dir, wherever in the archive
// they stand; it takes nothing else from it.
func extract(archive []byte, dir string) error {
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return err
	}
	files := tar.NewReader(unzipped)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Base(header.Name)
		if header.Typeflag != tar.TypeReg || !slices.Contains(justServers, name) {
			continue
		}
		if err := writeProgram(filepath.Join(dir, name), files); err != nil {
			return err
		}
	}
}

func writeProgram(path string, from io.Reader) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, from); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}
