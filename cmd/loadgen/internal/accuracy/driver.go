// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Driver changes names at a rate, and keeps the truth of them.
type Driver struct {
	Truth   *Truth
	Maker   Maker
	Names   []string // absolute
	Type    uint16   // A, AAAA or TXT
	Records int      // a name
	Rate    float64  // changes a second, over all names
	Deletes float64  // share of changes of a name that is there which remove it
	Settle  time.Duration
	Rng     *rand.Rand

	made    uint32 // data sets
	Skipped int    // changes that fell due while no name was ready for one
}

// Begin makes the names, and waits until every server shows every one.
func (d *Driver) Begin(ctx context.Context, servers []netip.AddrPort, network string) error {
	changes := make([]Change, len(d.Names))
	now := time.Now()
	for i, name := range d.Names {
		changes[i] = Change{Name: name, Type: d.Type, Data: d.data()}
		d.Truth.Begin(i, changes[i].Data, now)
	}
	if err := d.Maker.Make(ctx, changes); err != nil {
		return err
	}
	now = time.Now()
	for i := range d.Names {
		d.Truth.Done(i, now)
	}
	patient, cancel := context.WithTimeout(ctx, d.Settle)
	defer cancel()
	for _, server := range servers {
		for _, c := range changes {
			if err := shows(patient, server, network, c); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				return fmt.Errorf("waiting for %s: within %s it did not show %s as it was made by %v: %w (hint: --settle, or does the server take the change?)",
					server, d.Settle, c.Name, d.Maker, err)
			}
		}
	}
	return nil
}

// shows asks a server until it shows what was made.
func shows(ctx context.Context, server netip.AddrPort, network string, c Change) error {
	want, _ := key(c.Data)
	for {
		got, err := ask(ctx, server, network, c)
		if err == nil {
			if is, _ := key(got); is == want {
				return nil
			}
			err = fmt.Errorf("it says %q", got)
		}
		select {
		case <-time.After(20 * time.Millisecond): // a server tells nobody that it has changed
		case <-ctx.Done():
			return err
		}
	}
}

func ask(ctx context.Context, server netip.AddrPort, network string, c Change) ([]string, error) {
	m := new(dns.Msg).SetQuestion(c.Name, c.Type)
	client := dns.Client{Net: "udp", Timeout: time.Second}
	if network != "udp" {
		client.Net = "tcp" // over TLS what is asked beforehand need not be
	}
	reply, _, err := client.ExchangeContext(ctx, m, server.String())
	if err != nil {
		return nil, err
	}
	wire, err := reply.Pack()
	if err != nil {
		return nil, err
	}
	data, silent := Read(wire, c.Type)
	if silent {
		return nil, fmt.Errorf("it says %s", dns.RcodeToString[reply.Rcode])
	}
	return data, nil
}

// data returns data that no name ever had, so that each answer tells which change it is of.
func (d *Driver) data() []string {
	var out []string
	for j := range d.Records {
		d.made++
		switch d.Type {
		case dns.TypeA: // RFC 1918: 2^24 of them
			out = append(out, fmt.Sprintf("10.%d.%d.%d", d.made>>16&0xff, d.made>>8&0xff, d.made&0xff))
		case dns.TypeAAAA: // RFC 4193
			out = append(out, netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x5a, 8: byte(d.made >> 24), 9: byte(d.made >> 16), 10: byte(d.made >> 8), 11: byte(d.made), 15: byte(j + 1)}).String())
		default:
			out = append(out, fmt.Sprintf(`"loadgen %d"`, d.made))
		}
	}
	return out
}

// Run changes names until ctx ends. Its error is the maker's.
func (d *Driver) Run(ctx context.Context) error {
	if d.Rate == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(time.Duration(float64(time.Second) / d.Rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		name, ok := d.ready()
		if !ok {
			d.Skipped++
			continue
		}
		c := Change{Name: d.Names[name], Type: d.Type}
		if _, data := d.Truth.Since(name); len(data) == 0 || d.Rng.Float64() >= d.Deletes {
			c.Data = d.data()
		}
		d.Truth.Begin(name, c.Data, time.Now())
		if err := d.Maker.Make(ctx, []Change{c}); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		d.Truth.Done(name, time.Now())
	}
}

// ready draws a name whose last change every server has shown, or that has had the time for it.
func (d *Driver) ready() (int, bool) {
	at := d.Rng.IntN(len(d.Names))
	for i := range d.Names {
		name := (at + i) % len(d.Names)
		if begun, _ := d.Truth.Since(name); d.Truth.Settled(name) || time.Since(begun) > d.Settle {
			return name, true
		}
	}
	return 0, false
}

// Names returns n names below a zone.
func Names(zone string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = strings.TrimPrefix(fmt.Sprintf("accuracy-%d.%s", i, dns.CanonicalName(zone)), ".")
		out[i] = strings.ReplaceAll(out[i], "..", ".")
	}
	return out
}
