// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/fanout"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/user"
	"github.com/dnsingress/dnsingress/internal/cli"
)

const fanoutLong = `fanout has one source publish objects on a track, and many subscribers get each of them, over
long-lived QUIC sessions through the relay at URL (see 'loadgen relay'): media over QUIC in small.

--rate is objects a second, --clients the subscribers, each with its own socket, DNS cache and
choice of address. A delivery to a subscriber is a request here, and counted from the instant at
which its object was due; one that does not come within --timeout of the last is "lost". A session
that ends is begun anew after --again, with a lookup if the TTL is over; with --stay subscribers
come and go. URL is https://HOST[:PORT]/TRACK; without PORT it is 443.

With --clients 0 only the source runs, with --no-source only subscribers: then other processes have
the rest, clocks have to agree, and an object that no subscriber here got is not known to be lost.

` + outputLong

// fanoutFlags are the flags of "loadgen fanout" as given.
type fanoutFlags struct {
	loadFlags
	resolverFlags

	subscribers int
	noSource    bool
	size        int
	delivery    string
	stay        time.Duration
	again       time.Duration
	idle        time.Duration
	insecure    bool
	ca          string
}

func fanoutCommand(stdout, stderr io.Writer) *cobra.Command {
	var f fanoutFlags
	c := &cobra.Command{
		Use:   "fanout URL",
		Short: "Publish to many subscribers over QUIC",
		Long:  fanoutLong,
		Example: `  loadgen relay --listen [::1]:4433
  loadgen fanout https://[::1]:4433/live --insecure --clients 200 --rate 50 --duration 15s
  loadgen fanout https://relay.apps.test/live --delivery streams --size 20000 --stay 30s`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			quietQUIC()
			h, traits, err := f.habits(args[0])
			if err != nil {
				return &cli.MisuseError{Err: err}
			}
			j, err := f.job(cmd.Context(), h, traits)
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), j, stdout, stderr)
		},
	}
	fs := c.Flags()
	f.registerLoad(fs)
	fs.IntVar(&f.subscribers, "clients", 100, "subscribers, each with its own session and DNS cache")
	fs.BoolVar(&f.noSource, "no-source", false, "subscribe to what another process publishes")
	fs.IntVar(&f.size, "size", 1000, "bytes of an object (datagrams: what a packet holds, about 1200)")
	fs.StringVar(&f.delivery, "delivery", "datagrams", "datagrams, streams (one an object), or stream (one for all)")
	fs.DurationVar(&f.stay, "stay", 0, "how long a subscriber stays before it leaves and comes again (0: to the end)")
	fs.DurationVar(&f.again, "again", 100*time.Millisecond, "between the end of a subscriber's session and its next")
	fs.DurationVar(&f.idle, "idle", 5*time.Second, "after which a relay that says nothing is gone")
	fs.BoolVar(&f.insecure, "insecure", false, "accept any certificate")
	fs.StringVar(&f.ca, "ca", "", "PEM file with the authorities to trust (default: the system's)")
	f.resolverFlags.register(fs)
	f.registerOutput(fs)
	return c
}

// habits checks the flags and returns what they mean, or every error at once.
func (f *fanoutFlags) habits(url string) (*user.Habits, user.Traits, error) {
	var p problems
	f.checkLoad(&p)
	p.check(f.subscribers >= 0 && f.subscribers <= 1e6, "--clients must be 0 to 1000000")
	p.check(f.subscribers > 0 || !f.noSource, "--clients 0 and --no-source leave nothing to do")
	p.check(f.size >= fanout.MinObject && f.size <= fanout.MaxObject, "--size must be %d to %d", fanout.MinObject, fanout.MaxObject)
	p.check(f.stay >= 0 && f.again > 0 && f.idle > 0, "--again and --idle must be positive, and --stay not negative")
	_, err := fanout.ParseDelivery(f.delivery)
	p.note("--delivery", err)
	h := &user.Habits{Client: f.client, Timeout: f.timeout, Attempts: 1, Protocol: user.HTTP3}
	traits := f.resolverFlags.read(&p, h)
	if h.Target, err = user.NewTarget(user.Request{URL: url}); err != nil {
		p = append(p, err)
	} else {
		p.check(h.Target.TLS, "%q: QUIC is always encrypted (hint: https://%s)", url, strings.TrimPrefix(url, "http://"))
		p.check(trackOf(url) != "", "%q names no track (hint: %s/live)", url, strings.TrimSuffix(url, "/"))
	}
	roots, err := authorities(f.ca)
	p.note("--ca", err)
	if len(p) > 0 {
		return nil, traits, errors.Join(p...)
	}
	h.TLS = &tls.Config{ServerName: h.Target.Name, InsecureSkipVerify: f.insecure, RootCAs: roots}
	return h, traits, f.resolverFlags.finish(h, f.timeout)
}

// trackOf returns the path of a URL without its first slash; "" when it is no single word.
func trackOf(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	_, path, _ := strings.Cut(rest, "/")
	if strings.ContainsAny(path, " \t\r\n") || len(path) > 128 {
		return ""
	}
	return path
}

// job begins the sessions and returns what is to be done with them.
func (f *fanoutFlags) job(ctx context.Context, h *user.Habits, traits user.Traits) (job, error) {
	users, err := user.NewPopulation(f.subscribers+1, h, traits, f.seeded("users").Uint64())
	if err != nil {
		return job{}, &cli.MisuseError{Err: err}
	}
	source := users[f.subscribers]
	if f.noSource {
		source = nil
	}
	delivery := fanout.Delivery(f.delivery)
	party, err := fanout.Join(ctx, fanout.Settings{
		Client: f.client, Track: trackOf(h.Target.URL), Delivery: delivery, Size: f.size,
		Timeout: f.timeout, Idle: f.idle, Again: f.again, Stay: f.stay,
	}, source, users[:f.subscribers])
	if err != nil {
		return job{}, err
	}
	return job{
		title:    fmt.Sprintf("%s of %d bytes from one source to %d subscribers of %s", delivery, f.size, f.subscribers, h.Target.URL),
		attempts: 1,
		users:    1,
		weight:   float64(f.subscribers + 1),
		flow:     party.Flow,
		settle:   party.Settle,
		close:    party.Leave,
	}, nil
}
