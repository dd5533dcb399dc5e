// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
)

func TestTexts(t *testing.T) {
	m := model.SharedMember{Address: netip.MustParseAddr("2001:db8::7"), In: true, Reason: "ready", Weight: 1.25, Location: "GEO-EU/CH/zone-a/node-7", Pod: "www-7"}
	want := []string{"member", "address=2001:db8::7", "state=in", "reason=ready", "weight=1.25", "location=GEO-EU/CH/zone-a/node-7", "pod=www-7"}
	if diff := cmp.Diff(want, memberTexts(&m)); diff != "" {
		t.Error(diff)
	}
	resort := m
	resort.Resort = true
	out := model.SharedMember{Address: netip.MustParseAddr("192.0.2.1"), Reason: "not-ready"}
	for _, m := range []model.SharedMember{m, resort, out} {
		got, err := readMember(memberTexts(&m))
		if err != nil || got != m {
			t.Errorf("%+v comes back as %+v, %v", m, got, err)
		}
	}
	ttl, weight := uint32(300), uint32(0)
	long := `"` + strings.Repeat(`\"\\ü`, 300) + `"`
	for _, s := range []model.RecordSet{
		{Type: dns.TypeMX, TTL: &ttl, Records: []model.Record{{Data: "10 mx.apps.test."}}},
		{Type: 65280, TTL: &ttl, Stable: true, Records: []model.Record{{Data: long, Geo: "GEO-EU", Set: "a b", Weight: &weight}}},
	} {
		texts := recordTexts(&s, &s.Records[0])
		if slices.ContainsFunc(texts, func(s string) bool { return len(s) > mostText || strings.ContainsAny(s, "\"\\ \n") }) {
			t.Errorf("a record cannot hold %q", texts)
		}
		if got, err := readRecord(texts); err != nil || !got.Equal(s) {
			t.Errorf("%+v comes back as %+v, %v", s, got, err)
		}
	}
	a := apex{"zurich", "8a0c", 5 * time.Second}
	if got, err := readApex(append(a.texts(), "news=of later versions")); err != nil || got != a {
		t.Errorf("%+v, %v", got, err)
	}
	h := head{30, 2}
	if got, err := readHead(h.texts()); err != nil || got != h {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestBadTexts(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"member address=x state=in weight=1", `address "x" of a member is no address`},
		{"member address=fe80::1%eth0 state=in weight=1", "is no address"},
		{"member address=::ffff:192.0.2.1 state=in weight=1", "is no address"},
		{"member address=fd00::1 state=maybe", `state "maybe" of fd00::1 is unknown`},
		{"member address=fd00::1 state=in", `weight "" of fd00::1 is no weight`},
		{"member address=fd00::1 state=in weight=0", "is no weight"},
		{"member address=fd00::1 state=in weight=-1", "is no weight"},
		{"member address=fd00::1 state=in weight=NaN", "is no weight"},
		{"member address=fd00::1 state=in weight=+Inf", "is no weight"},
		{"member address=fd00::1 state=in weight=1e308", "is no weight"}, // two of these add up to infinity
		{"record type=NEWS ttl=5 data=x", `type "NEWS" of a record is no type`},
		{"record type=TYPE065280 ttl=5 data=x", "is no type"},
		{"record type=MX data=x", `ttl "" of a record is no TTL`},
		{"record type=MX ttl=5 weight=-1 data=x", `weight "-1" of a record is no weight`},
		{"record type=MX ttl=5 data=%zz", `data of a record: invalid URL escape "%zz"`},
		{"pool ttl=-1 shards=1", `ttl "-1" of a pool is no TTL`},
		{"pool ttl=4294967295 shards=1", "is no TTL"},
		{"pool ttl=5 shards=0", `shards "0" of a pool is no number of parts`},
		{"pool ttl=5 shards=1000000", "is no number of parts"},
		{"apex cluster=a identity=b lease=5s", `its protocol is "", and this is 1 (hint: `},
		{"apex protocol=1 lease=5s", "names no cluster"},
		{"apex protocol=1 cluster=a identity=b lease=0s", `its lease is "0s"`},
		{"apex protocol=1 cluster=a identity=b lease=long", `its lease is "long"`},
	} {
		texts := strings.Fields(c.text)
		var err error
		switch texts[0] {
		case "member":
			_, err = readMember(texts)
		case "record":
			_, err = readRecord(texts)
		case "pool":
			_, err = readHead(texts)
		default:
			_, err = readApex(texts)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	const origin = "zurich.peers.test."
	for _, c := range []struct {
		host  string
		shard int
		name  string
	}{
		{"www.apps.test.", 0, "www.apps.test.zurich.peers.test."},
		{"www.apps.test.", 7, "_7.www.apps.test.zurich.peers.test."},
		{"*.apps.test.", 0, "*.apps.test.zurich.peers.test."},
		{"*.apps.test.", 1, "_1.*.apps.test.zurich.peers.test."},
		{"_443._tcp.apps.test.", 0, "_0._443._tcp.apps.test.zurich.peers.test."}, // not a part of _tcp.apps.test.
		{"_443._tcp.apps.test.", 2, "_2._443._tcp.apps.test.zurich.peers.test."},
		{"_tcp.apps.test.", 0, "_tcp.apps.test.zurich.peers.test."},
	} {
		name := shardName(c.host, origin, c.shard)
		if host := hostOf(name, origin); name != c.name || host != c.host {
			t.Errorf("%s, %d: %s, which is of %s", c.host, c.shard, name, host)
		}
	}
	if host := hostOf(origin, origin); host != "" {
		t.Errorf("the apex is of %q", host)
	}
}

// TestRecords: what a share has of records comes through the zone, whole and as a difference, however many they are.
func TestRecords(t *testing.T) {
	ttl := uint32(300)
	share := &model.Share{Host: "_443._tcp.apps.test.", TTL: 5, Records: []model.RecordSet{{Name: "_443._tcp.apps.test.", Type: dns.TypeAAAA, TTL: &ttl}}}
	set := &share.Records[0]
	for i := range 10 * shardSize {
		set.Records = append(set.Records, model.Record{Data: netip.AddrFrom16([16]byte{0: 0xfd, 14: byte(i >> 8), 15: byte(i)}).String()})
	}
	slices.SortFunc(set.Records, func(a, b model.Record) int { return strings.Compare(a.Data, b.Data) })
	p := newBenchPublisher(t)
	want := func(before *zone.Zone) {
		t.Helper()
		_, got, err := read(p.zone, before, p.origin)
		if err != nil || len(got) != 1 || !got[share.Host].Equal(share) {
			t.Fatalf("%d hosts, %v, of %d records %d", len(got), err, len(set.Records), got[share.Host].Size()-1)
		}
	}
	if err := p.change(map[string]*model.Share{share.Host: share}); err != nil {
		t.Fatal(err)
	}
	want(nil)
	before := p.zone
	set.Records = set.Records[7:]
	if err := p.change(map[string]*model.Share{share.Host: share}); err != nil {
		t.Fatal(err)
	}
	want(before)
}

// FuzzMember: whatever the texts, what is read of them says the same when it is written.
func FuzzMember(f *testing.F) {
	for _, text := range []string{
		"member\naddress=2001:db8::7\nstate=in\nreason=ready\nweight=1.25\nlocation=GEO-EU/CH\npod=www-7",
		"member\naddress=192.0.2.1\nstate=out\nreason=lease-ended", "member\naddress=::1\nstate=resort\nweight=1e-3", "pool\nttl=5\nshards=1",
		"protocol=1\ncluster=a\nidentity=b\nlease=5s", "record\ntype=TXT\nttl=5\nstable=true\ngeo=CH\nweight=3\nset=a\ndata=%22x%22", "record\ntype=TYPE65280\nttl=0\ndata=a\ndata=b",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		texts := strings.Split(text, "\n")
		if m, err := readMember(texts); err == nil {
			if m.In && (!(m.Weight > 0) || math.IsInf(m.Weight, 0)) {
				t.Errorf("weight %v", m.Weight)
			}
			written := memberTexts(&m)
			if slices.ContainsFunc(written, func(s string) bool { return len(s) > mostText || strings.ContainsAny(s, "\"\\ \n") }) {
				t.Errorf("a record cannot hold %q", written)
			}
			again, err := readMember(written)
			m.Reason, m.Location, m.Pod = plain(m.Reason), plain(m.Location), plain(m.Pod)
			if err != nil || again != m {
				t.Errorf("%+v is written as %q and read as %+v, %v", m, written, again, err)
			}
		}
		if s, err := readRecord(texts); err == nil {
			if again, err := readRecord(recordTexts(&s, &s.Records[0])); err != nil || !again.Equal(s) {
				t.Errorf("%+v is read as %+v, %v", s, again, err)
			}
		}
		if h, err := readHead(texts); err == nil {
			if again, err := readHead(h.texts()); err != nil || again != h {
				t.Errorf("%+v is read as %+v, %v", h, again, err)
			}
		}
		if a, err := readApex(texts); err == nil && a.lease <= 0 {
			t.Errorf("lease %v", a.lease)
		}
	})
}
