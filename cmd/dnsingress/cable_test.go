// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
)

// cable is the network between two servers: it passes DNS on over UDP and TCP, or not, and an attacker sits on it.
type cable struct {
	at, to string
	udp    *net.UDPConn
	tcp    net.Listener

	mu     sync.Mutex
	broken bool
	mode   int               // cableRecords or cableReplays, else 0
	kept   [][]byte          // replies that were recorded
	open   map[net.Conn]bool // over TCP
	ways   map[netip.AddrPort]*net.UDPConn
}

const (
	cableRecords = 1 + iota
	cableReplays
)

func newCable(t *testing.T, at, to string) *cable {
	t.Helper()
	r := &cable{at: at, to: to, open: map[net.Conn]bool{}, ways: map[netip.AddrPort]*net.UDPConn{}}
	u, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	r.udp = u.(*net.UDPConn)
	if r.tcp, err = net.Listen("tcp", at); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.udp.Close()
		r.tcp.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.hangUp()
		for _, c := range r.ways {
			c.Close()
		}
	})
	go r.datagrams()
	go r.connections()
	return r
}

// cut has nothing pass any more, or all again.
func (r *cable) cut(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken, r.mode, r.kept = cut, 0, nil
	if cut {
		r.hangUp()
	}
}

func (r *cable) hangUp() {
	for c := range r.open {
		c.Close()
	}
}

// record keeps the replies that pass.
func (r *cable) record() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mode = cableRecords
}

func (r *cable) recorded(n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.kept) < n {
		return fmt.Errorf("%d replies", len(r.kept))
	}
	return nil
}

// replay has each question answered with the replies that were recorded, as if they were to it.
func (r *cable) replay() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mode = cableReplays
	r.hangUp()
}

func (r *cable) datagrams() {
	buf := make([]byte, 65535)
	for {
		n, from, err := r.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		r.mu.Lock()
		broken, mode, kept := r.broken, r.mode, r.kept
		way := r.ways[from]
		r.mu.Unlock()
		if broken {
			continue
		}
		if mode == cableReplays {
			for _, old := range kept {
				reply := bytes.Clone(old)
				copy(reply, buf[:2]) // the ID is no part of what is signed
				_, _ = r.udp.WriteToUDPAddrPort(reply, from)
			}
			continue
		}
		if way == nil {
			c, err := net.Dial("udp", r.to)
			if err != nil {
				continue
			}
			way = c.(*net.UDPConn)
			r.mu.Lock()
			r.ways[from] = way
			r.mu.Unlock()
			go r.replies(way, from)
		}
		_, _ = way.Write(buf[:n]) // as on a network, what is lost is lost
	}
}

func (r *cable) replies(way *net.UDPConn, to netip.AddrPort) {
	buf := make([]byte, 65535)
	for {
		n, err := way.Read(buf)
		if err != nil {
			if err == io.EOF || r.ended(way) {
				return
			}
			continue // nobody listens there now
		}
		r.mu.Lock()
		broken := r.broken || r.mode == cableReplays
		if r.mode == cableRecords {
			r.kept = append(r.kept, bytes.Clone(buf[:n]))
		}
		r.mu.Unlock()
		if !broken {
			_, _ = r.udp.WriteToUDPAddrPort(buf[:n], to)
		}
	}
}

// ended tells whether a way was closed.
func (r *cable) ended(way *net.UDPConn) bool {
	_, err := way.Write(nil)
	return err != nil && bytes.Contains([]byte(err.Error()), []byte("closed"))
}

func (r *cable) connections() {
	for {
		c, err := r.tcp.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		refused := r.broken || r.mode == cableReplays
		r.mu.Unlock()
		if refused {
			c.Close()
			continue
		}
		go func() {
			defer c.Close()
			s, err := net.Dial("tcp", r.to)
			if err != nil {
				return
			}
			defer s.Close()
			r.mu.Lock()
			r.open[c], r.open[s] = true, true
			r.mu.Unlock()
			go func() {
				_, _ = io.Copy(s, c)
				s.Close()
			}()
			_, _ = io.Copy(c, s)
			r.mu.Lock()
			delete(r.open, c)
			delete(r.open, s)
			r.mu.Unlock()
		}()
	}
}
