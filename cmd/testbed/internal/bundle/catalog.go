// SPDX-License-Identifier: Apache-2.0

package bundle

import "io/fs"

// PauseRef is the image of every pod's sandbox.
const PauseRef = "testbed.local/pause:1"

// Catalog returns everything that the nodes of a cluster need, in the order in which it is built.
func Catalog() []Source {
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
		externalDNS(),
		powerDNS(),
		coreDNS(),
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
	}
}
