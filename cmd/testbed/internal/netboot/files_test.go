// SPDX-License-Identifier: Apache-2.0

package netboot

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"
	"github.com/pin/tftp/v3"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/order"
)

// boot is what a Raspberry Pi asks for.
var boot = fstest.MapFS{
	"config.txt":                  {Data: []byte("the image's own")},
	"kernel_2712.img":             {Data: bytes.Repeat([]byte("kernel"), 100_000)},
	"bcm2712-rpi-5-b.dtb":         {Data: []byte("tree")},
	"overlays/overlay_map.dtb":    {Data: []byte("map")},
	"overlays/empty/.placeholder": {},
}

func withBoot(t *testing.T, s *Service) *Offer {
	t.Helper()
	o, err := s.Offer("worker-1", order.Write, Image{Image: order.Image{ID: "new", Size: 1 << 20, SHA256: strings.Repeat("0", 64)}, Boot: boot}, "")
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestFilesOfARaspberryPi(t *testing.T) {
	s, _ := testService(t, nil)
	withBoot(t, s)
	other := netip.MustParseAddr("192.0.2.200")
	tests := []struct {
		from netip.Addr
		name string
		want string // a part of the content; empty: no such file
	}{
		{leaseOne, "dc-a6-32-01-36-c1/config.txt", "initramfs testbed.cpio.gz followkernel\n"},
		{leaseOne, "dc-a6-32-01-36-c1/config.txt", "kernel=kernel_2712.img\n"},
		{leaseOne, "dc-a6-32-01-36-c1/kernel_2712.img", "kernelkernel"},
		{leaseOne, "dc-a6-32-01-36-c1/overlays/overlay_map.dtb", "map"},
		{leaseOne, "dc-a6-32-01-36-c1/testbed.cpio.gz", "initramfs"},
		{leaseOne, "dc-a6-32-01-36-c1/cmdline.txt", " testbed.order=http://192.0.2.1:8069/v1/order/"},
		{leaseOne, "dc-a6-32-01-36-c1/cmdline.txt", " testbed.address=192.0.2.11/24"},
		{other, "dc-a6-32-01-36-c1/cmdline.txt", " testbed.address=192.0.2.11/24"},
		{leaseOne, "1a2b3c4d/config.txt", "testbed.cpio.gz"}, // TFTP_PREFIX=0: the serial number
		{leaseOne, "1a2b3c4d/overlays/overlay_map.dtb", "map"},
		{leaseOne, "overlays/overlay_map.dtb", "map"},
		{leaseOne, "/overlays/overlay_map.dtb", "map"},
		{leaseOne, "dc-a6-32-01-36-c1/overlays", ""},
		{leaseOne, "dc-a6-32-01-36-c1/start4.elf", ""},
		{leaseOne, "dc-a6-32-01-36-c1/../../etc/passwd", ""},
		{leaseOne, "../../../etc/passwd", ""},
		{leaseOne, "", ""},
		{netip.MustParseAddr("192.0.2.12"), "dc-a6-32-01-36-c2/config.txt", ""}, // of no offer
		{other, "config.txt", ""},
	}
	for _, tt := range tests {
		f, err := s.open(tt.from, tt.name)
		if err != nil {
			if tt.want != "" || !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s from %s: %v", tt.name, tt.from, err)
			}
			continue
		}
		b, err := io.ReadAll(f)
		f.Close()
		if err != nil || tt.want == "" || !bytes.Contains(b, []byte(tt.want)) || int64(len(b)) != f.size {
			t.Errorf("%s from %s: %q (%d bytes said, %d read), %v", tt.name, tt.from, b[:min(len(b), 100)], f.size, len(b), err)
		}
	}
}

// TestAddressBesideAnotherServer: a proxy knows no leases, and takes the address that the firmware asks from.
func TestAddressBesideAnotherServer(t *testing.T) {
	s, _ := testService(t, func(c *Config) { c.Proxy = true })
	withBoot(t, s)
	f, err := s.open(netip.MustParseAddr("192.0.2.200"), "dc-a6-32-01-36-c1/cmdline.txt")
	must(t, err)
	b, err := io.ReadAll(f)
	must(t, err)
	if !strings.Contains(string(b), " testbed.address=192.0.2.200/24") {
		t.Errorf("%q", b)
	}
}

