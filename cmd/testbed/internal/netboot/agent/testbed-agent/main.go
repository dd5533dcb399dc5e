// SPDX-License-Identifier: Apache-2.0

// Command testbed-agent is the only program of the initramfs: the kernel's first process on a node that is written anew.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/agent"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "testbed-agent: this overwrites the disk of the machine that it is the first process of, and runs as nothing else")
		os.Exit(2)
	}
	agent.Boot(context.Background(), slog.New(slog.NewTextHandler(os.Stderr, nil)))
}
