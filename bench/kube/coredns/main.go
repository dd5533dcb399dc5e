// SPDX-License-Identifier: Apache-2.0

// Command coredns is CoreDNS with the plugins that read Kubernetes: its own for cluster.local, and k8s_gateway for
// what is to be reached from outside.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/k8s-gateway/k8s_gateway"
)

func main() {
	dnsserver.Directives = append(dnsserver.Directives, "k8s_gateway")
	coremain.Run()
}
