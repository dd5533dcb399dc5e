// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// patience is how long a device may take to appear after its driver is loaded.
const patience = 30 * time.Second

// events is where the kernel tells of devices that appear (NETLINK_KOBJECT_UEVENT).
type events struct{ fd int }

func listen() (*events, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("listening for devices: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}),
	)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listening for devices: %w", err)
	}
	return &events{fd}, nil
}

func (e *events) Close() { unix.Close(e.fd) }

// await returns when found says so: it is asked now, and after every event. The last error of found is returned
// when patience ends.
func (e *events) await(found func() error) error {
	buf := make([]byte, 8192)
	for until := time.Now().Add(patience); ; {
		err := found()
		if err == nil || time.Now().After(until) {
			return err
		}
		_, _ = unix.Read(e.fd, buf) // what happened matters not, only that something did, or a second passed
	}
}

// connect gives the interface that the node booted from its address.
func connect(e *events, p params) error {
	err := e.await(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, link := range links {
			if !bytes.Equal(link.Attrs().HardwareAddr, p.mac) {
				continue
			}
			a := &netlink.Addr{IPNet: &net.IPNet{IP: p.address.Addr().AsSlice(), Mask: net.CIDRMask(p.address.Bits(), p.address.Addr().BitLen())}}
			if err := netlink.AddrReplace(link, a); err != nil {
				return err
			}
			return netlink.LinkSetUp(link)
		}
		return fmt.Errorf("no interface has the MAC address %s (hint: the initramfs lacks its driver)", p.mac)
	})
	if err != nil {
		return fmt.Errorf("bringing up the network: %w", err)
	}
	return nil
}

// diskName matches disks that a system could boot from: SD cards and eMMC, NVMe, virtio, SCSI, SATA and USB.
var diskName = regexp.MustCompile(`^(mmcblk[0-9]+|nvme[0-9]+n[0-9]+|vd[a-z]+|sd[a-z]+)$`)

// findDisk returns the device of the disk to write and words that describe it. Without a name it is the machine's
// SD card, or else its only disk.
func findDisk(e *events, name string) (path, describe string, err error) {
	err = e.await(func() error {
		disks, err := listDisks("/sys/block")
		if err != nil {
			return err
		}
		if name, err = chooseDisk(disks, name); err != nil {
			return err
		}
		path, describe = filepath.Join("/dev", name), describeDisk("/sys/block", name)
		_, err = os.Stat(path)
		return err
	})
	if err != nil {
		return "", "", fmt.Errorf("finding the disk: %w", err)
	}
	return path, describe, nil
}

func listDisks(sys string) ([]string, error) {
	dirs, err := os.ReadDir(sys)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, d := range dirs {
		if diskName.MatchString(d.Name()) && sectors(sys, d.Name()) > 0 {
			names = append(names, d.Name())
		}
	}
	return names, nil
}

func chooseDisk(disks []string, name string) (string, error) {
	switch {
	case name != "" && slices.Contains(disks, name):
		return name, nil
	case name != "":
		return "", fmt.Errorf("there is no disk %s; there are: %s", name, strings.Join(disks, " "))
	case slices.Contains(disks, "mmcblk0"):
		return "mmcblk0", nil
	case len(disks) == 1:
		return disks[0], nil
	case len(disks) == 0:
		return "", errors.New("there is no disk (hint: is a card in the slot?)")
	default:
		return "", fmt.Errorf("there are several disks: %s (hint: the order must name one)", strings.Join(disks, " "))
	}
}

func sectors(sys, disk string) int64 {
	b, err := os.ReadFile(filepath.Join(sys, disk, "size"))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n
}

func describeDisk(sys, disk string) string {
	words := []string{disk}
	for _, attr := range []string{"device/name", "device/model", "device/serial"} {
		if b, err := os.ReadFile(filepath.Join(sys, disk, attr)); err == nil && len(bytes.TrimSpace(b)) > 0 {
			words = append(words, string(bytes.TrimSpace(b)))
		}
	}
	return strings.Join(append(words, fmt.Sprintf("%d bytes", sectors(sys, disk)*512)), " ")
}
