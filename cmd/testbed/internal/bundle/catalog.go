// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"io/fs"
	"slices"
)

// PauseRef is the image of every pod's sandbox.
const PauseRef = "testbed.local/pause:1"

// Catalog returns everything that the nodes of a cluster may need, in the order in which it is built: what they always need,
// what only some systems do, and what goes onto cards.
func Catalog() []Source {
	catalog := Standard()
	for _, name := range Extras() {
		catalog = Join(catalog, Extra(name)...)
	}
	return append(catalog, &Archives{})
}

// Join adds those sources to others that are not among them: two systems may need one image.
func Join(sources []Source, more ...Source) []Source {
	for _, src := range more {
		if !slices.ContainsFunc(sources, func(s Source) bool { return s.Name() == src.Name() }) {
			sources = append(sources, src)
		}
	}
	return sources
}

// Extras are the systems, and what stands beside them, that need more than the standard, because few want it and it takes long to
// build, or a registry.
func Extras() []string {
	return []string{"external-dns", "coredns-k8s-gateway", "cluster-dns", "nginx-controller"}
}

// Extra returns what a system needs beside the standard; nothing for most.
func Extra(system string) []Source {
	switch system {
	case "external-dns":
		return []Source{externalDNS(), powerDNS(), coreDNS()}
	case "cluster-dns":
		return []Source{coreDNS()}
	case "coredns-k8s-gateway":
		return []Source{k8sGateway(), podStatus()}
	case "nginx-controller":
		return []Source{nginxController()}
	}
	return nil
}

// Standard returns what the nodes of every cluster need.
func Standard() []Source {
	return []Source{
		&Kubernetes{},
		pause(),
		dnsingress(),
		backend(),
		nginx(),
		traefik(),
		envoy(),
		contour(),
		contourCRDs(),
		keepalived(),
	}
}

// Images returns the container images among the sources.
func Images(sources []Source) []*Image {
	var images []*Image
	for _, src := range sources {
		if i, ok := src.(*Image); ok {
			images = append(images, i)
		}
	}
	return images
}

// pause holds the network namespace of a pod.
func pause() *Image {
	return program("pause", &GoProgram{Module: ".", Package: "./deploy/images/pause"}, "65535:65535")
}

// dnsingress runs as root: it listens on port 53 in the node's own network.
func dnsingress() *Image {
	return program("dnsingress", &GoProgram{Module: ".", Package: "./cmd/dnsingress"}, "")
}

// backend is the HTTP service that is put under load.
func backend() *Image {
	return program("backend", &GoProgram{Module: ".", Package: "./deploy/images/backend"}, "")
}

// program returns an image that has nothing but one static program, at /<name>.
func program(name string, from Source, user string) *Image {
	return &Image{
		Repository: name, Tag: "1",
		Files:      []File{{Path: "/" + name, From: from, Mode: 0o755}, {Path: "/tmp", Mode: 0o777 | fs.ModeSticky}},
		Entrypoint: []string{"/" + name},
		User:       user,
		Probes:     [][]string{{"/" + name, "--help"}},
	}
}
