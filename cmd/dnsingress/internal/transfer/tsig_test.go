// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// raw sends a message over UDP as it is and returns the reply.
func raw(t *testing.T, address string, message []byte) []byte {
	t.Helper()
	conn, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(message); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, maxMessage)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// TestTSIG signs queries well and badly, by the library, and has the library check the replies: RFC 8945 §5.2, §5.3.2.
func TestTSIG(t *testing.T) {
	n := start(t, Options{Keys: keysOf(t, "k:hmac-sha256"), Default: Policy{Allow: grants(t, "key:k")}}, compile(t, small))
	other := base64.StdEncoding.EncodeToString([]byte("another secret"))
	now := time.Now().Unix()
	for _, c := range []struct {
		what           string
		key, algorithm string
		secret         string
		at             int64
		alter          func(m []byte) []byte // after signing
		rcode          int
		code           uint16 // of the TSIG in the reply
		signed         bool
	}{
		{what: "good", rcode: dns.RcodeSuccess, signed: true},
		{what: "the name in other case", key: "K.", rcode: dns.RcodeSuccess, signed: true},
		{what: "an almost wrong clock", at: now - 290, rcode: dns.RcodeSuccess, signed: true},
		{what: "unknown key", key: "other.", rcode: dns.RcodeNotAuth, code: dns.RcodeBadKey},
		{what: "the key's other algorithm", algorithm: dns.HmacSHA512, rcode: dns.RcodeNotAuth, code: dns.RcodeBadKey},
		{what: "another secret", secret: other, rcode: dns.RcodeNotAuth, code: dns.RcodeBadSig},
		{what: "changed on the way", alter: func(m []byte) []byte { m[13] ^= 0x20; return m }, rcode: dns.RcodeNotAuth, code: dns.RcodeBadSig},
		{what: "another ID on the way", alter: func(m []byte) []byte { m[0]++; return m }, rcode: dns.RcodeSuccess, signed: true},
		{what: "a late clock", at: now - 1000, rcode: dns.RcodeNotAuth, code: dns.RcodeBadTime, signed: true},
		{what: "an early clock", at: now + 1000, rcode: dns.RcodeNotAuth, code: dns.RcodeBadTime, signed: true},
		{what: "half a signature", alter: truncated(16), rcode: dns.RcodeNotAuth, code: dns.RcodeBadTrunc, signed: true},
		{what: "too little of a signature", alter: truncated(15), rcode: dns.RcodeFormatError},
		{what: "no signature", alter: truncated(0), rcode: dns.RcodeFormatError},
		{what: "more than a signature", alter: truncated(40), rcode: dns.RcodeFormatError},
	} {
		t.Run(c.what, func(t *testing.T) {
			if c.key == "" {
				c.key = "k."
			}
			if c.algorithm == "" {
				c.algorithm = dns.HmacSHA256
			}
			if c.secret == "" {
				c.secret = secret
			}
			if c.at == 0 {
				c.at = now
			}
			m := new(dns.Msg).SetQuestion("ns1.example.org.", dns.TypeAAAA)
			m.SetTsig(c.key, c.algorithm, fudge, c.at)
			wire, mac, err := dns.TsigGenerate(m, c.secret, "", false)
			if err != nil {
				t.Fatal(err)
			}
			if c.alter != nil {
				wire = c.alter(wire)
				if sig, err := readSignature(wire); err == nil {
					mac = hex.EncodeToString(sig.mac)
				}
			}
			reply := raw(t, n.address, wire)
			var r dns.Msg
			if err := r.Unpack(reply); err != nil {
				t.Fatal(err)
			}
			if r.Rcode != c.rcode || r.Id != idOf(wire) {
				t.Errorf("%v", &r)
			}
			tsig := r.IsTsig()
			switch {
			case tsig == nil && (c.signed || c.code != 0):
				t.Fatalf("no TSIG: %v", &r)
			case tsig == nil:
				return
			case tsig.Error != c.code:
				t.Errorf("TSIG error %d, want %d", tsig.Error, c.code)
			case !c.signed:
				if tsig.MACSize != 0 {
					t.Error("it is signed")
				}
				return
			}
			if c.code == dns.RcodeBadTime {
				if tsig.TimeSigned != uint64(c.at) || len(tsig.OtherData) != 12 {
					t.Errorf("time %d, other data %q", tsig.TimeSigned, tsig.OtherData)
				}
			}
			if c.rcode == dns.RcodeSuccess {
				err = dns.TsigVerify(reply, c.secret, mac, false)
			} else { // the library checks no signature of NOTAUTH
				sig, bad := readSignature(reply)
				if bad != nil {
					t.Fatal(bad)
				}
				s := newSession(keysOf(t, "k:hmac-sha256")["k."])
				if s.prior, err = hex.DecodeString(mac); err != nil {
					t.Fatal(err)
				}
				err = s.check(reply, sig, time.Unix(int64(sig.time), 0))
			}
			if err != nil {
				t.Errorf("the reply is badly signed: %v", err)
			}
			if c.rcode == dns.RcodeSuccess && len(r.Answer) != 1 {
				t.Errorf("the answer is not that of an unsigned query: %v", &r)
			}
		})
	}
}

