// SPDX-License-Identifier: Apache-2.0

package dnsclient

import (
	"testing"

	"github.com/miekg/dns"
)

func TestInterpretRefusesWhatIsNoAnswer(t *testing.T) {
	reply := func(f func(*dns.Msg)) *dns.Msg {
		m := new(dns.Msg).SetReply(new(dns.Msg).SetQuestion("a.test.", dns.TypeAAAA))
		f(m)
		return m
	}
	loop := records(0, "a.test. 1 IN CNAME b.test.", "b.test. 1 IN CNAME a.test.")
	tests := map[string]struct {
		m    *dns.Msg
		kind Kind
	}{
		"other name":   {reply(func(m *dns.Msg) { m.Question[0].Name = "b.test." }), Other},
		"other type":   {reply(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeA }), Other},
		"no question":  {reply(func(m *dns.Msg) { m.Question = nil }), Other},
		"a query":      {reply(func(m *dns.Msg) { m.Response = false }), Other},
		"a CNAME loop": {reply(loop), Other},
		"notimp":       {reply(records(dns.RcodeNotImplemented)), Other},
		"servfail":     {reply(records(dns.RcodeServerFailure)), Servfail},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if a, err := Interpret("a.test.", dns.TypeAAAA, tt.m); kind(err) != tt.kind {
				t.Errorf("got %+v, %v; want an error of kind %q", a, err, tt.kind)
			}
		})
	}
	stray := reply(records(0, "b.test. 9 IN AAAA fd00::1", "--", soa))
	if a, err := Interpret("a.test.", dns.TypeAAAA, stray); err != nil || a.Err == nil || a.Err.Kind != NoData {
		t.Errorf("data of another owner: got %+v, %v; want NODATA", a, err)
	}
}

func FuzzInterpret(f *testing.F) {
	for _, rrs := range [][]string{{"a.test. 5 IN AAAA fd00::1"}, {"a.test. 5 IN CNAME b.test.", "b.test. 5 IN AAAA fd00::1"}, {"--", soa}} {
		m := new(dns.Msg).SetReply(new(dns.Msg).SetQuestion("a.test.", dns.TypeAAAA))
		records(0, rrs...)(m)
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(dns.Msg)
		if m.Unpack(b) != nil {
			return
		}
		a, err := Interpret("a.test.", dns.TypeAAAA, m)
		switch {
		case err != nil && (kind(err) == "" || len(a.Addrs) > 0):
			t.Errorf("%+v with error %v", a, err)
		case err == nil && (a.Err == nil) != (len(a.Addrs) > 0):
			t.Errorf("neither answer nor absence: %+v", a)
		case err == nil && (a.TTL < 0 || a.TTL == Forever):
			t.Errorf("lifetime %v", a.TTL)
		}
		for _, addr := range a.Addrs {
			if !addr.IsValid() {
				t.Errorf("invalid address in %+v", a)
			}
		}
	})
}
