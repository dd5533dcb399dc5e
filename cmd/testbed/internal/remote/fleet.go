// SPDX-License-Identifier: Apache-2.0

// Package remote reaches the nodes of a cluster by SSH: commands, files, clocks. Host keys are
// pinned; a host with an unknown or another key is refused.
package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// DialFunc opens a connection to a literal address; the twin's does so from inside its own network.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Keys say who we are and whom we trust.
type Keys struct {
	Identity   ssh.Signer
	KnownHosts string // path of a known_hosts file
}

const (
	// handshakeTimeout bounds connecting; a node under load answers within a second.
	handshakeTimeout = 15 * time.Second
	// A node that answers no keep-alive for this long is taken as gone, and commands on it end.
	keepAliveInterval = 3 * time.Second
	keepAliveTimeout  = 10 * time.Second
	// sessions at once on one connection; OpenSSH allows 10 by default.
	maxSessions = 8
)

// Fleet is all nodes of one inventory. Connections are opened when first needed, one a node, shared by
// all callers, and opened again after they broke. It is safe for concurrent use.
type Fleet struct {
	inv  *inventory.Inventory
	keys Keys
	dial DialFunc
	log  *slog.Logger

	mu    sync.Mutex
	links map[string]*link // by node
}

// link is the connection to one node.
type link struct {
	opening  sync.Mutex // held while a connection is being opened
	client   *ssh.Client
	sessions chan struct{}
}

// Open returns the fleet; it connects to nobody yet. A nil dial is the host's own network.
func Open(inv *inventory.Inventory, keys Keys, dial DialFunc, log *slog.Logger) *Fleet {
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return &Fleet{inv: inv, keys: keys, dial: dial, log: log, links: make(map[string]*link)}
}

// Close ends all connections.
func (f *Fleet) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.links {
		if l.client != nil {
			l.client.Close()
		}
	}
	clear(f.links)
	return nil
}

// Drop forgets the connection to a node: after its power was cut, the old one would hang.
func (f *Fleet) Drop(node string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.links[node]; l != nil && l.client != nil {
		l.client.Close()
	}
	delete(f.links, node)
}

// Each calls fn for every node, at most limit at once (0: all), and joins the errors, each with the
// node's name. All are called, also after one has failed, unless ctx ends.
func (f *Fleet) Each(ctx context.Context, nodes []inventory.Node, limit int, fn func(ctx context.Context, n inventory.Node) error) error {
	if limit <= 0 {
		limit = len(nodes)
	}
	var (
		wg   sync.WaitGroup
		slot = make(chan struct{}, max(limit, 1))
		errs = make([]error, len(nodes))
	)
	for i, n := range nodes {
		select {
		case slot <- struct{}{}:
		case <-ctx.Done():
			errs[i] = ctx.Err()
			continue
		}
		wg.Go(func() {
			defer func() { <-slot }()
			if err := fn(ctx, n); err != nil {
				errs[i] = fmt.Errorf("%s: %w", n.Name, err)
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err // rather than the same for each node
	}
	return errors.Join(errs...)
}

// client returns the node's connection, opening it when there is none.
func (f *Fleet) client(ctx context.Context, node string) (*ssh.Client, *link, error) {
	n, ok := f.inv.Node(node)
	if !ok {
		return nil, nil, fmt.Errorf("unknown node %q (hint: the nodes are in %s)", node, f.inv.Path)
	}
	f.mu.Lock()
	l := f.links[node]
	if l == nil {
		l = &link{sessions: make(chan struct{}, maxSessions)}
		f.links[node] = l
	}
	f.mu.Unlock()
	l.opening.Lock()
	defer l.opening.Unlock()
	f.mu.Lock()
	c := l.client
	f.mu.Unlock()
	if c != nil {
		return c, l, nil
	}
	c, err := f.connect(ctx, n)
	if err != nil {
		return nil, nil, fmt.Errorf("connecting to %s: %w", node, err)
	}
	f.mu.Lock()
	if f.links[node] != l { // dropped meanwhile
		f.mu.Unlock()
		c.Close()
		return nil, nil, fmt.Errorf("connecting to %s: the connection was dropped", node)
	}
	l.client = c
	f.mu.Unlock()
	go f.watch(node, l, c)
	return c, l, nil
}

// watch keeps a connection known as alive, and forgets it when it is not.
func (f *Fleet) watch(node string, l *link, c *ssh.Client) {
	dead := make(chan struct{})
	go func() {
		_ = c.Wait()
		close(dead)
	}()
	tick := time.NewTicker(keepAliveInterval)
	defer tick.Stop()
	for alive := true; alive; {
		select {
		case <-dead:
			alive = false
		case <-tick.C:
			late := time.AfterFunc(keepAliveTimeout, func() { c.Close() })
			_, _, err := c.SendRequest("keepalive@openssh.com", true, nil)
			late.Stop()
			alive = err == nil
		}
	}
	c.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.client == c {
		l.client = nil
		f.log.Debug("ssh connection ended", "node", node)
	}
}

func (f *Fleet) connect(ctx context.Context, n inventory.Node) (*ssh.Client, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, handshakeTimeout, fmt.Errorf("no answer within %s", handshakeTimeout))
	defer cancel()
	hostKey, err := knownhosts.New(f.keys.KnownHosts)
	if err != nil {
		return nil, fmt.Errorf("reading the known host keys: %w", err)
	}
	address := net.JoinHostPort(n.Address.String(), strconv.Itoa(f.inv.SSH.Port))
	conn, err := f.dial(ctx, "tcp", address)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	// The handshake knows no context: end it by closing what it reads from.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	config := &ssh.ClientConfig{
		User:              f.inv.SSH.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(f.keys.Identity)},
		HostKeyCallback:   f.pinned(hostKey, n),
		HostKeyAlgorithms: algorithms(hostKey, address),
	}
	c, chans, reqs, err := ssh.NewClientConn(conn, address, config)
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if refused := (*HostKeyError)(nil); errors.As(err, &refused) {
			return nil, refused
		}
		return nil, err
	}
	return ssh.NewClient(c, chans, reqs), nil
}

