// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/pkg/sftp"
)

// Put writes a file on a node, with its parents, as a whole or not at all: it is written beside its
// place and renamed.
func (f *Fleet) Put(ctx context.Context, node string, r io.Reader, name string, mode fs.FileMode) error {
	return f.transfer(ctx, node, "writing", name, func(c *sftp.Client) error {
		if err := c.MkdirAll(path.Dir(name)); err != nil {
			return err
		}
		tmp := name + ".testbed-new"
		w, err := c.Create(tmp)
		if err != nil {
			return err
		}
		_, err = w.ReadFrom(r)
		err = errors.Join(err, c.Chmod(tmp, mode), w.Close())
		if err == nil {
			err = c.PosixRename(tmp, name)
		}
		if err != nil {
			_ = c.Remove(tmp)
		}
		return err
	})
}

// Get reads a file of a node.
func (f *Fleet) Get(ctx context.Context, node, name string, w io.Writer) error {
	return f.transfer(ctx, node, "reading", name, func(c *sftp.Client) error {
		r, err := c.Open(name)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = r.WriteTo(w)
		return err
	})
}

func (f *Fleet) transfer(ctx context.Context, node, doing, name string, fn func(*sftp.Client) error) error {
	fail := func(err error) error {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("%s: %s %s: %w", node, doing, name, err)
	}
	_, s, done, err := f.session(ctx, node)
	if err != nil {
		return err
	}
	defer done()
	// Closing the session ends whatever the transfer waits for.
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	in, err := s.StdinPipe()
	if err != nil {
		return fail(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		return fail(err)
	}
	if err := s.RequestSubsystem("sftp"); err != nil {
		return fail(err)
	}
	c, err := sftp.NewClientPipe(out, in)
	if err != nil {
		return fail(err)
	}
	defer c.Close()
	if err := fn(c); err != nil {
		return fail(err)
	}
	return nil
}
