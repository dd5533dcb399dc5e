// SPDX-License-Identifier: Apache-2.0

package user

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Target is what is asked for, ready to be written to a connection. It is immutable.
type Target struct {
	URL  string
	Name string // of the host, without a port
	Port uint16
	TLS  bool

	addr    netip.Addr    // when the host is an address
	request *http.Request // without its body
	wire    []byte        // request line, headers and body, as HTTP/1.1 has them
	body    []byte
}

// Request is what a Target is made of.
type Request struct {
	URL    string
	Method string      // "" is GET
	Header http.Header // a Host here replaces the URL's
	Body   []byte
	Close  bool // ask the server to close the connection after the reply
}

// NewTarget checks a request and renders it.
func NewTarget(r Request) (*Target, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, fmt.Errorf("parsing URL: %w", err)
	}
	t := &Target{URL: r.URL, Name: u.Hostname(), TLS: u.Scheme == "https", Port: 80}
	if t.TLS {
		t.Port = 443
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("parsing URL %q: scheme must be http or https (hint: http://%s)", r.URL, strings.TrimPrefix(r.URL, u.Scheme+"://"))
	case t.Name == "":
		return nil, fmt.Errorf("parsing URL %q: it names no host", r.URL)
	case u.User != nil:
		return nil, errors.New("parsing URL: it holds a user (hint: --header 'Authorization: ...')")
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("parsing URL %q: port must be 1 to 65535", r.URL)
		}
		t.Port = uint16(n)
	}
	t.addr, _ = netip.ParseAddr(t.Name)

	req, err := http.NewRequest(r.Method, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return nil, fmt.Errorf("making request: %w", err)
	}
	if len(r.Body) == 0 {
		req.Body, req.ContentLength = nil, 0
	}
	req.Close = r.Close
	req.Header = r.Header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "dnsingress-loadgen")
	}
	if h := req.Header.Get("Host"); h != "" {
		req.Host = h
	}
	var b bytes.Buffer
	if err := req.Write(&b); err != nil {
		return nil, fmt.Errorf("rendering request: %w", err)
	}
	t.request, t.wire, t.body = req, b.Bytes(), r.Body
	req.Body, req.GetBody = nil, nil
	return t, nil
}

// local returns the addresses of a host that is an address itself, or is localhost (RFC 6761 §6.3), else nil.
func (t *Target) local() []netip.Addr {
	name := strings.ToLower(strings.TrimSuffix(t.Name, "."))
	switch {
	case t.addr.IsValid():
		return []netip.Addr{t.addr}
	case name == "localhost" || strings.HasSuffix(name, ".localhost"):
		return []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	return nil
}
