// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/twin"
)

// Raising is what the phases that raise a cluster need: a twin the first three, boards the others.
type Raising struct {
	Base  twin.BaseBuild
	Binds func(ctx context.Context, n inventory.Node) ([]twin.Bind, error) // asked when the nodes boot
	Seed  func(ctx context.Context, n inventory.Node) (string, error)      // likewise, see twin.Machine; nil: none

	Imaging Imaging                          // nil: nothing writes cards over the network
	AtOnce  func(nodes []inventory.Node) int // how many of the nodes may be written at once; nil: a few
}

// programs returns an error for each program that provisioning needs and this machine lacks.
func programs() error {
	var errs []error
	for _, p := range [][2]string{{"ansible-playbook", "ansible-core"}, {"ssh", "openssh-client"}} {
		if _, err := exec.LookPath(p[0]); err != nil {
			errs = append(errs, fmt.Errorf("program %s is missing (hint: apt-get install %s)", p[0], p[1]))
		}
	}
	return errors.Join(errs...)
}
