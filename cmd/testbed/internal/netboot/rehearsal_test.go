// SPDX-License-Identifier: Apache-2.0

package netboot

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/crypto/ssh"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/order"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/slot"
)

// The rehearsal is a virtual machine with real firmware, a real kernel and a real system on its disk, which is written
// anew over the network, again, with an image that does not boot, and with its power cut in the middle. It runs in a
// network namespace of its own: make rehearse, which sets the variables of stage.

// stage is what tools/rehearsal/prepare has readied.
type stage struct {
	dir, kernel, modules, system string
}

func newStage(t *testing.T) stage {
	t.Helper()
	s := stage{os.Getenv("REHEARSAL_DIR"), os.Getenv("REHEARSAL_KERNEL"), os.Getenv("REHEARSAL_MODULES"), os.Getenv("REHEARSAL_SYSTEM")}
	if s.dir == "" {
		t.Skip("the rehearsal runs by make rehearse: it needs QEMU and some minutes")
	}
	return s
}

// tool is a program that was unpacked and not installed.
func (s stage) tool(ctx context.Context, name string, args ...string) *exec.Cmd {
	root := filepath.Join(s.dir, "tools")
	path := filepath.Join(root, "usr/bin", name)
	cmd := exec.CommandContext(ctx, path, args...)
	lib := filepath.Join(root, "usr/lib/x86_64-linux-gnu")
	cmd.Env = append(os.Environ(),
		"LD_LIBRARY_PATH="+lib+":"+filepath.Join(root, "lib/x86_64-linux-gnu")+":"+filepath.Join(lib, "pulseaudio"),
		"QEMU_MODULE_DIR="+filepath.Join(lib, "qemu"), "MTOOLS_SKIP_CHECK=1")
	return cmd
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

const (
	machineMAC     = "52:54:00:aa:00:01"
	machineAddress = "fd6e:7274:0:1::11"
	hostAddress    = "fd6e:7274:0:1::fffe"
)

// keys of the machine's SSH server and of who logs in.
type keys struct {
	host, login ssh.Signer
	hostPEM     []byte
}

func makeKeys(t *testing.T) keys {
	t.Helper()
	signer := func() (ssh.Signer, []byte) {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		must(t, err)
		block, err := ssh.MarshalPrivateKey(private, "rehearsal")
		must(t, err)
		s, err := ssh.NewSignerFromKey(private)
		must(t, err)
		return s, pem.EncodeToMemory(block)
	}
	var k keys
	k.host, k.hostPEM = signer()
	k.login, _ = signer()
	return k
}

// image makes an image of the rehearsal's operating system that is worker-1. One that is dead has no kernel.
func (s stage) image(t *testing.T, dir, id string, k keys, dead bool) Image {
	t.Helper()
	ctx := t.Context()
	sum := sha256.Sum256([]byte(id))
	signature := [4]byte(sum[:])
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, id+"."+name)
		must(t, os.WriteFile(path, content, 0o600))
		return path
	}
	path := filepath.Join(dir, id+".img")
	run(t, exec.CommandContext(ctx, "cp", "--sparse=always", "--reflink=auto", s.system, path))

	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	sector := make([]byte, slot.SectorSize)
	_, err = f.ReadAt(sector, 0)
	must(t, err)
	table, err := slot.ReadTable(sector)
	must(t, err)
	parts := table.Entries()
	copy(sector[440:], signature[:])
	_, err = f.WriteAt(sector, 0)
	must(t, err)

	// The root gets what makes it this node's.
	var script strings.Builder
	for target, content := range map[string]string{
		"/etc/testbed/image":                   id + "\n",
		"/etc/hostname":                        "worker-1\n",
		"/etc/ssh/ssh_host_ed25519_key":        string(k.hostPEM),
		"/root/.ssh/authorized_keys":           string(ssh.MarshalAuthorizedKey(k.login.PublicKey())),
		"/etc/systemd/network/10-node.network": "[Match]\nMACAddress=" + machineMAC + "\n[Network]\nAddress=" + machineAddress + "/64\nIPv6AcceptRA=no\n",
		"/etc/cloud/cloud-init.disabled":       "",
	} {
		fmt.Fprintf(&script, "mkdir %s\nwrite %s %s\n", filepath.Dir(target), write(strings.ReplaceAll(target, "/", "_"), []byte(content)), target)
		if strings.HasPrefix(target, "/etc/systemd") {
			fmt.Fprintf(&script, "sif %s mode 0100644\n", target)
		}
	}
	run(t, exec.CommandContext(ctx, "debugfs", "-w", "-f", write("debugfs", []byte(script.String())), fmt.Sprintf("%s?offset=%d", path, int64(parts[1].Start)*slot.SectorSize)))

	// What firmware's successor reads.
	fat := fmt.Sprintf("%s@@%d", path, int64(parts[0].Start)*slot.SectorSize)
	menu := fmt.Sprintf("serial --unit=0 --speed=115200\nterminal_output serial\nset timeout=0\necho starting %s\nlinux /vmlinuz root=PARTUUID=%08x-02 ro console=ttyS0,115200 panic=5 mitigations=off\ninitrd /initrd.img\nboot\n",
		id, binary.LittleEndian.Uint32(signature[:]))
	run(t, s.tool(ctx, "mcopy", "-o", "-i", fat, write("grub.cfg", []byte(menu)), "::/grub/grub.cfg"))
	if dead {
		run(t, s.tool(ctx, "mcopy", "-o", "-i", fat, write("vmlinuz", []byte("this is no kernel")), "::/vmlinuz"))
	}

	h := sha256.New()
	size, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<62))
	must(t, err)
	return Image{Image: order.Image{ID: id, Size: size, SHA256: hex.EncodeToString(h.Sum(nil))}, Disk: f}
}

