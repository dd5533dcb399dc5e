// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	dnstap "github.com/dnstap/golang-dnstap"
	framestream "github.com/farsightsec/golang-framestream"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Dnstap says where queries and replies are written as dnstap messages in a frame stream (https://dnstap.info).
type Dnstap struct {
	// To is "unix:PATH", a socket that a collector listens on, or "file:PATH", a new file each time that it is
	// opened: one that is there becomes PATH.1, or the first number that is free. Empty: nowhere.
	To string
	// Every is one query in so many, at random; 0: each.
	Every int
}

const (
	// tapSamples is how many queries wait to be written at most, for 2 kB each.
	tapSamples = 1024
	// tapAgain is how long a collector that is away is left alone; tapFlush is how long a message may wait in a
	// buffer, tapTimeout how long the collector may take to accept it.
	tapAgain, tapFlush, tapTimeout = time.Second, time.Second, 5 * time.Second
)

// Check says what is wrong with it.
func (d Dnstap) Check() error {
	if d.To == "" {
		return nil
	}
	if kind, path, ok := strings.Cut(d.To, ":"); !ok || path == "" || kind != "unix" && kind != "file" {
		return fmt.Errorf("dnstap to %q is neither a socket nor a file (hint: unix:/run/dnstap.sock or file:queries.tap)", d.To)
	}
	return nil
}

// frames is an open frame stream.
type frames struct {
	*framestream.Writer
	to io.Closer
}

func (d Dnstap) open(ctx context.Context) (*frames, error) {
	kind, path, _ := strings.Cut(d.To, ":")
	options := &framestream.WriterOptions{ContentTypes: [][]byte{dnstap.FSContentType}, Timeout: tapTimeout}
	var to io.WriteCloser
	var err error
	if kind == "unix" {
		options.Bidirectional = true
		to, err = (&net.Dialer{Timeout: tapTimeout}).DialContext(ctx, "unix", path)
	} else {
		to, err = create(path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening dnstap: %w", err)
	}
	w, err := framestream.NewWriter(to, options)
	if err != nil {
		to.Close()
		if info, failed := os.Lstat(path); kind == "file" && failed == nil && info.Mode().IsRegular() {
			os.Remove(path) // nothing is in it
		}
		return nil, fmt.Errorf("opening dnstap %s: %w", d.To, err)
	}
	return &frames{w, to}, nil
}

// create makes a new file and puts another in its place aside. What is no file, such as a pipe, is opened as it is.
func create(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return os.OpenFile(path, os.O_WRONLY, 0)
	}
	for n := 1; ; n++ {
		err := unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, fmt.Sprintf("%s.%d", path, n), unix.RENAME_NOREPLACE)
		switch {
		case errors.Is(err, fs.ErrExist):
			continue
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("putting %s aside: %w", path, err)
		}
		return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	}
}

func (s *frames) close() {
	_ = s.Writer.Close() // what cannot be flushed any more is lost with its collector
	s.to.Close()
}

// run writes the samples of a feed until ctx ends, then those that are there. A collector that goes away is waited
// for; what comes meanwhile is lost and counted. That it went and came is logged, once each.
func (d Dnstap) run(ctx context.Context, f *feed, names Names, log *slog.Logger) {
	var out *frames
	defer func() {
		if out != nil {
			out.close()
		}
	}()
	flush := time.NewTicker(tapFlush)
	defer flush.Stop()
	var again time.Time
	down := false
	broken := func(err error) {
		if out != nil {
			out.close()
			out = nil
		}
		again = time.Now().Add(tapAgain)
		if !down {
			log.Warn("dnstap is away; its messages are lost until it is back", "to", d.To, "error", err)
		}
		down = true
	}
	write := func(s *sample) {
		defer f.done(s)
		if out == nil && time.Now().After(again) {
			opened, err := d.open(ctx)
			if err != nil {
				broken(err)
			} else {
				out = opened
				log.Info("writing dnstap", "to", d.To)
				down = false
			}
		}
		if out == nil {
			f.lost.Add(1)
			return
		}
		frame, err := proto.Marshal(s.message(names))
		if err == nil {
			_, err = out.WriteFrame(frame)
		}
		if err != nil {
			f.lost.Add(1)
			broken(err)
			return
		}
		f.taken.Add(1)
	}
	for {
		select {
		case s := <-f.full:
			write(s)
		case <-flush.C:
			if out != nil {
				if err := out.Flush(); err != nil {
					broken(err)
				}
			}
		case <-ctx.Done():
			for {
				select {
				case s := <-f.full:
					write(s)
				default:
					return
				}
			}
		}
	}
}

// message gives a sample as an AUTH_RESPONSE, which holds the query too, or where there was no reply as an AUTH_QUERY.
func (s *sample) message(names Names) *dnstap.Dnstap {
	kind := dnstap.Message_AUTH_RESPONSE
	if len(s.reply) == 0 {
		kind = dnstap.Message_AUTH_QUERY
	}
	family, protocol := dnstap.SocketFamily_INET6, dnstap.SocketProtocol_UDP
	if s.from.Addr().Unmap().Is4() {
		family = dnstap.SocketFamily_INET
	}
	switch s.proto {
	case protoTCP:
		protocol = dnstap.SocketProtocol_TCP
	case protoTLS:
		protocol = dnstap.SocketProtocol_DOT
	}
	sec, nsec := uint64(s.at.Unix()), uint32(s.at.Nanosecond())
	m := &dnstap.Message{
		Type: &kind, SocketFamily: &family, SocketProtocol: &protocol,
		QueryAddress: octets(s.from), QueryPort: proto.Uint32(uint32(s.from.Port())),
		ResponseAddress: octets(s.to), ResponsePort: proto.Uint32(uint32(s.to.Port())),
		QueryTimeSec: &sec, QueryTimeNsec: &nsec, QueryMessage: s.query,
	}
	if len(s.reply) > 0 {
		m.ResponseMessage, m.ResponseTimeSec, m.ResponseTimeNsec = s.reply, &sec, &nsec
	}
	whole := &dnstap.Dnstap{Type: dnstap.Dnstap_MESSAGE.Enum(), Message: m}
	if names.ID != "" {
		whole.Identity = []byte(names.ID)
	}
	if names.Version != "" {
		whole.Version = []byte(names.Version)
	}
	return whole
}

func octets(a netip.AddrPort) []byte { return a.Addr().Unmap().AsSlice() }