// local starts a service on the loopback interface. Its DHCP listens on any port, which nobody asks.
func local(t *testing.T) *Service {
	t.Helper()
	s, _ := testService(t, func(c *Config) {
		c.Address = netip.MustParsePrefix("127.0.0.1/8")
		c.Clients[0].Address = netip.MustParseAddr("127.0.0.1")
		c.ports = ports{dhcp: freePort(t), proxy: freePort(t), tftp: freePort(t), http: freePort(t)}
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestTFTP(t *testing.T) {
	s := local(t)
	withBoot(t, s)
	c, err := tftp.NewClient("127.0.0.1:" + strconv.Itoa(s.ports.tftp))
	if err != nil {
		t.Fatal(err)
	}
	c.SetBlockSize(1468) // as the firmware asks
	c.RequestTSize(true)
	w, err := c.Receive("dc-a6-32-01-36-c1/kernel_2712.img", "octet")
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := w.(tftp.IncomingTransfer).Size(); !ok || n != 600_000 {
		t.Errorf("size %d, %v", n, ok)
	}
	var got bytes.Buffer
	if _, err := w.WriteTo(&got); err != nil || !bytes.Equal(got.Bytes(), boot["kernel_2712.img"].Data) {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
	if _, err := c.Receive("dc-a6-32-01-36-c1/start.elf", "octet"); err == nil {
		t.Error("a file that is not there was sent")
	}
	if _, err := c.Send("dc-a6-32-01-36-c1/config.txt", "octet"); err == nil {
		t.Error("the service takes files")
	}
}

func TestHTTPNeedsAToken(t *testing.T) {
	s := local(t)
	o := withBoot(t, s)
	for _, path := range []string{"/v1/order/", "/v1/image/", "/v1/boot/%s/initrd"} {
		path := strings.Replace(path, "%s", "%s", 1)
		if !strings.Contains(path, "%s") {
			path += "%s"
		}
		for token, want := range map[string]int{o.token: http.StatusOK, "00000000000000000000000000000000": http.StatusNotFound} {
			if strings.Contains(path, "image") && token == o.token {
				continue // TestReimage reads it
			}
			resp, err := http.Get(s.base + fmt.Sprintf(path, token))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("GET %s: %s, want %d", fmt.Sprintf(path, token), resp.Status, want)
			}
		}
	}
	o.Withdraw()
	if resp, err := http.Get(s.base + "/v1/order/" + o.token); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("after the offer: %v, %v", resp, err)
	}
}

// TestInitramfs reads the archive as the kernel does: header after header.
func TestInitramfs(t *testing.T) {
	agent := append([]byte("\x7fELF"), bytes.Repeat([]byte{7}, 101)...)
	modules := []Module{{"first.ko", []byte("1")}, {"second.ko", []byte("22")}}
	packed, err := Initramfs(agent, modules)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Initramfs(agent, modules)
	if err != nil || !bytes.Equal(packed, again) {
		t.Errorf("the same inputs give other bytes (%v)", err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for len(b) > 0 {
		if string(b[:6]) != "070701" {
			t.Fatalf("no header: %q", b[:6])
		}
		field := func(i int) int {
			v, err := hex.DecodeString(string(b[6+8*i:][:8]))
			if err != nil {
				t.Fatal(err)
			}
			return int(v[0])<<24 | int(v[1])<<16 | int(v[2])<<8 | int(v[3])
		}
		mode, size, nameSize := field(1), field(6), field(11)
		name := string(b[110:][:nameSize-1])
		at := (110 + nameSize + 3) / 4 * 4
		files[name] = fmt.Sprintf("%o %d,%d %s", mode, field(9), field(10), b[at:][:size])
		b = b[(at+size+3)/4*4:]
		if name == "TRAILER!!!" {
			break
		}
	}
	for name, want := range map[string]string{
		"init": "100755 0,0 " + string(agent), "dev/console": "20600 5,1 ", "modules/second.ko": "100644 0,0 22",
		"modules/order": "100644 0,0 first.ko\nsecond.ko\n", "TRAILER!!!": "0 0,0 ",
	} {
		if files[name] != want {
			t.Errorf("%s: %q, want %q", name, files[name], want)
		}
	}
	if len(b) > 0 {
		t.Errorf("%d bytes behind the end", len(b))
	}
	if _, err := Initramfs([]byte("#!/bin/sh"), nil); err == nil {
		t.Error("a script was taken for the agent")
	}
}

func TestModules(t *testing.T) {
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write([]byte("failover")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	kernel := fstest.MapFS{
		"modules.dep": {Data: []byte("kernel/net/core/failover.ko.zst:\n" +
			"kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko.zst\n" +
			"kernel/drivers/net/virtio-net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko.zst\n")},
		"modules.builtin":                    {Data: []byte("kernel/drivers/virtio/virtio_pci.ko\n")},
		"kernel/net/core/failover.ko.zst":    {Data: packed.Bytes()},
		"kernel/drivers/net/net_failover.ko": {Data: []byte("net_failover")},
		"kernel/drivers/net/virtio-net.ko":   {Data: []byte("virtio_net")},
	}
	list, err := Modules(kernel, []string{"virtio_pci", "virtio_net", "virtio-net"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range list {
		got = append(got, m.Name+"="+string(m.Content))
	}
	if want := "failover.ko=failover net_failover.ko=net_failover virtio_net.ko=virtio_net"; strings.Join(got, " ") != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, err := Modules(kernel, []string{"virtio_blk"}); err == nil || !strings.Contains(err.Error(), "no driver virtio_blk") {
		t.Errorf("error %v", err)
	}
}