// machine is one virtual machine on a bridge: its power, and its system as it answers on SSH.
type machine struct {
	t     *testing.T
	stage stage
	keys  keys
	disk  string
	log   *os.File // the console's output
	mac   string
	tap   string

	mu  sync.Mutex
	cmd *exec.Cmd
}

// start powers the machine on.
func (m *machine) start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	root := filepath.Join(m.stage.dir, "tools/usr")
	// KVM inside of a virtual machine often cannot run firmware, which is 16-bit code.
	accel := cmp.Or(os.Getenv("REHEARSAL_ACCEL"), "tcg")
	cmd := m.stage.tool(context.Background(), "qemu-system-x86_64",
		"-L", filepath.Join(root, "share/qemu"), "-L", filepath.Join(root, "share/seabios"), "-L", filepath.Join(root, "lib/ipxe/qemu"),
		"-machine", "pc,accel="+accel, "-cpu", "qemu64", "-m", "1024", "-smp", "1",
		"-nographic", "-nodefaults", "-serial", "stdio", "-boot", "order=nc",
		"-device", "virtio-rng-pci",
		"-drive", "if=virtio,format=raw,cache=writeback,discard=unmap,detect-zeroes=unmap,file="+m.disk,
		"-netdev", "tap,id=n,script=no,downscript=no,ifname="+m.tap, "-device", "virtio-net-pci,netdev=n,mac="+m.mac)
	cmd.Stdout, cmd.Stderr = m.log, m.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	fmt.Fprintf(m.log, "\n--- power on %s\n", time.Now().Format(time.TimeOnly))
	if err := cmd.Start(); err != nil {
		return err
	}
	m.cmd = cmd
	return nil
}

// cut takes the machine's power.
func (m *machine) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd != nil {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait()
		m.cmd = nil
		fmt.Fprintf(m.log, "\n--- power off %s\n", time.Now().Format(time.TimeOnly))
	}
}

func (m *machine) Cycle(context.Context, string) error {
	m.cut()
	return m.start()
}

