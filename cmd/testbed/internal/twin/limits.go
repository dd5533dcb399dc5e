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

// limitsPath is the record of the setting: of the machine, not of a cluster, and gone at a reboot as
// the setting itself.
const limitsPath = "/run/dnsingress-testbed.json"

// limits records the raised setting and who needs it; the last one to go restores it.
type limits struct {
	Instances int      `json:"inotify_max_user_instances"` // the value found
	Holders   []string `json:"state_directories"`
}

// withLimits runs fn on the record, alone among all testbeds of the machine.
func withLimits(fn func(*limits) error) error {
	dir, err := os.Open(filepath.Dir(limitsPath)) // locking the directory leaves no lock file behind
	if err != nil {
		return fmt.Errorf("locking %s: %w", limitsPath, err)
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("locking %s: %w", limitsPath, err)
	}
	var l limits
	b, err := os.ReadFile(limitsPath)
	if err == nil {
		err = json.Unmarshal(b, &l)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading %s: %w", limitsPath, err)
	}
	return fn(&l)
}

func (t *Twin) raiseLimits() error {
	return withLimits(func(l *limits) error {
		now, err := instances()
		if err != nil {
			return err
		}
		if len(l.Holders) == 0 {
			l.Instances = now
		}
		if !slices.Contains(l.Holders, t.dir) {
			l.Holders = append(l.Holders, t.dir)
		}
		if err := writeJSON(limitsPath, l); err != nil {
			return fmt.Errorf("recording %s: %w", instancesPath, err)
		}
		if now >= wantInstances {
			return nil
		}
		return setInstances(wantInstances)
	})
}

func (t *Twin) lowerLimits() error {
	return withLimits(func(l *limits) error {
		i := slices.Index(l.Holders, t.dir)
		if i < 0 {
			return nil
		}
		l.Holders = slices.Delete(l.Holders, i, i+1)
		if len(l.Holders) > 0 {
			return writeJSON(limitsPath, l)
		}
		if now, err := instances(); err != nil {
			return err
		} else if now == wantInstances { // else somebody changed it since: theirs stays
			if err := setInstances(l.Instances); err != nil {
				return err
			}
		}
		return os.Remove(limitsPath)
	})
}

func instances() (int, error) {
	b, err := os.ReadFile(instancesPath)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

func setInstances(n int) error { return os.WriteFile(instancesPath, []byte(strconv.Itoa(n)), 0) }
