// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// apiserver is an etcd and a kube-apiserver with nothing else around them.
type apiserver struct {
	env        *envtest.Environment
	client     *kubernetes.Clientset
	kubeconfig string
}

func startAPIServer(bin, dir string) (*apiserver, error) {
	s := &apiserver{env: &envtest.Environment{
		BinaryAssetsDirectory: bin, ControlPlaneStartTimeout: 2 * time.Minute, ControlPlaneStopTimeout: 5 * time.Second,
	}}
	flags := s.env.ControlPlane.GetAPIServer().Configure()
	flags.Disable("service-cluster-ip-range").Set("service-cluster-ip-range", "fd6e:7369:96::/108")
	flags.Set("advertise-address", "fd6e:7369:0:1::1") // of the family of Services; nobody connects to it
	flags.Set("max-requests-inflight", "2000")
	flags.Set("max-mutating-requests-inflight", "2000")
	cfg, err := s.env.Start()
	if err != nil {
		return nil, fmt.Errorf("starting etcd and kube-apiserver of %s: %w (hint: `make kube-binaries` builds them)", bin, err)
	}
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	if s.client, err = kubernetes.NewForConfig(cfg); err != nil {
		return nil, err
	}
	user, err := s.env.AddUser(envtest.User{Name: "bench", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return nil, fmt.Errorf("making a user: %w", err)
	}
	data, err := user.KubeConfig()
	if err != nil {
		return nil, fmt.Errorf("making a kubeconfig: %w", err)
	}
	s.kubeconfig = filepath.Join(dir, "kubeconfig")
	return s, os.WriteFile(s.kubeconfig, data, 0o600)
}

func (s *apiserver) stop() error { return s.env.Stop() }
