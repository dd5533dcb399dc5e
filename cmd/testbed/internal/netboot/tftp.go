// SPDX-License-Identifier: Apache-2.0

package netboot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/pin/tftp/v3"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/order"
)

// serveTFTP gives firmware its files. It takes none.
func (s *Service) serveTFTP(context.Context) (func() error, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: s.Address.Addr().AsSlice(), Port: s.ports.tftp})
	if err != nil {
		return nil, err
	}
	server := tftp.NewServer(func(name string, to io.ReaderFrom) error {
		transfer, ok := to.(tftp.OutgoingTransfer)
		if !ok {
			return errors.New("the transfer says not where it goes")
		}
		remote := transfer.RemoteAddr()
		from, _ := netip.AddrFromSlice(remote.IP)
		f, err := s.open(from.Unmap(), name)
		if err != nil {
			s.Log.Debug("TFTP", "from", remote.IP, "file", name, "error", err)
			return err
		}
		defer f.Close()
		s.Log.Debug("TFTP", "from", remote.IP, "file", name, "bytes", f.size)
		transfer.SetSize(f.size)
		_, err = to.ReadFrom(f)
		return err
	}, nil)
	server.SetTimeout(2 * time.Second)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(conn)
	}()
	return func() error {
		server.Shutdown()
		<-served
		return nil
	}, nil
}

// file is one that firmware reads from begin to end.
type file struct {
	io.ReadCloser
	size int64
}

func fileOf(content []byte) file {
	return file{io.NopCloser(bytes.NewReader(content)), int64(len(content))}
}

// open returns what firmware at an address asks for. A first directory with the node's MAC address says whose it
// is (TFTP_PREFIX=2); without one the lease does, and any other first directory, such as a Raspberry Pi's serial
// number (TFTP_PREFIX=0), is left out.
func (s *Service) open(from netip.Addr, name string) (file, error) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	dir, rest, below := strings.Cut(name, "/")
	o := s.offeredAt(from)
	if mac := (inventory.MAC{}); below && mac.UnmarshalText([]byte(dir)) == nil {
		o, name, below = s.offered(mac), rest, false
	}
	if o == nil {
		return file{}, fs.ErrNotExist // for whoever is not to be written, there is nothing
	}
	f, err := o.open(from, name)
	if errors.Is(err, fs.ErrNotExist) && below {
		f, err = o.open(from, rest)
	}
	return f, err
}

// Files that are not the image's own.
const (
	configFile    = "config.txt"
	cmdlineFile   = "cmdline.txt"
	initramfsFile = "testbed.cpio.gz"
)

// open returns a file of the node's boot directory, as the firmware at an address is to see it.
func (o *Offer) open(from netip.Addr, name string) (file, error) {
	s := o.service
	switch name {
	case configFile:
		o.report(context.Background(), order.Report{Step: order.Loading})
		return fileOf(o.config()), nil
	case cmdlineFile:
		return fileOf([]byte(o.cmdline(from) + "\n")), nil
	case initramfsFile:
		return fileOf(s.Initramfs), nil
	case bootScript:
		o.report(context.Background(), order.Report{Step: order.Loading})
		return fileOf(o.script(from)), nil
	}
	if o.image.Boot == nil || !fs.ValidPath(name) {
		return file{}, fs.ErrNotExist
	}
	f, err := o.image.Boot.Open(name)
	if err != nil {
		return file{}, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		f.Close()
		return file{}, err
	}
	return file{f, info.Size()}, nil
}