// HostKeyError says that a host showed a key that is not pinned for it.
type HostKeyError struct {
	Node        string
	Address     netip.Addr
	Fingerprint string // of the key shown, SHA256
	Changed     bool   // another key is pinned; else none is
	Owner       string // the node that the key is pinned for; empty: none
	KnownHosts  string // path
}

// What says what the host did.
func (e *HostKeyError) What() string {
	switch {
	case e.Owner != "":
		return fmt.Sprintf("it shows the host key of %s (%s)", e.Owner, e.Fingerprint)
	case e.Changed:
		return fmt.Sprintf("it shows %s, and another key is pinned for it in %s", e.Fingerprint, e.KnownHosts)
	default:
		return fmt.Sprintf("it shows %s, and no key is pinned for it in %s", e.Fingerprint, e.KnownHosts)
	}
}

// Hint says what may have happened.
func (e *HostKeyError) Hint() string {
	if e.Owner != "" {
		return fmt.Sprintf("two cards were swapped, or %s has the address of %s", e.Owner, e.Node)
	}
	return "another machine may be answering there"
}

func (e *HostKeyError) Error() string {
	return fmt.Sprintf("refusing the host key of %s at %s: %s (hint: %s)", e.Node, e.Address, e.What(), e.Hint())
}

func (f *Fleet) pinned(check ssh.HostKeyCallback, n inventory.Node) ssh.HostKeyCallback {
	return func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := check(host, remote, key)
		if unknown := (*knownhosts.KeyError)(nil); errors.As(err, &unknown) {
			return &HostKeyError{n.Name, n.Address, ssh.FingerprintSHA256(key), len(unknown.Want) > 0, f.owner(check, key), f.keys.KnownHosts}
		}
		return err
	}
}

// owner returns the node that a key is pinned for.
func (f *Fleet) owner(check ssh.HostKeyCallback, key ssh.PublicKey) string {
	for _, n := range f.inv.Nodes {
		addr := &net.TCPAddr{IP: n.Address.AsSlice(), Port: f.inv.SSH.Port}
		if check(addr.String(), addr, key) == nil {
			return n.Name
		}
	}
	return ""
}

// algorithms returns the host key algorithms pinned for an address, so that a host with several keys
// shows the pinned one; nil (all) when none is.
func algorithms(check ssh.HostKeyCallback, address string) []string {
	addr, err := net.ResolveTCPAddr("tcp", address) // literal: nothing is looked up
	if err != nil {
		return nil
	}
	var known *knownhosts.KeyError
	if !errors.As(check(address, addr, noKey{}), &known) {
		return nil
	}
	var names []string
	for _, k := range known.Want {
		if k.Key.Type() == ssh.KeyAlgoRSA {
			names = append(names, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		}
		names = append(names, k.Key.Type())
	}
	return names
}

// noKey is a key that nobody has: asking for it yields the pinned ones.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return nil }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }
