// SPDX-License-Identifier: Apache-2.0

// Package agent is what a node runs that was booted to be written anew: the only program of its initramfs. It
// carries out one order and restarts the machine.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/order"
)

// Boot is the whole life of the machine's first process; it ends with the machine's restart, whatever happens. A
// node whose order failed boots from its disk again, or asks the netboot service again where the disk boots nothing.
func Boot(ctx context.Context, log *slog.Logger) {
	defer restart(log)
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic", "what", p)
		}
	}()
	if err := boot(ctx, log); err != nil {
		log.Error("this node was not written", "error", err)
	}
}

func boot(ctx context.Context, log *slog.Logger) error {
	if err := mounts(); err != nil {
		return err
	}
	if err := loadModules("/modules"); err != nil {
		return err
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return fmt.Errorf("reading the kernel's command line: %w", err)
	}
	p, err := parseParams(string(cmdline))
	if err != nil {
		return err
	}
	events, err := listen()
	if err != nil {
		return err
	}
	defer events.Close()
	if err := connect(events, p); err != nil {
		return err
	}
	log.Info("network is up", "address", p.address)
	return Obey(ctx, p.url, func(name string) (*Disk, string, error) {
		path, describe, err := findDisk(events, name)
		if err != nil {
			return nil, "", err
		}
		disk, err := OpenDisk(path)
		return disk, describe, err
	}, log)
}

// Obey takes the order at an address, carries it out and reports. Open opens the disk of a name, which may be empty,
// and describes it.
func Obey(ctx context.Context, u *url.URL, open func(name string) (disk *Disk, describe string, err error), log *slog.Logger) error {
	s := newServer(u)
	o, err := s.order(ctx)
	if err != nil {
		return err
	}
	log.Info("order", "node", o.Node, "action", o.Action, "image", o.Image.ID)
	result, err := s.obey(ctx, o, open, log)
	if err == nil {
		log.Info("done", "boots", result.Active, "keeps", result.Previous)
		return s.insist(ctx, result)
	}
	said := order.Report{Step: order.Failed, Error: strings.ReplaceAll(err.Error(), "\n", "; ")}
	return errors.Join(err, s.insist(ctx, said))
}

func (s *server) obey(ctx context.Context, o order.Order, open func(string) (*Disk, string, error), log *slog.Logger) (order.Report, error) {
	disk, describe, err := open(o.Disk)
	if err != nil {
		return order.Report{}, err
	}
	defer disk.Close()
	log.Info("disk", "is", describe)
	if err := s.report(ctx, order.Report{Step: order.Started, Disk: describe}); err != nil {
		return order.Report{}, err
	}
	return Carry(ctx, o, disk, s.image, func(r order.Report) {
		if err := s.report(ctx, r); err != nil {
			log.Warn("reporting", "error", err)
		}
	})
}

// mounts makes /proc, /sys and /dev.
func mounts() error {
	for _, m := range []struct{ kind, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mounting %s: %w", m.at, err)
		}
	}
	return nil
}

// loadModules loads the modules that the file order lists.
func loadModules(dir string) error {
	list, err := os.ReadFile(filepath.Join(dir, "order"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the list of modules: %w", err)
	}
	for _, name := range strings.Fields(string(list)) {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("loading a module: %w", err)
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("loading %s: %w", name, err)
		}
	}
	return nil
}

// restart restarts the machine. A firmware that would loop gets a moment in which its console can be read.
func restart(log *slog.Logger) {
	unix.Sync()
	log.Info("restarting")
	time.Sleep(time.Second)
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART); err != nil {
		log.Error("restarting", "error", err)
		panic(err) // the first process must not end: the kernel panics, and restarts after panic= seconds
	}
}
