// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/server"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/miekg/dns"
	"github.com/spf13/cobra"
)

func lookupCommand(s streams) *cobra.Command {
	var files []string
	var zones zoneFlags
	var keys signingFlags
	var where locationFlags
	var from, subnet string
	var secure bool
	c := &cobra.Command{
		Use:   "lookup --zone-file FILE [NAME TYPE]",
		Short: "Print the answers that serve would give, without a socket",
		Long: `Print the answers that serve would give, without a socket.

Without NAME and TYPE the questions are lines "NAME TYPE" on standard input. Names are
absolute, with or without the final dot. Replies are those over TCP, so none is cut.
With --from or --subnet they are those that this client gets, or a resolver that asks for its network.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 0 && len(args) != 2 {
				return fmt.Errorf("lookup takes NAME and TYPE, or neither to read them from standard input")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(files) == 0 {
				return cli.Misuse("lookup needs --zone-file")
			}
			catalog := new(zone.Catalog)
			var origins []string
			signing, err := keys.load(slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			for _, path := range files {
				z, _, err := zones.load(path)
				if err != nil {
					return err
				}
				if z, err = signing.sign(z); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				catalog.Publish(z)
				origins = append(origins, z.Origin())
			}
			if err := signing.unused(origins); err != nil {
				return err
			}
			locations, err := where.load(nil, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			l := &lookup{streams: s, responder: server.NewResponder(catalog), buf: make([]byte, dns.MaxMsgSize), secure: secure}
			l.responder.Locate(locations.Table())
			if err := l.client(from, subnet); err != nil {
				return err
			}
			if len(args) == 2 {
				return l.print(args[0], args[1])
			}
			return l.printAll(cmd)
		},
	}
	c.Flags().StringArrayVar(&files, "zone-file", nil, "zone `FILE` in master-file format (repeatable)")
	zones.add(c.Flags())
	c.Flags().BoolVar(&secure, "dnssec", false, "ask for signatures (the DO bit)")
	c.Flags().StringVar(&from, "from", "::1", "`ADDRESS` that asks")
	c.Flags().StringVar(&subnet, "subnet", "", "`NETWORK` that a resolver asks for, as 2001:db8::/56 (EDNS client subnet, RFC 7871)")
	where.add(c.Flags())
	keys.add(c)
	return c
}

type lookup struct {
	streams
	responder *server.Responder
	buf       []byte
	secure    bool
	from      netip.Addr
	subnet    *dns.EDNS0_SUBNET // nil: none
}

// client has questions come from an address, and for a network if that is not empty.
func (l *lookup) client(from, subnet string) (err error) {
	if l.from, err = netip.ParseAddr(from); err != nil {
		return cli.Misuse("--from %q is no address (hint: 2001:db8::1 or 192.0.2.1)", from)
	}
	if subnet == "" {
		return nil
	}
	p, err := netip.ParsePrefix(subnet)
	if err != nil {
		return cli.Misuse("--subnet %q is no network (hint: 2001:db8::/56 or 192.0.2.0/24)", subnet)
	}
	l.subnet = &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 2, SourceNetmask: uint8(p.Bits()), Address: p.Masked().Addr().AsSlice()}
	if p.Addr().Is4() {
		l.subnet.Family = 1
	}
	return nil
}

// printAll answers the lines of standard input.
func (l *lookup) printAll(cmd *cobra.Command) error {
	lines := bufio.NewScanner(l.in)
	for n := 1; lines.Scan(); n++ {
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) == 0 || strings.HasPrefix(fields[0], "#"):
		case len(fields) != 2:
			return cli.Misuse("standard input:%d: %q is not NAME TYPE", n, lines.Text())
		default:
			if err := l.print(fields[0], fields[1]); err != nil {
				return fmt.Errorf("standard input:%d: %w", n, err)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading standard input: %w", err)
	}
	return nil
}

func (l *lookup) print(name, rtype string) error {
	qtype, err := parseType(rtype)
	if err != nil {
		return err
	}
	if _, ok := dns.IsDomainName(name); !ok {
		return cli.Misuse("%q is no domain name", name)
	}
	query := &dns.Msg{Question: []dns.Question{{Name: dns.Fqdn(name), Qtype: qtype, Qclass: dns.ClassINET}}}
	if l.secure || l.subnet != nil {
		query.SetEdns0(dns.MaxMsgSize, l.secure)
	}
	if l.subnet != nil {
		query.IsEdns0().Option = append(query.IsEdns0().Option, l.subnet)
	}
	wire, err := query.Pack()
	if err != nil {
		return cli.Misuse("asking for %q: %w", name, err)
	}
	var reply dns.Msg
	answer := l.responder.Respond(l.buf, wire, server.Peer{Addr: l.from, TCP: true})
	if err := reply.Unpack(answer); err != nil {
		return fmt.Errorf("reading the reply for %s %s: %w", name, rtype, err)
	}
	_, err = fmt.Fprintln(l.out, &reply)
	return err
}

func parseType(text string) (uint16, error) {
	t, ok := record.ParseType(text)
	if !ok {
		return 0, cli.Misuse("%q is no record type (hint: A, AAAA, … or TYPE65280)", text)
	}
	return t, nil
}