// truncated gives the signature of a message another length.
func truncated(octets int) func([]byte) []byte {
	return func(m []byte) []byte {
		sig, err := readSignature(m)
		if err != nil {
			panic(err)
		}
		sig.mac = append(sig.mac, make([]byte, 64)...)[:octets]
		return sig.append(sig.stripped(m))
	}
}

// TestSignedReplyFits: what an unsigned reply has room for a signed one may not.
func TestSignedReplyFits(t *testing.T) {
	text := small
	for i := range 24 {
		text += fmt.Sprintf("many.example.org. 300 IN A 192.0.2.%d\n", i+1)
	}
	keys := keysOf(t, "k:hmac-sha512")
	n := start(t, Options{Keys: keys}, compile(t, text))
	m := new(dns.Msg).SetQuestion("many.example.org.", dns.TypeA)
	plain, err := client{to: remote(t, n.address)}.ask(t.Context(), m, 5)
	if err != nil || len(plain.Answer) != 24 || plain.Truncated {
		t.Fatal(plain, err)
	}
	if _, err := (client{to: remote(t, n.address), key: keys["k."]}).ask(t.Context(), m, 5); !errors.Is(err, errTruncated) {
		t.Errorf("%v", err)
	}
}

// TestSignedStream has a server sign some messages of many only: RFC 8945 §5.3.1.
func TestSignedStream(t *testing.T) {
	keys := keysOf(t, "k:hmac-sha384")
	for _, c := range []struct {
		what   string
		signed func(i int) bool
		alter  int // a message that is changed on the way
		want   string
	}{
		{what: "all", signed: func(int) bool { return true }, alter: -1},
		{what: "every 100th", signed: func(i int) bool { return i%100 == 0 || i == 300 }, alter: -1},
		{what: "too few", signed: func(i int) bool { return i%101 == 0 || i == 300 }, alter: -1, want: "must be signed"},
		{what: "not the first", signed: func(i int) bool { return i > 0 }, alter: -1, want: "must be signed"},
		{what: "not the last", signed: func(i int) bool { return i%50 == 0 && i < 300 }, alter: -1, want: "last message is not signed"},
		{what: "one changed that is signed", signed: func(int) bool { return true }, alter: 7, want: "BADSIG"},
		{what: "one changed that is not signed", signed: func(i int) bool { return i%50 == 0 }, alter: 7, want: "BADSIG"},
	} {
		t.Run(c.what, func(t *testing.T) {
			query := new(dns.Msg).SetAxfr("example.org.")
			wire, ours, err := client{key: keys["k."]}.prepare(query)
			if err != nil {
				t.Fatal(err)
			}
			sig, err := readSignature(wire)
			if err != nil {
				t.Fatal(err)
			}
			theirs := newSession(keys["k."])
			if err := theirs.check(wire, sig, time.Now()); err != nil {
				t.Fatal(err)
			}
			soa := records(t, "example.org. 300 IN SOA ns1. host. 7 3600 600 86400 60\n")
			var out bytes.Buffer
			for i := range 301 {
				m := new(dns.Msg).SetReply(query)
				m.Answer = records(t, fmt.Sprintf("h%d.example.org. 300 IN A 192.0.2.1", i))
				if i == 0 || i == 300 {
					m.Answer = soa
				}
				message, err := m.Pack()
				if err != nil {
					t.Fatal(err)
				}
				address := len(message) - 1
				if c.signed(i) {
					message = signedAfter(theirs, message)
				} else {
					if theirs.pending == nil {
						theirs.pending = theirs.begin()
					}
					theirs.pending.Write(message)
				}
				if i == c.alter {
					message[address] ^= 1
				}
				out.Write(framed(message))
			}
			_, _, _, err = (&stream{from: &out, query: query, session: ours}).receive("example.org.", nil, nil)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

// signedAfter signs a message together with the unsigned ones before it.
func signedAfter(s *session, message []byte) []byte {
	h := s.pending
	if h == nil {
		h = s.begin()
	}
	s.pending = nil
	sig := &signature{key: s.key.Name, algorithm: s.key.Algorithm, time: uint64(time.Now().Unix()), fudge: fudge, id: idOf(message)}
	h.Write(message)
	h.Write(s.variables(sig))
	sig.mac = h.Sum(nil)
	s.prior, s.stream = sig.mac, true
	return sig.append(message)
}

// TestKeysThatDoNotMatch: nothing is transferred, both sides count why, and the secondary says it once.
func TestKeysThatDoNotMatch(t *testing.T) {
	registry := prometheus.NewRegistry()
	primary := start(t, Options{Keys: keysOf(t, "k:hmac-sha256"), Default: Policy{Allow: grants(t, "key:k")}, Registerer: registry}, compile(t, small))
	for _, c := range []struct {
		name, secret, code string
	}{
		{"k", base64.StdEncoding.EncodeToString([]byte("another secret")), "BADSIG"},
		{"other", secret, "BADKEY"},
	} {
		key, err := NewKey(c.name, "hmac-sha256", c.secret)
		if err != nil {
			t.Fatal(err)
		}
		secondary := start(t, Options{Keys: Keys{key.Name: key}, Secondaries: []Secondary{{Origin: "example.org", Primaries: []Remote{remote(t, primary.address+"+key:"+c.name)}}}})
		counted := func() float64 { return testutil.ToFloat64(primary.service.metrics.tsig.WithLabelValues(c.code)) }
		waitFor(t, "the primary counts two queries", func() bool {
			secondary.service.secondaries["example.org."].Tell()
			return counted() >= 2
		})
		secondary.stop()
		if secondary.catalog.Zone("example.org.").Available() {
			t.Error("there is a zone")
		}
		if n := secondary.log.count("TSIG: " + c.code); n != 1 {
			t.Errorf("the cause was logged %d times: %s", n, secondary.log)
		}
		if primary.log.count(c.code) > 0 {
			t.Errorf("a line a query: %s", primary.log)
		}
	}
}

// TestLayout surveys messages that are cut off everywhere.
func TestLayout(t *testing.T) {
	m := new(dns.Msg).SetQuestion("example.org.", dns.TypeSOA)
	m.Answer = records(t, small)
	m.SetTsig("k.", dns.HmacSHA256, fudge, time.Now().Unix())
	wire, _, err := dns.TsigGenerate(m, secret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	l, err := survey(wire)
	if err != nil || l.end != headerLen+len("\x07example\x03org\x00")+4 || l.tsig == 0 {
		t.Fatal(l, err)
	}
	for i := range wire {
		if _, err := survey(wire[:i]); err == nil {
			t.Errorf("%d of %d octets pass", i, len(wire))
		}
	}
	if _, err := survey(append(bytes.Clone(wire), 0)); err == nil {
		t.Error("an octet too many passes")
	}
	// A TSIG with a record behind it.
	sig := bytes.Clone(wire[l.tsig:])
	two := append(bytes.Clone(wire), sig...)
	binary.BigEndian.PutUint16(two[10:], 2)
	if _, err := survey(two); err == nil {
		t.Error("two signatures pass")
	}
}

// TestForgedReplyIsPassedOver: the real one comes after it, RFC 8945 §5.4; all queries that go out for it are the same.
func TestForgedReplyIsPassedOver(t *testing.T) {
	keys := keysOf(t, "k:hmac-sha256")
	in, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	go func() {
		buf := make([]byte, maxMessage)
		n, _, err := in.ReadFrom(buf)
		if err != nil {
			return
		}
		first := bytes.Clone(buf[:n])
		n, from, err := in.ReadFrom(buf) // the first was lost, it seems
		if err != nil {
			return
		}
		if !bytes.Equal(first, buf[:n]) {
			t.Error("another query")
		}
		sig, err := readSignature(first)
		if err != nil {
			t.Error(err)
			return
		}
		reply := sig.stripped(first)
		reply[2] |= 0x80
		session := newSession(keys["k."])
		session.prior = sig.mac
		forged := session.alike().sign(bytes.Clone(reply), time.Now())
		forged[len(forged)-20] ^= 1
		_, _ = in.WriteTo(forged, from)
		_, _ = in.WriteTo(reply, from) // not signed
		_, _ = in.WriteTo(session.sign(reply, time.Now()), from)
	}()
	r, err := client{to: remote(t, in.LocalAddr().String()), key: keys["k."]}.ask(t.Context(), new(dns.Msg).SetQuestion("example.org.", dns.TypeSOA), 3)
	if err != nil || r.Rcode != dns.RcodeSuccess {
		t.Error(r, err)
	}
}

// TestKeyErrorsKeepSecrets also where parts have changed places.
func TestKeyErrorsKeepSecrets(t *testing.T) {
	for _, text := range []string{
		"k:" + secret + ":hmac-sha256\n", secret + ":hmac-sha256:k\n", secret + ":k:hmac-sha256\n",
		`key "` + secret + `" { algorithm k; secret hmac-sha256; };`, `key "` + secret + `" { algorithm hmac-sha256; };`,
		`key k { algorithm "` + secret + `"; secret "hmac-sha256"; };`, `key k { ` + secret + ` }`, "key " + secret + "\n", secret,
		secret + ":hmac-sha256:c2VjcmV0\n" + secret + ":hmac-sha256:c2VjcmV0\n",
	} {
		err := Keys{}.parse("f", text)
		if err == nil || strings.Contains(strings.ToLower(err.Error()), strings.ToLower(secret)) {
			t.Errorf("%q: %v", text, err)
		}
	}
	keys := Keys{}
	if err := keys.parse("f", "key k { // of both\n algorithm hmac-sha256; secret //8=; }; // theirs\n"); err != nil || len(keys["k."].secret) != 2 {
		t.Error(err)
	}
}
