// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/user"
	"github.com/dnsingress/dnsingress/internal/dnsclient"
)

// habits checks the flags and returns what they mean for the users, or every error at once.
func (f *httpFlags) habits(url string) (*user.Habits, user.Traits, error) {
	var p problems
	f.checkLoad(&p)
	p.check(f.clients > 0 && f.clients <= math.MaxInt32, "--clients must be positive")
	p.check(f.attempts > 0, "--attempts must be at least 1")
	p.check(f.retryBudget >= 0 && f.retryBudget <= 10, "--retry-budget must be 0 to 10 (hint: 0.1 allows a retry for every ten requests)")
	p.check(f.perConn >= 0 && f.maxAge >= 0 && f.maxIdle >= 0 && f.maxBody >= 0,
		"--max-requests, --max-age, --max-idle and --max-body must not be negative")
	p.check(f.retryWait >= 0 && f.failedFor >= 0 && f.raceDelay >= 0, "--retry-wait, --failed-for and --race-delay must not be negative")

	h := &user.Habits{
		Client: f.client, Timeout: f.timeout, Attempts: f.attempts, MaxBody: f.maxBody,
		RetryBudget: f.retryBudget, RetryWait: f.retryWait,
		MaxRequests: f.perConn, MaxAge: f.maxAge, MaxIdle: f.maxIdle,
		RaceDelay: f.raceDelay, FailedFor: f.failedFor,
	}
	traits := f.resolverFlags.read(&p, h)
	var err error
	traits.Protocol, err = user.ParseShares(f.protocol, user.ParseProtocol)
	p.note("--protocol", err)
	traits.KeepAlive, err = user.ParseShares(f.connection, parseConnection)
	p.note("--connection", err)
	if f.sourcePorts != "" {
		h.Ports, err = user.ParsePorts(f.sourcePorts)
		p.note("--source-ports", err)
	}
	f.readRequests(&p, h, url, !has(traits.KeepAlive, true))
	if h.Target != nil && !h.Target.TLS {
		p.check(!has(traits.Protocol, user.HTTP3), "--protocol: h3 is always encrypted (hint: %s)", strings.Replace(url, "http:", "https:", 1))
	}
	roots, err := authorities(f.ca)
	p.note("--ca", err)
	if len(p) > 0 {
		return nil, traits, errors.Join(p...)
	}
	h.TLS = &tls.Config{ServerName: h.Target.Name, InsecureSkipVerify: f.insecure, RootCAs: roots, NextProtos: []string{string(user.HTTP1)}}
	return h, traits, f.resolverFlags.finish(h, f.timeout)
}

func parseConnection(s string) (keepAlive bool, err error) {
	switch s {
	case "new", "keepalive":
		return s == "keepalive", nil
	}
	return false, fmt.Errorf("unknown value %q (hint: new, keepalive)", s)
}

func has[T comparable](s user.Shares[T], v T) bool {
	for _, share := range s {
		if share.Value == v {
			return true
		}
	}
	return false
}

// read checks the flags that need nothing else and sets the habits that they are.
func (f *resolverFlags) read(p *problems, h *user.Habits) user.Traits {
	var t user.Traits
	p.check(f.dnsAttempts > 0, "--dns-attempts must be at least 1")
	p.check(f.dnsTimeout >= 0 && f.dnsDeadline >= 0 && f.lateAnswers >= 0, "--dns-timeout, --dns-deadline and --late-answers must not be negative")
	p.check(len(f.addresses) == 0 || f.resolver == "", "--addresses and --resolver exclude each other")
	p.oneOf("--family", f.family, string(user.Auto), string(user.IPv6), string(user.IPv4))
	h.Family = user.Family(f.family)
	var err error
	t.Order, err = user.ParseShares(f.order, dnsclient.ParseOrder)
	p.note("--order", err)
	t.TTL, err = user.ParseShares(f.ttl, dnsclient.ParseTTL)
	p.note("--ttl", err)
	for _, s := range f.addresses {
		a, err := netip.ParseAddr(s)
		p.note("--addresses", err)
		h.Addresses = append(h.Addresses, a)
	}
	if f.source != "" {
		h.Sources, err = netip.ParsePrefix(f.source)
		p.note("--source", err)
	}
	return t
}

// finish sets what a lookup needs. It is called when the habits' target is known.
func (f *resolverFlags) finish(h *user.Habits, timeout time.Duration) (err error) {
	h.DNS.Attempts, h.DNS.Timeout, h.DNS.Deadline, h.DNS.Linger = f.dnsAttempts, f.dnsTimeout, f.dnsDeadline, f.lateAnswers
	if h.DNS.Timeout == 0 {
		h.DNS.Timeout = timeout
	}
	if !h.AsksDNS() {
		return nil
	}
	if f.resolver == "" {
		h.Resolver, err = dnsclient.SystemServer("/etc/resolv.conf")
	} else {
		h.Resolver, err = dnsclient.ParseServer(f.resolver)
	}
	if err != nil {
		return fmt.Errorf("--resolver: %w", err)
	}
	return nil
}

// readRequests sets the target, and the mix if there is one.
func (f *httpFlags) readRequests(p *problems, h *user.Habits, at string, final bool) {
	base := user.Request{URL: at, Method: f.method, Header: http.Header{}, Close: final}
	for _, h := range f.headers {
		name, value, ok := strings.Cut(h, ":")
		p.check(ok && strings.TrimSpace(name) != "", "--header %q is no header (hint: 'Name: value')", h)
		base.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if f.body != "" {
		var err error
		base.Body, err = os.ReadFile(f.body)
		p.note("--body", err)
	}
	p.check(len(f.requests) == 0 || f.mix == "", "--request and --requests exclude each other")
	var err error
	if h.Target, err = user.NewTarget(base); err != nil {
		*p = append(*p, err)
		return
	}
	p.check(len(f.hosts) == 0 || len(f.requests) == 0 && f.mix == "", "--hosts excludes --request and --requests, which are for one host")
	p.check(len(f.hosts) == 0 || h.Target.Name != "" && base.Header.Get("Host") == "", "--hosts excludes a header Host")
	for _, host := range f.hosts {
		other := base
		var target *user.Target
		if other.URL, err = hostOf(at, host); err == nil {
			target, err = user.NewTarget(other)
		}
		p.note("--hosts", err)
		h.Others = append(h.Others, target)
	}
	switch {
	case f.mix != "":
		h.Mix, err = readMix(f.mix, base)
		if err != nil {
			*p = append(*p, err)
		}
	case len(f.requests) > 0:
		h.Mix, err = parseMix(f.requests, base)
		p.note("--request", err)
	}
}

// hostOf puts another host into a URL, whose port stays.
func hostOf(base, host string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "" || strings.ContainsAny(host, "/:@[]") {
		return "", fmt.Errorf("%q is no host name", host)
	}
	if port := u.Port(); port != "" {
		host = net.JoinHostPort(host, port)
	}
	u.Host = host
	return u.String(), nil
}

// authorities returns those in a PEM file; of "" those of the system.
func authorities(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate (hint: PEM, as -----BEGIN CERTIFICATE-----)", path)
	}
	return pool, nil
}
