// SPDX-License-Identifier: Apache-2.0

package bundle

import "io/fs"

// keepalived is Debian's, with a shell to find its interface and something that asks whether a replica serves.
func keepalived() *Image {
	return &Image{
		Repository: "keepalived", Tag: "2.2.7",
		Files: []File{
			{Path: "/", From: &Debian{Packages: []string{"keepalived", "busybox-static", "curl"}}},
			{Path: "/etc/passwd", Text: "root:x:0:0:root:/:/sbin/nologin\n"},
			{Path: "/etc/group", Text: "root:x:0:\n"},
			{Path: "/run"},
			{Path: "/tmp", Mode: 0o777 | fs.ModeSticky},
		},
		Entrypoint: []string{"/usr/sbin/keepalived"},
		Probes:     [][]string{{"/usr/sbin/keepalived", "--version"}, {"/bin/busybox", "--help"}, {"/usr/bin/curl", "--version"}},
	}
}

// k8sGateway is CoreDNS with k8s_gateway, as bench/kube measures it too.
func k8sGateway() *Image {
	i := program("coredns-k8s-gateway", &GoProgram{Module: "bench/kube/coredns", Package: "./"}, "")
	i.Tag = "1.6.1" // of bench/kube/coredns/go.mod
	i.Probes = [][]string{{"/coredns-k8s-gateway", "-version"}}
	return i
}

// podStatus writes pods' addresses where k8s_gateway reads a Service's.
func podStatus() *Image {
	return program("pod-status", &GoProgram{Module: ".", Package: "./deploy/images/pod-status"}, "")
}

// nginxController is NGINX's own Ingress controller, as its maker publishes it: its source is not to be had as a Go module.
func nginxController() *Image {
	return &Image{
		Repository: "nginx-ingress", Tag: "5.5.1",
		From:   "docker.io/nginx/nginx-ingress@sha256:85b835a6a8d1958f51ce94f0f1e7af833e63731add98eca1d15b11b75ebd50c6",
		Probes: [][]string{{"/nginx-ingress", "-version"}},
	}
}
