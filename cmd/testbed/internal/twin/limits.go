// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"encoding/json"
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

// instancesPath is the one setting of the host that the twin changes: each systemd, kubelet and
// containerd watches files, and the default of 128 watchers for one user is gone at the 22nd node.
const instancesPath = "/proc/sys/fs/inotify/max_user_instances"

const wantInstances = 8192

// limits records a raised setting of the host and the clusters that need it; the last one to go
// restores it. It is shared by all clusters of the machine.
type limits struct {
	Instances int      `json:"inotify_max_user_instances"` // the value found
	Holders   []string `json:"clusters"`
}

// withLimits runs fn on the record, alone among all testbeds of the machine, and keeps the change;
// a record without holders is removed.
func (t *Twin) withLimits(fn func(*limits) error) error {
	root := filepath.Dir(t.dir)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fmt.Errorf("making the state directory: %w", err)
	}
	dir, err := os.Open(root) // locking the directory leaves no lock file behind
	if err != nil {
		return fmt.Errorf("opening the state directory: %w", err)
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("locking %s: %w", root, err)
	}
	path := filepath.Join(root, "limits.json")
	var l limits
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &l)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return fn(&l)
}

func (t *Twin) raiseLimits() error {
	return t.withLimits(func(l *limits) error {
		now, err := instances()
		if err != nil {
			return err
		}
		if len(l.Holders) == 0 {
			l.Instances = now
		}
		if !slices.Contains(l.Holders, t.inv.Cluster) {
			l.Holders = append(l.Holders, t.inv.Cluster)
		}
		if err := writeJSON(t.limitsPath(), l); err != nil {
			return fmt.Errorf("recording %s: %w", instancesPath, err)
		}
		if now >= wantInstances {
			return nil
		}
		return setInstances(wantInstances)
	})
}

func (t *Twin) lowerLimits() error {
	return t.withLimits(func(l *limits) error {
		i := slices.Index(l.Holders, t.inv.Cluster)
		if i < 0 {
			return nil
		}
		l.Holders = slices.Delete(l.Holders, i, i+1)
		if len(l.Holders) > 0 {
			return writeJSON(t.limitsPath(), l)
		}
		if now, err := instances(); err != nil {
			return err
		} else if now == wantInstances { // else somebody changed it since: theirs stays
			if err := setInstances(l.Instances); err != nil {
				return err
			}
		}
		return os.Remove(t.limitsPath())
	})
}

func (t *Twin) limitsPath() string { return filepath.Join(filepath.Dir(t.dir), "limits.json") }

func instances() (int, error) {
	b, err := os.ReadFile(instancesPath)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

func setInstances(n int) error { return os.WriteFile(instancesPath, []byte(strconv.Itoa(n)), 0) }
