// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
)

// transferFlags are the flags of serve for zones that other servers have or want.
type transferFlags struct {
	secondaries, allow, notify, keys []string
	state                            string
	signed                           bool
}

func (f *transferFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.secondaries, "secondary", nil, "`ZONE=PRIMARY[,PRIMARY]`: keep a zone what its primaries have; a primary is ADDRESS or ADDRESS+key:NAME (repeatable)")
	flags.StringArrayVar(&f.allow, "allow-transfer", nil, "`WHO` may have the zones: PREFIX, key:NAME or PREFIX+key:NAME (repeatable; default: nobody)")
	flags.BoolVar(&f.signed, "transfer-signed", false, "give zones that are signed here with their signatures and NSEC records, for secondaries that have no keys; always whole")
	flags.StringArrayVar(&f.notify, "notify", nil, "`ADDRESS` or ADDRESS+key:NAME to be told when a zone changes (repeatable)")
	flags.StringArrayVar(&f.keys, "tsig-key", nil, "`FILE` with TSIG keys, as in BIND: key \"NAME\" { algorithm hmac-sha256; secret \"BASE64\"; }; or lines NAME:ALGORITHM:BASE64 (repeatable)")
	flags.StringVar(&f.state, "state", "", "`DIRECTORY` to keep secondary zones in, for the next start (default: none)")
}

// options gives what the flags say, with every mistake in them.
func (f *transferFlags) options() (transfer.Options, error) {
	o := transfer.Options{State: f.state, Signed: f.signed, Keys: transfer.Keys{}}
	var wrong []string
	read := func(flag, text string, into encoding.TextUnmarshaler) {
		if err := into.UnmarshalText([]byte(text)); err != nil {
			wrong = append(wrong, fmt.Sprintf("--%s %q: %v", flag, text, err))
		}
	}
	for _, path := range f.keys {
		if err := o.Keys.Load(path); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	for _, text := range f.allow {
		o.Default.Allow = append(o.Default.Allow, transfer.Grant{})
		read("allow-transfer", text, &o.Default.Allow[len(o.Default.Allow)-1])
	}
	for _, text := range f.notify {
		o.Default.Notify = append(o.Default.Notify, transfer.Remote{})
		read("notify", text, &o.Default.Notify[len(o.Default.Notify)-1])
	}
	for _, text := range f.secondaries {
		origin, primaries, ok := strings.Cut(text, "=")
		if !ok {
			wrong = append(wrong, "--secondary "+text+": there is no = (hint: --secondary example.org=192.0.2.1,[2001:db8::1]:53+key:NAME)")
			continue
		}
		c := transfer.Secondary{Origin: origin}
		for _, p := range strings.Split(primaries, ",") {
			c.Primaries = append(c.Primaries, transfer.Remote{})
			read("secondary", p, &c.Primaries[len(c.Primaries)-1])
		}
		o.Secondaries = append(o.Secondaries, c)
	}
	if f.state != "" {
		if info, err := os.Stat(f.state); err != nil {
			wrong = append(wrong, "--state: "+err.Error())
		} else if !info.IsDir() {
			wrong = append(wrong, "--state: "+f.state+" is no directory")
		}
	}
	if len(wrong) > 0 {
		return o, cli.Misuse("%s", strings.Join(wrong, "\n"))
	}
	return o, nil
}

// origins are the zones that come from primaries.
func (f *transferFlags) origins() []string {
	var origins []string
	for _, text := range f.secondaries {
		origin, _, _ := strings.Cut(text, "=")
		origins = append(origins, dns.Fqdn(origin))
	}
	return origins
}

// newTransfers makes the transfers that the flags ask for.
func newTransfers(o transfer.Options, catalog *zone.Catalog, signing *signing, registry prometheus.Registerer, log *slog.Logger) (*transfer.Service, error) {
	o.Catalog, o.Registerer, o.Log, o.Sign = catalog, registry, log, signing.sign
	s, err := transfer.New(o)
	if err != nil {
		return nil, cli.Misuse("%w", err)
	}
	return s, nil
}