// ssh runs a command on the machine, whose host key must be the one that its image was given.
func (m *machine) ssh(ctx context.Context, command string) (string, error) {
	d := net.Dialer{Timeout: 2 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(machineAddress, "22"))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	c, chans, reqs, err := ssh.NewClientConn(conn, "worker-1", &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(m.keys.login)}, HostKeyCallback: ssh.FixedHostKey(m.keys.host.PublicKey()),
	})
	if err != nil {
		return "", err
	}
	client := ssh.NewClient(c, chans, reqs)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	out, err := session.CombinedOutput(command)
	return strings.TrimSpace(string(out)), err
}

func (m *machine) ImageID(ctx context.Context, _ string) (string, error) {
	return m.ssh(ctx, "cat /etc/testbed/image")
}

func (m *machine) Reboot(ctx context.Context, _ string) error {
	_, err := m.ssh(ctx, "systemd-run --quiet --on-active=1 systemctl reboot")
	return err
}

// shelf has the images to write.
type shelf struct {
	images map[string]Image
	wanted string
}

func (s *shelf) Wanted(context.Context, inventory.Node) (string, error) { return s.wanted, nil }
func (s *shelf) Image(context.Context, inventory.Node) (Image, error)   { return s.images[s.wanted], nil }

// bridge makes the link that the machine and the service are on.
func bridge(t *testing.T, taps ...string) {
	t.Helper()
	links, err := netlink.LinkList()
	must(t, err)
	if len(links) > 1 || links[0].Attrs().Name != "lo" {
		t.Fatal("this is no network namespace of its own (hint: make rehearse makes one)")
	}
	br := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	br.Name = "br0"
	must(t, netlink.LinkAdd(br))
	must(t, netlink.LinkSetUp(links[0]))
	must(t, netlink.LinkSetUp(br))
	a, err := netlink.ParseAddr(hostAddress + "/64")
	must(t, err)
	a.Flags = syscall.IFA_F_NODAD
	must(t, netlink.AddrAdd(br, a))
	for _, name := range taps {
		tap := &netlink.Tuntap{LinkAttrs: netlink.NewLinkAttrs(), Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_ONE_QUEUE | netlink.TUNTAP_VNET_HDR}
		tap.Name = name
		must(t, netlink.LinkAdd(tap))
		must(t, netlink.LinkSetMaster(tap, br))
		must(t, netlink.LinkSetUp(tap))
	}
}

// agentProgram builds what the initramfs carries.
func agentProgram(t *testing.T, dir string) []byte {
	t.Helper()
	path := filepath.Join(dir, "agent")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "./agent/testbed-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	run(t, cmd)
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}

