// SPDX-License-Identifier: Apache-2.0

// Command churn is a primary name server for measurements: it serves a zone file whose addresses change so many
// times a second, tells secondaries, and gives them the differences. From SIGUSR1 to SIGUSR2 it works on the changes as
// ever and keeps them to itself: what secondaries do then, they would do without changes beside the same other work.
package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/server"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zonefile"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/miekg/dns"
	"github.com/spf13/cobra"
)

func main() { os.Exit(cli.Main(command)) }

func command(_ io.Reader, stdout, stderr io.Writer) *cobra.Command {
	var file, listen string
	var notify []string
	var rate int
	var every time.Duration
	c := &cobra.Command{
		Use:   "churn --zone-file FILE --listen ADDRESS --rate N",
		Short: "Serve a zone that changes, to secondaries",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := cli.Logger(stderr, "info")
			if err != nil {
				return err
			}
			if file == "" || listen == "" || rate < 0 || every <= 0 {
				return cli.Misuse("churn needs --zone-file and --listen, --rate 0 at least, and --every above 0")
			}
			policy := transfer.Policy{Allow: transfer.Access{{Prefix: netip.MustParsePrefix("::/0")}, {Prefix: netip.MustParsePrefix("0.0.0.0/0")}}}
			for _, text := range notify {
				var r transfer.Remote
				if err := r.UnmarshalText([]byte(text)); err != nil {
					return cli.Misuse("--notify: %w", err)
				}
				policy.Notify = append(policy.Notify, r)
			}
			z, _, err := zonefile.Load(file, "")
			if err != nil {
				return err
			}
			catalog := new(zone.Catalog)
			catalog.Publish(z)
			service, err := transfer.New(transfer.Options{Catalog: catalog, Default: policy, Log: log})
			if err != nil {
				return err
			}
			dns := server.New(server.Config{Listen: []string{listen}, Catalog: catalog, Transfer: service, Log: log})
			ctx, stop := context.WithCancelCause(cmd.Context())
			defer stop(nil)
			var all sync.WaitGroup
			for _, part := range []func(context.Context) error{
				dns.Run, service.Run,
				func(ctx context.Context) error { return churn(ctx, catalog, z, rate, every, stdout) },
			} {
				all.Go(func() { stop(part(ctx)) })
			}
			all.Wait()
			if cmd.Context().Err() != nil {
				return nil
			}
			return context.Cause(ctx)
		},
	}
	c.Flags().StringVar(&file, "zone-file", "", "zone `FILE`")
	c.Flags().StringVar(&listen, "listen", "", "`ADDRESS` with port")
	c.Flags().StringArrayVar(&notify, "notify", nil, "`ADDRESS` to be told of changes (repeatable)")
	c.Flags().IntVar(&rate, "rate", 1000, "names that change a second")
	c.Flags().DurationVar(&every, "every", 100*time.Millisecond, "time between two serials")
	return c
}

// churn gives names that have one IPv6 address another, and says on stdout, once a second, the serial and how many
// changes there were.
func churn(ctx context.Context, catalog *zone.Catalog, z *zone.Zone, rate int, every time.Duration, stdout io.Writer) error {
	var names []string
	for owner, sets := range z.All() {
		if len(sets) == 1 && sets[0].Type == dns.TypeAAAA && len(sets[0].Records) == 1 {
			names = append(names, owner)
		}
	}
	if len(names) == 0 {
		return cli.Misuse("the zone has no name with one AAAA record alone")
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	begin, said, done, held := time.Now(), time.Now(), 0, false
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-signals:
			held = s == syscall.SIGUSR1
		case <-tick.C:
		}
		var changes []zone.Change
		for due := int(time.Since(begin).Seconds() * float64(rate)); done < due; done++ {
			a := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0D, 0xB8, 8: byte(done >> 24), byte(done >> 16), byte(done >> 8), byte(done)})
			name := names[rand.IntN(len(names))]
			changes = append(changes, zone.Change{Owner: name, RRsets: []zone.RRset{{Type: dns.TypeAAAA, TTL: 30, Records: []dns.RR{
				&dns.AAAA{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeAAAA, Class: dns.ClassINET}, AAAA: a.AsSlice()},
			}}}})
		}
		if len(changes) == 0 {
			continue
		}
		next, err := z.With(changes...)
		if err != nil {
			return err
		}
		if z = next; held {
			continue
		}
		catalog.Publish(z)
		if time.Since(said) >= time.Second {
			said = time.Now()
			fmt.Fprintf(stdout, "serial %d after %d changes\n", z.Serial(), done)
		}
	}
}
