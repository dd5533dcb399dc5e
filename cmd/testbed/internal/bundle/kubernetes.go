// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Kubernetes is etcd and the upstream Kubernetes programs that a cluster runs, built from the nested module
// tools/kubernetes, which pins them. Where the environment's KUBE_BIN_DIR names a directory that has them all, that is
// taken as it is.
type Kubernetes struct{}

const (
	kubernetesModule = "tools/kubernetes" // from the repository's root
	kubernetesPath   = "k8s.io/kubernetes"
	etcdPackage      = "go.etcd.io/etcd/server/v3"
)

// kubernetesPrograms are the programs of [Kubernetes] besides etcd.
func kubernetesPrograms() []string {
	return []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"}
}

// Probes are commands that start each program once, see [Image]; the first word of each is a file of the directory.
func (*Kubernetes) Probes() [][]string {
	probes := [][]string{{"etcd", "--version"}}
	for _, name := range kubernetesPrograms() {
		if name == "kubectl" {
			probes = append(probes, []string{name, "version", "--client"})
		} else {
			probes = append(probes, []string{name, "--version"})
		}
	}
	return probes
}

// Name implements Source.
func (*Kubernetes) Name() string { return "kubernetes" }

// Key implements Source: the version of Kubernetes, so that people and tests find the programs. Whoever changes another
// pin of the module with the same version removes the directory.
func (*Kubernetes) Key(ctx context.Context, s *Store) (string, error) {
	if dir := os.Getenv("KUBE_BIN_DIR"); dir != "" {
		for _, name := range append(kubernetesPrograms(), "etcd") {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				return "", fmt.Errorf("looking into KUBE_BIN_DIR: %w (hint: unset it to have the programs built)", err)
			}
		}
		return "KUBE_BIN_DIR", nil
	}
	version, err := output(ctx, filepath.Join(s.Repo, kubernetesModule), goEnv(s), "go", "list", "-m", "-f", "{{.Version}}", kubernetesPath)
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(version))
	if s.Arch != runtime.GOARCH {
		key += "-" + s.Arch
	}
	return key, nil
}

// Place implements Source: the result is a directory with the programs.
func (*Kubernetes) Place(key string) string {
	if dir := os.Getenv("KUBE_BIN_DIR"); dir != "" {
		if abs, err := filepath.Abs(dir); err == nil {
			return abs
		}
	}
	return "kubernetes/" + key
}

// Build implements Source. It takes some eight minutes on two cores with an empty build cache.
func (k *Kubernetes) Build(ctx context.Context, s *Store, dst string) error {
	if err := os.Mkdir(dst, 0o755); err != nil {
		return err
	}
	key, err := k.Key(ctx, s)
	if err != nil {
		return err
	}
	version, _, _ := strings.Cut(key, "-")
	// A server without its version set calls itself v0.0.0, and clients refuse features.
	stamp := "-s -w -X k8s.io/component-base/version.gitVersion=" + version + " -X k8s.io/component-base/version.gitTreeState=clean"
	args := []string{"build", "-trimpath", "-ldflags", stamp, "-o", dst + "/"}
	for _, name := range kubernetesPrograms() {
		args = append(args, kubernetesPath+"/cmd/"+name)
	}
	dir := filepath.Join(s.Repo, kubernetesModule)
	if _, err := output(ctx, dir, goEnv(s), "go", args...); err != nil {
		return err
	}
	_, err = output(ctx, dir, goEnv(s), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dst, "etcd"), etcdPackage)
	return err
}
