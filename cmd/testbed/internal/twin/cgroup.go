// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupParent is the group under which all that the twin accounts for stands, in each hierarchy.
const cgroupParent = "dnsingress-testbed"

// hierarchies returns the mount points of the machine's cgroup hierarchies: one with cgroup v2, one a
// controller (or set of controllers) with v1 and with the hybrid layout.
func hierarchies() ([]string, error) {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("finding the cgroup hierarchies: %w", err)
	}
	defer f.Close()
	var mounts []string
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) > 2 && (fields[2] == "cgroup" || fields[2] == "cgroup2") && strings.HasPrefix(fields[1], "/sys/fs/cgroup") {
			mounts = append(mounts, fields[1])
		}
	}
	if len(mounts) == 0 {
		return nil, errors.New("no cgroup hierarchy is mounted below /sys/fs/cgroup (hint: mount -t cgroup2 none /sys/fs/cgroup)")
	}
	slices.Sort(mounts)
	return slices.Compact(mounts), nil
}

// group is one cgroup: the same path in every hierarchy.
type group struct {
	mounts []string
	path   string // relative: dnsingress-testbed/twin/worker-1
}

func nodeGroup(cluster, node string) (group, error) {
	mounts, err := hierarchies()
	return group{mounts, filepath.Join(cgroupParent, cluster, node)}, err
}

// dirs returns the group's directory in each hierarchy.
func (g group) dirs() []string {
	dirs := make([]string, len(g.mounts))
	for i, m := range g.mounts {
		dirs[i] = filepath.Join(m, g.path)
	}
	return dirs
}

// create makes the group, ready to take processes.
func (g group) create() error {
	for _, mount := range g.mounts {
		dir := mount
		for _, part := range strings.Split(g.path, "/") {
			parent := dir
			dir = filepath.Join(dir, part)
			if err := enableControllers(parent); err != nil {
				return err
			}
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("making cgroup: %w", err)
			}
			if err := inheritCpuset(parent, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// enableControllers lets the children of a cgroup v2 group be accounted and limited by all that the
// group itself has; v1 needs nothing.
func enableControllers(dir string) error {
	has, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the controllers of cgroup %s: %w", dir, err)
	}
	for _, c := range strings.Fields(string(has)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0); err != nil {
			return fmt.Errorf("enabling controller %s in cgroup %s: %w", c, dir, err)
		}
	}
	return nil
}

// inheritCpuset gives a v1 cpuset its parent's processors and memory: an empty one takes no process.
func inheritCpuset(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if own, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers")); err == nil && own != nil {
			continue // v2 inherits by itself
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), value, 0)
		}
		if err != nil {
			return fmt.Errorf("setting %s of cgroup %s: %w", file, dir, err)
		}
	}
	return nil
}

// exists says whether the group is there in any hierarchy.
func (g group) exists() bool {
	return slices.ContainsFunc(g.dirs(), func(dir string) bool {
		_, err := os.Stat(dir)
		return err == nil
	})
}

// processes returns the ids of all processes in the group and below, in any hierarchy.
func (g group) processes() ([]int, error) {
	seen := make(map[int]bool)
	for _, dir := range g.dirs() {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return gone(err)
			}
			if !d.IsDir() {
				return nil
			}
			ids, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			for _, id := range strings.Fields(string(ids)) {
				if pid, err := strconv.Atoi(id); err == nil && pid > 0 {
					seen[pid] = true
				}
			}
			if errors.Is(err, unix.EOPNOTSUPP) { // a threaded v2 group: its processes are listed above
				return nil
			}
			return gone(err)
		})
		if err != nil {
			return nil, fmt.Errorf("listing the processes of cgroup %s: %w", g.path, err)
		}
	}
	ids := make([]int, 0, len(seen))
	for id := range seen {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// holds says whether the process is in the group now, in any hierarchy.
func (g group) holds(pid int) bool {
	lines, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(lines)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		_, path, _ := strings.Cut(rest, ":")
		path = strings.TrimPrefix(path, "/")
		if path == g.path || strings.HasPrefix(path, g.path+"/") {
			return true
		}
	}
	return false
}

// remove removes the group and all below it in every hierarchy. Its processes must be gone.
func (g group) remove() error {
	for _, dir := range g.dirs() {
		if err := removeTree(dir); err != nil {
			return fmt.Errorf("removing cgroup: %w", err)
		}
	}
	return nil
}

// removeTree removes cgroup directories, deepest first: their files go with them.
func removeTree(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return gone(err)
		}
		if d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, d := range slices.Backward(dirs) {
		if rmErr := unix.Rmdir(d); rmErr != nil && !errors.Is(rmErr, unix.ENOENT) {
			return errors.Join(err, &fs.PathError{Op: "rmdir", Path: d, Err: rmErr})
		}
	}
	return err
}

// removeEmptyParent removes the group above when nothing is left in it.
func (g group) removeEmptyParent() error {
	for _, dir := range g.dirs() {
		err := unix.Rmdir(filepath.Dir(dir))
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
			return fmt.Errorf("removing cgroup %s: %w", filepath.Dir(dir), err)
		}
	}
	return nil
}

// gone makes an error that says a group vanished meanwhile none.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
