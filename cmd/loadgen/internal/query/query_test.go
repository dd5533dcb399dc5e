// SPDX-License-Identifier: Apache-2.0

package query

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/openloop"
	"github.com/dnsingress/dnsingress/internal/dnstest"
	"github.com/dnsingress/dnsingress/internal/results"
)

// serve answers queries over UDP and TCP with answer, which returns the packets to send, raw.
func serve(t *testing.T, answer func(q *dns.Msg) [][]byte) (addr netip.AddrPort, queries *atomic.Int32) {
	t.Helper()
	queries = new(atomic.Int32)
	addr, stop, err := dnstest.Serve(dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		queries.Add(1)
		for _, b := range answer(q) {
			_, _ = w.Write(b)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return addr, queries
}

func reply(q *dns.Msg, change func(*dns.Msg)) []byte {
	m := new(dns.Msg).SetReply(q)
	rr, err := dns.NewRR(q.Question[0].Name + " 5 IN AAAA fd00::1")
	if err != nil {
		panic(err)
	}
	m.Answer = append(m.Answer, rr)
	change(m)
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

func TestClasses(t *testing.T) {
	just := func(change func(*dns.Msg)) func(*dns.Msg) [][]byte {
		return func(q *dns.Msg) [][]byte { return [][]byte{reply(q, change)} }
	}
	rcode := func(rc int) func(*dns.Msg) { return func(m *dns.Msg) { m.Rcode, m.Answer = rc, nil } }
	tests := []struct {
		name   string
		answer func(*dns.Msg) [][]byte
		class  string
	}{
		{"an answer", just(func(*dns.Msg) {}), ""},
		{"nodata", just(rcode(dns.RcodeSuccess)), results.ErrDNSNoData},
		{"nxdomain", just(rcode(dns.RcodeNameError)), results.ErrDNSNXDomain},
		{"servfail", just(rcode(dns.RcodeServerFailure)), results.ErrDNSServfail},
		{"refused", just(rcode(dns.RcodeRefused)), results.ErrDNSOther},
		{"formerr with no question", just(func(m *dns.Msg) { m.Rcode, m.Answer, m.Question = dns.RcodeFormatError, nil, nil }), results.ErrDNSOther},
		{"truncated", just(func(m *dns.Msg) { m.Truncated, m.Answer = true, nil }), results.ErrDNSOther},
		{"another question", just(func(m *dns.Msg) { m.Question[0].Name = "b.test." }), results.ErrDNSOther},
		{"no question", just(func(m *dns.Msg) { m.Question = nil }), results.ErrDNSOther},
		{"a query", just(func(m *dns.Msg) { m.Response = false }), results.ErrDNSOther},
	}
	for _, way := range ways {
		for _, tt := range tests {
			t.Run(way+"/"+tt.name, func(t *testing.T) {
				addr, queries := serve(t, tt.answer)
				s, err := once(t, way, addr, time.Minute)
				if s.Error != tt.class || queries.Load() != 1 {
					t.Errorf("class %q (%v) after %d queries; want %q after 1", s.Error, err, queries.Load(), tt.class)
				}
				if s.DNSNs <= 0 || s.TotalNs < s.DNSNs || s.SentNs < s.IntendedNs || s.Peer != "::1" || s.OK() && s.Bytes < headerLen {
					t.Errorf("%+v", s)
				}
			})
		}
	}
}

// ways are the transports, each with a socket a query and with kept ones.
var ways = []string{"udp", "tcp", "udp kept", "tcp kept"}

func book(t *testing.T, pick Pick, names ...string) *Book {
	t.Helper()
	var qs []Question
	for _, n := range names {
		qs = append(qs, Question{n, dns.TypeAAAA})
	}
	b, err := NewBook(qs, false, pick, 1)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// once asks one query with sequence number 3.
func once(t *testing.T, way string, addr netip.AddrPort, timeout time.Duration) (s results.Sample, cause error) {
	t.Helper()
	network, kept, _ := strings.Cut(way, " ")
	c := Config{Client: "c", Network: network, Servers: []netip.AddrPort{addr}, Book: book(t, InOrder, "a.test"), Timeout: timeout, Sockets: 2}
	notes := 0
	note := func(got *results.Sample, last bool, err error) {
		s, cause = *got, err
		if notes++; !last || got.Seq != 3 {
			t.Errorf("last %v, %+v", last, *got)
		}
	}
	switch {
	case kept == "":
		NewLoad(c).Do(0, 3, time.Now(), note)
	case network == "udp":
		f, err := NewFlow(c)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		p := plan(1, 0)
		p.Schedule = openloop.NewSchedule(one{}, time.Hour, 0)
		if err := f.Run(t.Context(), p, func(got *results.Sample, last bool, err error) {
			got.Seq += 3
			note(got, last, err)
		}); err != nil {
			t.Fatal(err)
		}
	default:
		st := NewStreams(c)
		defer st.Close()
		st.Do(0, 3, time.Now(), note)
	}
	if notes != 1 {
		t.Errorf("%d samples", notes)
	}
	return s, cause
}

// one is a pacer of one send, at once.
type one struct{}

func (one) Pace(_ time.Duration, hits uint64) (time.Duration, bool) { return 0, hits > 0 }
func (one) Rate(time.Duration) float64                              { return 1 }

func plan(rate float64, length time.Duration) openloop.Plan {
	return openloop.Plan{
		Start: time.Now(), Schedule: openloop.NewSchedule(openloop.Constant(rate), length, 0), Length: length, MaxInFlight: 1 << 20,
		Drop: func(openloop.Hit) {}, Open: func() {}, Close: func() {},
	}
}

// Replies with another ID, and packets too short for one, are passed over until the right one comes.
func TestStrayRepliesArePassedOver(t *testing.T) {
	addr, _ := serve(t, func(q *dns.Msg) [][]byte {
		forged := reply(q, func(m *dns.Msg) { m.Id++; m.Rcode = dns.RcodeNameError; m.Answer = nil })
		return [][]byte{forged, {1, 2, 3}, reply(q, func(*dns.Msg) {})}
	})
	for _, way := range []string{"udp", "udp kept"} {
		if s, err := once(t, way, addr, time.Minute); !s.OK() {
			t.Errorf("%s: %+v, %v", way, s, err)
		}
	}
}

func TestSilenceAndRefusal(t *testing.T) {
	pc, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := pc.LocalAddr().(*net.UDPAddr).AddrPort()
	for _, way := range []string{"udp", "udp kept"} {
		if s, err := once(t, way, addr, 30*time.Millisecond); s.Error != results.ErrDNSTimeout || s.TotalNs < int64(30*time.Millisecond) {
			t.Errorf("%s: %+v, %v", way, s, err)
		}
	}
	pc.Close()
	// A socket that is connected elsewhere keeps the port from others and takes nothing from here.
	taken, err := net.Dial("udp", "[::1]:9")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr = taken.LocalAddr().(*net.UDPAddr).AddrPort()
	for _, way := range ways {
		if s, err := once(t, way, addr, time.Minute); s.Error != results.ErrDNSOther {
			t.Errorf("%s: %+v, %v", way, s, err)
		}
	}
}

// What this machine lacks is no fault of the server, whatever wraps it.
func TestOwnFault(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.EMFILE: results.ErrOther, syscall.ENOBUFS: results.ErrOther, syscall.EADDRINUSE: results.ErrOther,
		syscall.ECONNREFUSED: results.ErrDNSOther, syscall.EHOSTUNREACH: results.ErrDNSOther,
	} {
		if got := class(&net.OpError{Op: "dial", Err: os.NewSyscallError("socket", errno)}); got != want {
			t.Errorf("%v: class %q, want %q", errno, got, want)
		}
	}
}

func TestNewBookRefuses(t *testing.T) {
	for _, name := range []string{"", "a..b", string(make([]byte, 300))} {
		if _, err := NewBook([]Question{{name, dns.TypeA}}, false, InOrder, 1); err == nil {
			t.Errorf("name %q gave no error", name)
		}
	}
}

// check reads what the library reads: a reply that it accepts unpacks (as far as its header and
// question go) to the query's ID, question and RCODE.
func FuzzCheck(f *testing.F) {
	q := new(dns.Msg).SetQuestion("a.test.", dns.TypeAAAA)
	q.Id = 4711
	wire, err := q.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reply(q, func(*dns.Msg) {}))
	f.Add(reply(q, func(m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeNameError, nil }))
	f.Add(wire)
	f.Fuzz(func(t *testing.T, b []byte) {
		err := check(b, q.Id, wire[headerLen:])
		m := new(dns.Msg)
		if m.Unpack(b) != nil {
			return
		}
		ok := m.Response && m.Id == q.Id && m.Rcode&0xf == 0 && !m.Truncated && len(m.Answer) > 0 && len(m.Question) == 1 && m.Question[0] == q.Question[0]
		if (err == nil) && !ok {
			t.Errorf("accepted %v", m)
		}
		var rc rcodeError
		if errors.As(err, &rc) && rc >= 0 && int(rc) != m.Rcode&0xf {
			t.Errorf("RCODE %d read as %d", m.Rcode, rc)
		}
	})
}
