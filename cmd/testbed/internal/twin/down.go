// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Cut ends a node as a power cut does: its link goes silent first, so that no peer is told of the
// end, then all its processes are killed. A node that is off already stays so.
func (t *Twin) Cut(ctx context.Context, node string) error {
	if err := t.cutLink(node); err != nil {
		return err
	}
	g, err := nodeGroup(t.inv.Cluster, node)
	if err != nil {
		return err
	}
	return g.empty(ctx)
}

// empty kills the group's processes and removes it. The group may be busy though it seems empty: the
// kernel is still letting go of a process, or a killed testbed's last child entered it just now.
// Nothing tells when that is over, so that it is tried again.
func (g group) empty(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; {
		if err := g.killAll(ctx); err != nil {
			return err
		}
		err := g.remove()
		if err == nil || !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Down removes everything of the twin, standing or half made, and the state directory. It goes on
// past errors and returns them all; to call it again is safe.
func (t *Twin) Down(ctx context.Context) error {
	if os.Geteuid() != 0 {
		if left, err := t.Leftovers(); err == nil && indexNot(left, "state directory") >= 0 {
			return errors.New("removing a twin needs root (hint: sudo)")
		}
	}
	names, err := t.names()
	if err != nil {
		return err
	}
	var (
		wg   sync.WaitGroup
		errs = make([]error, len(names))
	)
	for i, name := range names {
		wg.Go(func() {
			if err := errors.Join(t.Cut(ctx, name), t.unplug(name)); err != nil {
				errs[i] = fmt.Errorf("removing %s: %w", name, err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err // the state stays for the next attempt
	}
	// Programs that a killed testbed had started there, as Ansible with its SSH connections, would keep
	// the namespace alive without its name.
	if err := killInside(ctx, switchNamespace(t.inv.Cluster)); err != nil {
		return err
	}
	if err := removeNamespace(switchNamespace(t.inv.Cluster)); err != nil {
		return err
	}
	g, err := nodeGroup(t.inv.Cluster, "any")
	if err != nil {
		return err
	}
	if err := errors.Join(g.removeEmptyParent(), g.up().removeEmptyParent()); err != nil {
		return err
	}
	if err := t.lowerLimits(); err != nil {
		return fmt.Errorf("restoring %s: %w", instancesPath, err)
	}
	if err := os.RemoveAll(t.dir); err != nil {
		return fmt.Errorf("removing the state directory: %w", err)
	}
	_ = os.Remove(filepath.Dir(t.dir)) // fails while other clusters have theirs in it
	return nil
}

// up returns the group above.
func (g group) up() group { return group{g.mounts, filepath.Dir(g.path)} }

// Leftovers lists what stands of the twin, one thing a line; nothing after Down.
func (t *Twin) Leftovers() ([]string, error) {
	names, err := t.names()
	if err != nil {
		return nil, err
	}
	var left []string
	for _, name := range append(names, "") {
		namespace := nodeNamespace(t.inv.Cluster, name)
		if name == "" {
			namespace = switchNamespace(t.inv.Cluster)
		}
		if _, err := os.Lstat(filepath.Join(namespaceDir, namespace)); err == nil {
			left = append(left, "network namespace "+namespace)
		}
		if name == "" {
			continue
		}
		g, err := nodeGroup(t.inv.Cluster, name)
		if err != nil {
			return nil, err
		}
		if g.exists() {
			left = append(left, "cgroup "+g.path)
		}
	}
	if _, err := os.Stat(t.dir); err == nil {
		left = append(left, "state directory "+t.dir)
	}
	return left, nil
}