func TestRehearsal(t *testing.T) {
	s := newStage(t)
	bridge(t, "tap0", "tap1")
	dir, err := os.MkdirTemp(s.dir, "run.")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	began := time.Now()
	said := func(format string, a ...any) {
		t.Logf("%6.1fs "+format, append([]any{time.Since(began).Seconds()}, a...)...)
	}

	k := makeKeys(t)
	stock := &shelf{images: map[string]Image{}}
	for _, id := range []string{"one", "two", "dead"} {
		stock.images[id] = s.image(t, dir, id, k, id == "dead")
	}
	said("images of %d MB are made", stock.images["one"].Size>>20)
	modules, err := Modules(os.DirFS(s.modules), Drivers)
	must(t, err)
	initramfs, err := Initramfs(agentProgram(t, dir), modules)
	must(t, err)
	said("initramfs of %.1f MB with %d modules", float64(len(initramfs))/1e6, len(modules))

	var mac inventory.MAC
	must(t, mac.UnmarshalText([]byte(machineMAC)))
	service, err := New(Config{
		Interface: "br0", Address: netip.MustParsePrefix("192.0.2.1/24"), Kernel: s.kernel, Initramfs: initramfs,
		Clients: []Client{{"worker-1", mac, leaseOne}}, Log: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: quiet})),
	})
	must(t, err)
	must(t, service.Start(t.Context()))
	t.Cleanup(func() { must(t, service.Close()) })

	newMachine := func(name, mac, tap string) *machine {
		console, err := os.Create(filepath.Join(s.dir, name+".console"))
		must(t, err)
		m := &machine{t: t, stage: s, keys: k, disk: filepath.Join(dir, name+".disk"), log: console, mac: mac, tap: tap}
		must(t, os.WriteFile(m.disk, nil, 0o600))
		must(t, os.Truncate(m.disk, 6<<30))
		t.Cleanup(func() { m.cut(); console.Close() })
		return m
	}
	m := newMachine("worker-1", machineMAC, "tap0")
	patience := Patience{Ask: 5 * time.Minute, Load: 10 * time.Minute, Silence: 5 * time.Minute, Back: 15 * time.Minute} // of an emulated processor beside others
	re := &Reimager{Service: service, Power: m, Nodes: m, Images: stock, Patience: patience}
	node := inventory.Node{Name: "worker-1"}
	var last string
	reimage := func(id string) error {
		stock.wanted = id
		start := time.Now()
		err := re.Reimage(t.Context(), node, func(step string, _, _ int64) {
			if step != last {
				said("%s: %s", id, step)
			}
			last = step
			if strings.HasPrefix(step, "going back") {
				re.Patience.Back = patience.Back // to a system that does boot
			}
		})
		said("image %s: %.1f s, %v", id, time.Since(start).Seconds(), err)
		return err
	}
	runs := func(want string) {
		t.Helper()
		if got, err := m.ImageID(t.Context(), ""); err != nil || got != want {
			t.Fatalf("it runs %q, %v; want %q", got, err, want)
		}
	}

	// A blank disk.
	must(t, reimage("one"))
	runs("one")
	if out, err := m.ssh(t.Context(), "systemctl is-system-running --wait; lsblk -nbo NAME,SIZE,MOUNTPOINT /dev/vda; df -B1 --output=size / | tail -1"); err != nil {
		said("the system says: %s (%v)", out, err)
	} else {
		said("the system says: %s", out)
	}
	// Beside it one that is written and verified, but boots nothing: the node is put back.
	re.Patience.Back = 90 * time.Second
	if err := reimage("dead"); err == nil || !strings.Contains(err.Error(), "runs its previous image one again") {
		t.Fatalf("error %v", err)
	}
	runs("one")

	// Another, in the place of the dead one; the node is told to reboot.
	must(t, reimage("two"))
	runs("two")

	// The power is cut while another is written; with nothing offered, the node boots what it had.
	offer, err := service.Offer("worker-1", order.Write, stock.images["one"], "")
	must(t, err)
	must(t, m.Reboot(t.Context(), ""))
	for r := range offer.Reports {
		if r.Step == order.Failed {
			t.Fatal(r.Error)
		}
		if r.Step == order.Writing && r.Done > r.Total/2 {
			said("the power is cut at byte %d of %d", r.Done, r.Total)
			break
		}
	}
	m.cut()
	offer.Withdraw()
	must(t, m.start())
	must(t, re.await(t.Context(), "worker-1", "two"))
	runs("two")
	must(t, reimage("one"))
	runs("one")

	// Another machine on the link asks, and hears nothing: its firmware gives up and goes on to its disk.
	stranger := newMachine("stranger", "52:54:00:aa:00:99", "tap1")
	if _, err := service.Offer("worker-1", order.Write, stock.images["one"], ""); err != nil {
		t.Fatal(err)
	}
	must(t, stranger.start())
	deadline := time.Now().Add(10 * time.Minute)
	for {
		b, err := os.ReadFile(filepath.Join(s.dir, "stranger.console"))
		must(t, err)
		if bytes.Contains(b, []byte("Booting from Hard Disk")) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the stranger's firmware does not give up: %q", b)
		}
		time.Sleep(200 * time.Millisecond) // a console has no events
	}
	said("a machine that is not to be written heard nothing")
}

// quiet takes what changes from run to run out of log lines.
func quiet(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
		return slog.Attr{}
	}
	return a
}

// testWriter writes lines to the test's log, as long as the test runs.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() != nil {
		return 0, errors.New("the test has ended")
	}
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
