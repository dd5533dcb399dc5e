// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// TLS is DNS over TLS (RFC 7858), on if Listen has an address.
type TLS struct {
	Listen []string // as Config.Listen, port 853 by custom
	// Cert and Key are PEM files. They are read again when they change; while they do not fit each other, or cannot
	// be read, the certificate that was read before stays.
	Cert, Key string
}

// certificate is a certificate in files. Each handshake looks whether they have changed: that costs a thousandth
// of what a handshake does, and needs no watch that could be lost.
type certificate struct {
	cert, key string
	log       *slog.Logger

	mu       sync.Mutex
	read     *tls.Certificate
	as       [2]version // when it was read
	complain bool       // about the next that cannot be read
}

// version is what changes when a file does.
type version struct {
	modified time.Time
	size     int64
	inode    os.FileInfo
}

func newCertificate(t TLS, log *slog.Logger) (*certificate, error) {
	c := &certificate{cert: t.Cert, key: t.Key, log: log, complain: true}
	as, err := c.versions()
	if err == nil {
		err = c.load(as)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the TLS certificate: %w", err)
	}
	return c, nil
}

// config is the server's side of TLS with the certificate.
func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"dot"}, GetCertificate: c.get}
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	as, err := c.versions()
	if err == nil {
		if c.same(as) {
			return c.read, nil
		}
		if err = c.load(as); err == nil {
			c.log.Info("read the new TLS certificate", "path", c.cert, "until", c.read.Leaf.NotAfter)
			c.complain = true
			return c.read, nil
		}
		c.as = as // no need to read the same again
	}
	if c.complain {
		c.log.Error("keeping the old TLS certificate", "path", c.cert, "error", err)
		c.complain = false
	}
	return c.read, nil
}

func (c *certificate) versions() (as [2]version, err error) {
	for i, path := range []string{c.cert, c.key} {
		info, err := os.Stat(path)
		if err != nil {
			return as, err
		}
		as[i] = version{info.ModTime(), info.Size(), info}
	}
	return as, nil
}

func (c *certificate) same(as [2]version) bool {
	for i, v := range as {
		if o := c.as[i]; !v.modified.Equal(o.modified) || v.size != o.size || !os.SameFile(v.inode, o.inode) {
			return false
		}
	}
	return true
}

func (c *certificate) load(as [2]version) error {
	read, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("reading %s and %s: %w", c.cert, c.key, err)
	}
	c.read, c.as = &read, as
	return nil
}
