// SPDX-License-Identifier: Apache-2.0

package record

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// members reads "ADDRESS[@POD][/GROUP] PORT PORT…" for each.
func members(texts ...string) []model.Member {
	var out []model.Member
	for _, text := range texts {
		f := strings.Fields(text)
		var m model.Member
		who, group, _ := strings.Cut(f[0], "/")
		_, _ = fmt.Sscan(group, &m.Group)
		who, m.Pod, _ = strings.Cut(who, "@")
		m.Address = netip.MustParseAddr(who)
		for _, p := range f[1:] {
			var n uint16
			_, _ = fmt.Sscan(p, &n)
			m.Ports = append(m.Ports, n)
		}
		out = append(out, m)
	}
	return out
}

func all(p *model.Pool) Answer {
	a := Answer{Most: 8}
	for i := range p.Members {
		a.Members = append(a.Members, i)
	}
	return a
}

func TestPorts(t *testing.T) {
	http := model.Port{Name: "http", Protocol: "TCP"}
	https := model.Port{Name: "https", Protocol: "tcp", Scheme: "https", ALPN: []string{"h2", "http/1.1"}}
	for _, c := range []struct {
		name  string
		host  string
		pool  model.Pool
		in    func(*Answer)
		want  string
		names string // beside the host
	}{
		{
			name: "all on one port", pool: model.Pool{Ports: []model.Port{http}, Members: members("fd00::1 8080", "fd00::2 8080")},
			want: "_http._tcp.w.test. SRV 0 0 8080 w.test.", names: "_http._tcp.w.test.",
		},
		{
			name: "who is in decides", pool: model.Pool{Ports: []model.Port{http}, Members: members("fd00::1 8080", "fd00::2 9090")},
			in:   func(a *Answer) { a.Members = []int{1} },
			want: "_http._tcp.w.test. SRV 0 0 9090 w.test.", names: "_http._tcp.w.test. fd00-0000-0000-0000-0000-0000-0000-0001.w.test. fd00-0000-0000-0000-0000-0000-0000-0002.w.test.",
		},
		{
			name: "nobody is in", pool: model.Pool{Ports: []model.Port{http}, Members: members("fd00::1 8080")},
			in: func(a *Answer) { a.Members = nil }, names: "_http._tcp.w.test.",
		},
		{
			name: "different ports", pool: model.Pool{Ports: []model.Port{http}, Members: members("10.0.0.1 80", "fd00::2 8080", "fd00::3 0")},
			in: func(a *Answer) { a.Weights = []uint32{50, 100, 7} }, want: `
_http._tcp.w.test. SRV 0 500 80 10-0-0-1.w.test.
_http._tcp.w.test. SRV 0 1000 8080 fd00-0000-0000-0000-0000-0000-0000-0002.w.test.
10-0-0-1.w.test. A 10.0.0.1
fd00-0000-0000-0000-0000-0000-0000-0002.w.test. AAAA fd00::2`,
			names: "_http._tcp.w.test. 10-0-0-1.w.test. fd00-0000-0000-0000-0000-0000-0000-0002.w.test. fd00-0000-0000-0000-0000-0000-0000-0003.w.test.",
		},
		{name: "a port without a name", pool: model.Pool{Ports: []model.Port{{Protocol: "tcp"}}, Members: members("fd00::1 8080")}},
		{name: "HTTPS with hints", pool: model.Pool{Ports: []model.Port{https}, Members: members("10.0.0.1 8443", "fd00::1 8443", "fd00::2 8443")}, want: `
_https._tcp.w.test. SRV 0 0 8443 w.test.
w.test. HTTPS 1 . alpn="h2,http/1.1" port="8443" ipv4hint="10.0.0.1" ipv6hint="fd00::1,fd00::2"`, names: "_https._tcp.w.test."},
		{name: "HTTP/3 on the same number", pool: model.Pool{Ports: []model.Port{https, {Name: "quic", Protocol: "udp", Scheme: "https", ALPN: []string{"h3"}}}, Members: members("fd00::1 443 443")}, want: `
_https._tcp.w.test. SRV 0 0 443 w.test.
w.test. HTTPS 1 . alpn="h2,http/1.1,h3" port="443" ipv6hint="fd00::1"
_quic._udp.w.test. SRV 0 0 443 w.test.`, names: "_https._tcp.w.test. _quic._udp.w.test."},
		{
			name: "as many hints as an answer has addresses", pool: model.Pool{Ports: []model.Port{{Scheme: "https", ALPN: []string{"h2"}}}, Members: members("fd00::1 1", "fd00::2 1", "fd00::3 1", "fd00::4 1", "fd00::5 1")},
			in: func(a *Answer) { a.Most = 2 }, want: `
w.test. HTTPS [- 0 333] 1 . alpn="h2" port="1" ipv6hint="fd00::1"
w.test. HTTPS [- 1 333] 1 . alpn="h2" port="1" ipv6hint="fd00::2,fd00::3"
w.test. HTTPS [- 2 333] 1 . alpn="h2" port="1" ipv6hint="fd00::4,fd00::5"`,
		},
		{
			name: "weights", pool: model.Pool{Ports: []model.Port{{Scheme: "https"}}, Members: members("10.0.0.1@a 1", "10.0.0.2@b 1", "fd00::1@a 1", "fd00::2@b 1")},
			in: func(a *Answer) { a.Weights = []uint32{1, 3, 1, 3} }, want: `
w.test. HTTPS [- 0 250] 1 . port="1" ipv4hint="10.0.0.1" ipv6hint="fd00::1"
w.test. HTTPS [- 1 750] 1 . port="1" ipv4hint="10.0.0.2" ipv6hint="fd00::2"`,
		},
		{
			name: "a choice that hints would go against", pool: model.Pool{Ports: []model.Port{{Scheme: "https", ALPN: []string{"h2"}}}, Members: members("fd00::1 1", "fd00::2 1")},
			in: func(a *Answer) { a.NoHints = true }, want: `w.test. HTTPS 1 . alpn="h2" port="1"`,
		},
		{
			name: "groups", pool: model.Pool{Groups: []model.Group{{Name: "blue", Weight: 9}, {Name: "green", Weight: 1}}, Ports: []model.Port{https}, Members: members("fd00::1/0 8443", "fd00::2/1 9443")}, want: `
_https._tcp.w.test. SRV [- blue 9] 0 1 8443 fd00-0000-0000-0000-0000-0000-0000-0001.w.test.
_https._tcp.w.test. SRV [- green 1] 0 1 9443 fd00-0000-0000-0000-0000-0000-0000-0002.w.test.
w.test. HTTPS [- blue 9] 1 fd00-0000-0000-0000-0000-0000-0000-0001.w.test. alpn="h2,http/1.1" port="8443" ipv6hint="fd00::1"
w.test. HTTPS [- green 1] 1 fd00-0000-0000-0000-0000-0000-0000-0002.w.test. alpn="h2,http/1.1" port="9443" ipv6hint="fd00::2"
fd00-0000-0000-0000-0000-0000-0000-0001.w.test. AAAA fd00::1
fd00-0000-0000-0000-0000-0000-0000-0002.w.test. AAAA fd00::2`,
			names: "_https._tcp.w.test. fd00-0000-0000-0000-0000-0000-0000-0001.w.test. fd00-0000-0000-0000-0000-0000-0000-0002.w.test.",
		},
		{name: "groups on one port", pool: model.Pool{Groups: []model.Group{{Name: "blue", Weight: 9}, {Name: "green", Weight: 1}}, Ports: []model.Port{{Scheme: "https"}}, Members: members("fd00::1/0 1", "fd00::2/1 1")}, want: `
w.test. HTTPS [- blue 9000] 1 . port="1" ipv6hint="fd00::1"
w.test. HTTPS [- green 1000] 1 . port="1" ipv6hint="fd00::2"`},
		{name: "another scheme", pool: model.Pool{Ports: []model.Port{{Name: "dot", Protocol: "tcp", Scheme: "dns", ALPN: []string{"dot"}}}, Members: members("fd00::1 853")}, want: `
_dot._tcp.w.test. SRV 0 0 853 w.test.
_dns.w.test. SVCB 1 w.test. alpn="dot" port="853" ipv6hint="fd00::1"`, names: "_dot._tcp.w.test. _dns.w.test."},
		{
			name: "a pattern", host: "*.test.", pool: model.Pool{Ports: []model.Port{https, {Scheme: "dns"}}, Members: members("fd00::1 8443 1")},
			want: `*.test. HTTPS 1 . alpn="h2,http/1.1" port="8443" ipv6hint="fd00::1"`,
		},
		{name: "a host of the greatest length", host: strings.Repeat(strings.Repeat("a", 61)+".", 4), pool: model.Pool{Ports: []model.Port{http}, Members: members("fd00::1 1", "fd00::2 2")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := c.host
			if host == "" {
				host = "w.test."
			}
			in := all(&c.pool)
			if c.in != nil {
				c.in(&in)
			}
			got := Ports(&c.pool, host, in)
			if diff := cmp.Diff(strings.TrimSpace(c.want), strings.TrimSpace(lines(got))); diff != "" {
				t.Error(diff)
			}
			names, made := Names(&c.pool, []string{host}, nil)
			if want := append([]string{host}, strings.Fields(c.names)...); !slices.Equal(names, want) {
				t.Errorf("names %v, want %v", names, want)
			}
			for _, s := range got {
				if s.Name != host && made[s.Name] != host {
					t.Errorf("%s is not among the names", s.Name)
				}
				for _, r := range s.Records {
					rr, err := Parse(s.Name, s.Type, 5, r.Data)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := dns.PackRR(rr, make([]byte, 4096), 0, nil, false); err != nil {
						t.Errorf("packing %v: %v", rr, err)
					}
				}
			}
		})
	}
}

func TestLoop(t *testing.T) {
	next := map[string][]string{"a": {"b"}, "b": {"x", "c"}, "c": {"a"}, "d": {"a"}, "e": {"e"}, "f": {"g"}, "g": nil}
	for name, want := range map[string][]string{"a": {"a", "b", "c"}, "b": {"b", "c", "a"}, "c": {"c", "a", "b"}, "d": nil, "e": {"e"}, "f": nil, "x": nil} {
		if got := Loop(name, func(n string) []string { return next[n] }); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestCovering(t *testing.T) {
	have := map[string]bool{"*.test.": true, "a.test.": true, "*.b.test.": true, "x.b.test.": true}
	for name, want := range map[string]string{
		"a.test.": "a.test.", "c.test.": "*.test.", "x.y.c.test.": "*.test.", "x.a.test.": "", "y.b.test.": "*.b.test.", "z.x.b.test.": "", "other.": "",
	} {
		if got := Covering(name, func(n string) bool { return have[n] }); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
