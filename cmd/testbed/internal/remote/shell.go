// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/crypto/ssh"
)

// Terminal is the local side of an interactive session.
type Terminal struct {
	Name          string // TERM
	Width, Height int
	Resized       <-chan [2]int // width and height; nil: never
	Stdin         io.Reader
	Stdout        io.Writer
}

// Shell runs a line on a terminal of the node, or root's login shell when the line is empty, until it
// ends. A code other than zero is an *ExitError. When ctx ends, the terminal hangs up.
func (f *Fleet) Shell(ctx context.Context, node, line string, t Terminal) error {
	_, s, done, err := f.session(ctx, node)
	if err != nil {
		return err
	}
	defer done()
	if err := s.RequestPty(t.Name, t.Height, t.Width, ssh.TerminalModes{}); err != nil {
		return fmt.Errorf("%s: requesting a terminal: %w", node, err)
	}
	in, err := s.StdinPipe()
	if err != nil {
		return fmt.Errorf("%s: %w", node, err)
	}
	go func() {
		_, _ = io.Copy(in, t.Stdin)
		in.Close()
	}()
	s.Stdout, s.Stderr = t.Stdout, t.Stdout
	if line == "" {
		err = s.Shell()
	} else {
		err = s.Start(line)
	}
	if err != nil {
		return fmt.Errorf("%s: starting a shell: %w", node, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Wait() }()
	for {
		select {
		case err := <-ended:
			return exitError(err, node, line, nil)
		case size := <-t.Resized:
			_ = s.WindowChange(size[1], size[0])
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
