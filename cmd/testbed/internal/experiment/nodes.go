// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
)

// Nodes is what the runner does on nodes.
type Nodes interface {
	// Shell runs a command line and returns its standard output.
	Shell(ctx context.Context, node, line string, stdin io.Reader) ([]byte, error)
	Put(ctx context.Context, node string, r io.Reader, path string, mode fs.FileMode) error
	Get(ctx context.Context, node, path string, w io.Writer) error
	ClockOffset(ctx context.Context, node string) (offset, rtt time.Duration, err error)
}

// OverSSH makes Nodes of a fleet.
func OverSSH(f *remote.Fleet) Nodes { return fleet{f} }

type fleet struct{ *remote.Fleet }

func (f fleet) Shell(ctx context.Context, node, line string, stdin io.Reader) ([]byte, error) {
	var out bytes.Buffer
	_, err := f.Run(ctx, node, remote.Command{Line: line, Stdin: stdin, Stdout: &out})
	return out.Bytes(), err
}
