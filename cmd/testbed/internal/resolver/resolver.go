// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// None is the level of the factor "resolver" of clients that ask a leaf themselves.
const None = "none"

// Behaviours. All but the first make a resolver treat TTLs otherwise than their zone asks.
const (
	Compliant    = "compliant"
	MinTTL       = "min-ttl-300"   // shorter TTLs are stretched to 300 s, or as far as the program goes
	ServeExpired = "serve-expired" // answers whose TTL is over are given (RFC 8767)
	Prefetch     = "prefetch"      // popular records are asked for anew before their TTL is over
	MaxTTL       = "max-ttl-30"    // longer TTLs are cut to 30 s
)

// Behaviours lists the levels of the factor "behaviour".
func Behaviours() []string { return []string{Compliant, MinTTL, ServeExpired, Prefetch, MaxTTL} }

// Where a client node has its resolver.
const (
	Dir  = "/etc/testbed/resolver" // its configuration, and the script that runs it
	Run  = "/run/testbed/resolver" // what it writes; empty at each start, so that each start is cold
	Unit = "testbed-resolver.service"
)

// program is one of the four.
type program struct {
	name     string
	template string // in deploy/resolvers/
	file     string // what the template becomes in Dir
	line     string // runs it in the foreground
	version  string // shell line that prints its version
}

func programs() []program {
	return []program{
		{"unbound", "unbound.conf.tmpl", "unbound.conf", "unbound -d -p -c " + Dir + "/unbound.conf", `unbound -V | sed -n 's/^Version //p'`},
		{"bind", "bind.conf.tmpl", "bind.conf", "named -6 -g -c " + Dir + "/bind.conf", `named -v | cut -d' ' -f2`},
		{"pdns", "pdns.conf.tmpl", "recursor.conf", "pdns_recursor --config-dir=" + Dir, `pdns_recursor --version 2>&1 | sed -n 's/.*PowerDNS Recursor \([0-9.]*\).*/\1/p' | head -n 1`},
		{"knot", "knot.conf.tmpl", "knot.conf", "kresd --noninteractive --quiet --config=" + Dir + "/knot.conf " + Run, `kresd --version | sed -n 's/.*version //p'`},
	}
}

// Resolvers lists the levels of the factor "resolver".
func Resolvers() []string {
	var names []string
	for _, p := range programs() {
		names = append(names, p.name)
	}
	return append(names, None)
}

// Versions maps each program to the shell line that prints its version.
func Versions() map[string]string {
	lines := map[string]string{}
	for _, p := range programs() {
		lines[p.name] = p.version
	}
	return lines
}

// Form is a resolver in one of its behaviours. The zero Behaviour of None is Compliant.
type Form struct{ Resolver, Behaviour string }

// String is e.g. knot-prefetch, and none.
func (f Form) String() string {
	if f.Resolver == None {
		return None
	}
	return f.Resolver + "-" + f.Behaviour
}

// Difference says in what the form is not what its name promises; empty for nothing.
func (f Form) Difference() string {
	switch f {
	case Form{"bind", MinTTL}:
		return "BIND takes no min-cache-ttl above 90 s: its minimum is 90 s instead of 300 s"
	case Form{"pdns", ServeExpired}, Form{"knot", ServeExpired}:
		return "what is over is given only while no server answers"
	}
	return ""
}

// unit is started by the experiment, and takes the place of the resolver that the cluster has otherwise.
const unit = `[Unit]
Description=The resolver that the scenario chose
Conflicts=unbound.service
After=unbound.service
StartLimitIntervalSec=0

[Service]
ExecStartPre=/bin/sh -c 'rm -rf ` + Run + ` && mkdir -p ` + Run + `'
ExecStart=/bin/sh ` + Dir + `/run
TimeoutStopSec=5
KillMode=mixed
`

// Files returns what a client node needs to run the form, by path: its configuration out of the templates in
// deploy/resolvers/ of the repository, the root's address, a script and a unit. Form None needs nothing.
func (f Form) Files(repo string, root netip.Addr) (map[string]string, error) {
	for _, p := range programs() {
		if p.name != f.Resolver {
			continue
		}
		text, err := p.render(repo, f.Behaviour)
		if err != nil {
			return nil, fmt.Errorf("rendering the configuration of %s: %w", f, err)
		}
		return map[string]string{
			Dir + "/" + p.file:            text,
			Dir + "/root.hints":           fmt.Sprintf(". 3600000 NS ns.root.\nns.root. 3600000 AAAA %s\n", root),
			Dir + "/run":                  "exec " + p.line + "\n",
			"/etc/systemd/system/" + Unit: unit,
		}, nil
	}
	return nil, nil
}

func (p program) render(repo, behaviour string) (string, error) {
	src, err := os.ReadFile(filepath.Join(repo, "deploy", "resolvers", p.template))
	if err != nil {
		return "", err
	}
	t, err := template.New(p.template).Parse(string(src))
	if err != nil {
		return "", err
	}
	var text strings.Builder
	err = t.Execute(&text, struct{ Behaviour, Dir, Run string }{behaviour, Dir, Run})
	return text.String(), err
}
