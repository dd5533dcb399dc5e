// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/forward"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/dnstest"
)

// TestForwards runs dnsingress with a zone of its own, one that another server has, and one that leads back to itself.
func TestForwards(t *testing.T) {
	other, stop, err := dnstest.Serve(dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Name == "www.west.test." && q.Question[0].Qtype == dns.TypeAAAA {
			m.Answer = []dns.RR{&dns.AAAA{Hdr: dns.RR_Header{Name: "www.west.test.", Rrtype: dns.TypeAAAA, Class: dns.ClassINET, Ttl: 60}, AAAA: []byte("0123456789abcdef")}}
		} else {
			m.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(m)
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	c := &cluster{t: t}
	i := c.configured(t, fmt.Sprintf(`zones:
  - {origin: apps.test, nameservers: [{name: ns.served.example}]}
listen: ["[::1]:0"]
admin: "[::1]:0"
lameDuck: 0s
forward:
  - {zone: west.test, to: [%q, "[::1]:1"], health: {interval: 200ms}}
kubernetes: {files: %q}
`, other, t.TempDir()))
	select {
	case <-i.engine.Ready():
	case <-time.After(time.Minute):
		t.Fatal("not ready after a minute")
	}
	client := dns.Client{Timeout: time.Minute}
	for name, want := range map[string]string{
		"www.west.test.": "NOERROR, AA false, 1 records", "none.west.test.": "NXDOMAIN, AA false, 0 records",
		"none.apps.test.": "NXDOMAIN, AA true, 0 records", "www.east.test.": "REFUSED, AA false, 0 records",
	} {
		r, _, err := client.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeAAAA), i.dns.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%s, AA %v, %d records", dns.RcodeToString[r.Rcode], r.Authoritative, len(r.Answer)); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	ask := func(output string) string {
		var out, errs bytes.Buffer
		root := command(strings.NewReader(""), &out, &errs)
		if code := cli.Run(t.Context(), root, []string{"forwards", "--admin", "http://" + i.admin.Addr().String(), "-o", output}, &errs); code != 0 {
			t.Fatalf("exit code %d: %s", code, errs.String())
		}
		return out.String()
	}
	untilNil(t, func() error {
		var zones []forward.Status
		if err := json.Unmarshal([]byte(ask("json")), &zones); err != nil {
			t.Fatal(err)
		}
		if len(zones) != 1 || zones[0].Zone != "west.test." || zones[0].Servers[0].State != forward.Up || zones[0].Servers[1].State != forward.Down {
			return fmt.Errorf("%+v", zones)
		}
		return nil
	})
	for _, want := range []string{"ZONE ", "west.test.  " + other.String() + "  up", "[::1]:1 ", " down   connection refused ", "primary-fallback"} {
		if got := ask("table"); !strings.Contains(got, want) {
			t.Errorf("the table has no %q:\n%s", want, got)
		}
	}
}
