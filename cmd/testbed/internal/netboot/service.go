// SPDX-License-Identifier: Apache-2.0

package netboot

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/order"
)

// Image is what a node is to run.
type Image struct {
	order.Image
	Disk io.ReaderAt // the whole disk, from its first byte on
	// Boot holds the files of the image's boot partition: of a Raspberry Pi the kernel, the device trees and the
	// overlays that its firmware asks for. Nil where the firmware is a PC's.
	Boot fs.FS
}

// Config is what a service serves, and where.
type Config struct {
	Interface string       // the link to the nodes: "eth0"
	Address   netip.Prefix // the service's own IPv4 address on it, with the link's length
	Proxy     bool         // another DHCP server gives the addresses; this one says only where to boot from
	Clients   []Client
	Initramfs []byte // gzip'd cpio archive with the agent
	Kernel    string // file of the kernel for PCs; Raspberry Pis take that of their image
	Log       *slog.Logger

	ports ports // of tests
}

// Client is a node that may be told to boot from the network.
type Client struct {
	Node    string
	MAC     inventory.MAC
	Address netip.Addr // IPv4, in the link's prefix
}

// ports are where the service listens; zero values are the protocols' own.
type ports struct{ dhcp, proxy, tftp, http int }

func (p ports) orDefault() ports {
	for _, f := range []struct {
		p *int
		n int
	}{{&p.dhcp, 67}, {&p.proxy, 4011}, {&p.tftp, 69}, {&p.http, 8069}} {
		if *f.p == 0 {
			*f.p = f.n
		}
	}
	return p
}

// Service answers nodes for which there is an offer. Make it with New, start it with Start.
type Service struct {
	Config
	base string // http://HOST:PORT

	mu     sync.Mutex
	offers map[inventory.MAC]*Offer
	tokens map[string]*Offer

	stop []func() error
}

// New returns a service that listens nowhere yet.
func New(c Config) (*Service, error) {
	if !c.Address.Addr().Is4() {
		return nil, fmt.Errorf("the netboot service needs an IPv4 address, not %q: firmware speaks DHCPv4", c.Address)
	}
	var errs []error
	for i, client := range c.Clients {
		if client.MAC.IsZero() {
			errs = append(errs, fmt.Errorf("%s has no MAC address (hint: mac in the inventory)", client.Node))
		}
		for _, b := range c.Clients[:i] {
			if b.MAC == client.MAC && !client.MAC.IsZero() {
				errs = append(errs, fmt.Errorf("%s and %s have the same MAC address %s", b.Node, client.Node, client.MAC))
			}
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.ports = c.ports.orDefault()
	s := &Service{Config: c, offers: map[inventory.MAC]*Offer{}, tokens: map[string]*Offer{}}
	s.base = fmt.Sprintf("http://%s", netip.AddrPortFrom(c.Address.Addr(), uint16(c.ports.http)))
	return s, errors.Join(errs...)
}

// Offer is one node's order, as long as it is offered.
type Offer struct {
	Order order.Order
	// Reports has what became of it, from the firmware's first question to a report that is the Last. Progress is
	// left out where nobody reads.
	Reports <-chan order.Report

	image   Image
	client  Client
	token   string
	reports chan order.Report
	service *Service
}

// Offer offers a node an order. What was offered to it before is withdrawn. Disk may be empty, see order.Order.
func (s *Service) Offer(node string, action order.Action, image Image, disk string) (*Offer, error) {
	client, ok := s.client(node)
	if !ok {
		return nil, fmt.Errorf("offering %s an image: it is no client of the netboot service (hint: mac in the inventory)", node)
	}
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, fmt.Errorf("offering %s an image: %w", node, err)
	}
	o := &Offer{image: image, client: client, token: hex.EncodeToString(random[:]), reports: make(chan order.Report, 64), service: s}
	o.Reports = o.reports
	o.Order = order.Order{
		Node: node, Action: action, Image: image.Image, Disk: disk,
		ImagePath: "/v1/image/" + o.token, ReportPath: "/v1/report/" + o.token,
	}
	if err := o.Order.Check(); err != nil {
		return nil, fmt.Errorf("offering %s an image: %w", node, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.offers[client.MAC]; old != nil {
		delete(s.tokens, old.token)
	}
	s.offers[client.MAC], s.tokens[o.token] = o, o
	return o, nil
}

// Withdraw ends the offer: the service is silent to the node from then on.
func (o *Offer) Withdraw() {
	s := o.service
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, o.token)
	if s.offers[o.client.MAC] == o {
		delete(s.offers, o.client.MAC)
	}
}

// report passes on what became of the order. Only progress may be lost.
func (o *Offer) report(ctx context.Context, r order.Report) {
	if r.At.IsZero() {
		r.At = time.Now()
	}
	if r.Total == 0 || r.Done == r.Total {
		o.service.Log.Debug("netboot", "node", o.client.Node, "step", r.Step, "disk", r.Disk, "error", r.Error)
	}
	if !r.Last() {
		select {
		case o.reports <- r:
		default:
		}
		return
	}
	select {
	case o.reports <- r:
	case <-ctx.Done():
	}
}

func (s *Service) client(node string) (Client, bool) {
	for _, c := range s.Clients {
		if c.Node == node {
			return c, true
		}
	}
	return Client{}, false
}

// offered returns the offer to a MAC address; nil: there is none.
func (s *Service) offered(mac inventory.MAC) *Offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offers[mac]
}

// offeredAt returns the offer to the node whose lease an address is.
func (s *Service) offeredAt(address netip.Addr) *Offer {
	for _, c := range s.Clients {
		if c.Address == address {
			return s.offered(c.MAC)
		}
	}
	return nil
}

// withToken returns the offer of a token.
func (s *Service) withToken(token string) *Offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens[token]
}

// Start listens and serves until Close. An error leaves nothing listening.
func (s *Service) Start(ctx context.Context) error {
	for _, start := range []func(context.Context) (func() error, error){s.address, s.serveDHCP, s.serveTFTP, s.serveHTTP} {
		stop, err := start(ctx)
		if err != nil {
			return errors.Join(fmt.Errorf("starting the netboot service on %s: %w", s.Interface, err), s.Close())
		}
		if stop != nil {
			s.stop = append(s.stop, stop)
		}
	}
	return nil
}

// Close stops serving; transfers that go on are cut.
func (s *Service) Close() error {
	var errs []error
	for i := len(s.stop) - 1; i >= 0; i-- {
		errs = append(errs, s.stop[i]())
	}
	s.stop = nil
	return errors.Join(errs...)
}
