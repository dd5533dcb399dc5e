// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/handover"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/pool"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/registration"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
)

// delegations are the parts that keep parents and children in agreement.
type delegations struct {
	engine   *pool.Engine
	registry *registration.Registry // nil: nobody may register anything
	leaf     *registration.Leaf
	comparer *registration.Comparer
}

// newDelegations makes them, and has the transfers hand over what leaves register.
func newDelegations(c *config.Config, engine *pool.Engine, catalog *zone.Catalog, signing *signing, transfers *transfer.Options, registry prometheus.Registerer, log *slog.Logger) (*delegations, error) {
	d := &delegations{engine: engine}
	if policies := c.RegistrationPolicies(); len(policies) > 0 {
		var err error
		d.registry, err = registration.New(registration.Options{
			Zones: policies, Sink: engine.Apply, Serves: func(origin string) bool { return catalog.Zone(origin) != nil }, Static: engine.Delegates, Refers: engine.Refers,
			State: c.State, Replaced: handover.ErrReplaced, Registerer: registry, Log: log,
		})
		if err != nil {
			return nil, err
		}
		waiting, _ := d.registry.Waiting()
		engine.Wait(waiting)
		transfers.Updater = d.registry
	}
	metrics, err := registration.NewMetrics(registry)
	if err != nil {
		return nil, err
	}
	d.leaf, err = registration.NewLeaf(registration.LeafOptions{
		Sections: c.RegisterSections(), Keys: c.Keys, Publisher: publisher{engine}, DS: signing.digests, Replaced: handover.ErrReplaced, Metrics: metrics, Log: log,
	})
	if err != nil {
		return nil, err
	}
	engine.ConnectZones(d.leaf.Changed)
	d.comparer = registration.NewComparer(registration.ComparerOptions{
		Delegations: d.published, Remark: engine.RemarkChild, Interval: *c.Delegations.Compare, Port: uint16(c.Delegations.Port), Metrics: metrics, Log: log,
	})
	return d, nil
}

// publisher is the control loop as leaves know it.
type publisher struct{ *pool.Engine }

// Served implements registration.Publisher.
func (p publisher) Served() []registration.Zone {
	served := p.Engine.Served()
	out := make([]registration.Zone, len(served))
	for i, z := range served {
		out[i] = registration.Zone(z)
	}
	return out
}

// published are the delegations of objects.
func (d *delegations) published() []registration.Delegation {
	all := d.engine.Delegated()
	out := make([]registration.Delegation, len(all))
	for i, x := range all {
		out[i] = registration.Delegation(x)
	}
	return out
}

// run keeps what is registered, and has zones that wait for leaves shown when these have had the time.
func (d *delegations) run(ctx context.Context) error {
	if d.registry == nil {
		return nil
	}
	go func() {
		_, settled := d.registry.Waiting()
		select {
		case <-ctx.Done():
		case <-settled:
			d.engine.Settled()
		}
	}()
	return d.registry.Run(ctx)
}

// register registers our zones once there are any to answer for, until ctx ends.
func (d *delegations) register(ctx context.Context, answering <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return nil
	case <-d.engine.Ready():
	}
	select {
	case <-ctx.Done():
		return nil
	case <-answering:
	}
	return d.leaf.Run(ctx)
}

// list is what the admin address tells of all that.
func (d *delegations) list() any {
	x := registration.Listing{Leases: []registration.Lease{}, Left: []registration.Gone{}, Refusals: []registration.Refusal{}, Uppers: d.leaf.Uppers(), Compared: d.comparer.List()}
	if d.registry != nil {
		x.Leases, x.Left, x.Refusals = d.registry.Leases()
	}
	return x
}

// brief is what the page shows of all that.
func (d *delegations) brief() any {
	compared := d.comparer.List()
	x := registration.Brief{Nameservers: []registration.Registered{}, Refusals: []registration.Refusal{}, Uppers: d.leaf.Uppers(), Compared: len(compared)}
	x.Troubled = slices.DeleteFunc(compared, func(c registration.Compared) bool { return len(c.Problems) == 0 })
	if d.registry != nil {
		x.Nameservers, x.Left, x.Refusals = d.registry.Nameservers()
	}
	return x
}

// digests are the DS data of a zone's keys.
func (s *signing) digests(origin string) (out []string) {
	for _, k := range s.keys[origin] {
		if k.SignsKeys() {
			ds := k.DS(0)
			out = append(out, fmt.Sprintf("%d %d %d %s", ds.KeyTag, ds.Algorithm, ds.DigestType, strings.ToUpper(ds.Digest)))
		}
	}
	return out
}

func registrationsCommand(s streams) *cobra.Command {
	return listCommand(s, &cobra.Command{
		Use:   "registrations",
		Short: "Say who has registered what, with which uppers our zones are registered, and what parents and children disagree on",
		Long: `Say which name servers leaves have registered for which children and until when, who has
left and how long caches may hold them, what was refused and why; with which uppers our own
zones are registered; and what comparisons of parents with their children have found.

The same as JSON is at /registrations of the admin address.`,
		Example: `  dnsingress registrations --admin http://[fd6e:7369:0:1::11]:9153
  dnsingress registrations -o json`,
	}, "registrations", printRegistrations)
}

func printRegistrations(w io.Writer, x registration.Listing, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	seconds := func(s float64) string { return time.Duration(s * float64(time.Second)).Round(time.Second).String() }
	fmt.Fprintln(t, "ZONE\tCHILD\tNAMESERVER\tADDRESSES\tDS\tKEY\tSTATE\tLEASE\tLEFT\tFOR")
	for _, l := range x.Leases {
		var addresses []string
		for _, a := range l.Addresses {
			addresses = append(addresses, a.String())
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", l.Zone, l.Child, l.Nameserver, orDash(strings.Join(addresses, ",")), len(l.DS), l.Key, l.State,
			seconds(l.Seconds), seconds(l.Left), now.Sub(l.Since).Round(time.Second))
	}
	if len(x.Left) > 0 {
		fmt.Fprintln(t, "\nZONE\tCHILD\tLEFT\tAGO\tCACHES MAY HOLD IT FOR")
		for _, g := range x.Left {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", g.Zone, g.Child, g.Nameserver, now.Sub(g.At).Round(time.Second), g.Held.Sub(now).Round(time.Second))
		}
	}
	if len(x.Refusals) > 0 {
		fmt.Fprintln(t, "\nZONE\tKEY\tREFUSED\tTIMES\tFROM\tLAST\tWHY")
		for _, r := range x.Refusals {
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", orDash(r.Zone), orDash(r.Key), r.Reason, r.Count, r.From, now.Sub(r.Last).Round(time.Second), r.Why)
		}
	}
	if len(x.Uppers) > 0 {
		fmt.Fprintln(t, "\nUPPER'S ZONE\tUPPER\tREGISTERED AS\tZONES\tRENEWED\tTROUBLE")
		for _, u := range x.Uppers {
			renewed := "-"
			if u.Renewed != nil {
				renewed = now.Sub(*u.Renewed).Round(time.Second).String() + " ago"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\n", u.Zone, u.Upper, orDash(u.Nameserver), u.Zones, renewed, orDash(u.Trouble))
		}
	}
	if len(x.Compared) > 0 {
		fmt.Fprintln(t, "\nZONE\tCHILD\tDELEGATED BY\tCHILD SAYS\tAGO\tPROBLEMS")
		for _, c := range x.Compared {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Zone, c.Child, c.Object, c.Result, now.Sub(c.At).Round(time.Second), orDash(strings.Join(c.Problems, "; ")))
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}
