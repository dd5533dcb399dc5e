// SPDX-License-Identifier: Apache-2.0

// Command coredns is CoreDNS with no more plugins than the benchmark needs: zones from files and from a primary.
package main

import (
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/file"
	_ "github.com/coredns/coredns/plugin/secondary"
	_ "github.com/coredns/coredns/plugin/transfer"
)

func main() { coremain.Run() }
