// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Change is what a name is to hold from now on; no data: the name is to be gone.
type Change struct {
	Name string // absolute
	Type uint16
	Data []string
}

// Maker makes changes, and returns when whoever takes them says that they are done, or, where nobody says, when they are
// handed over.
type Maker interface {
	Make(ctx context.Context, changes []Change) error
	String() string
}

// Update makes changes by dynamic update (RFC 2136), signed where there is a key (RFC 8945).
type Update struct {
	Server netip.AddrPort
	Zone   string
	TTL    uint32
	Key    *Key
}

// Key is a TSIG key.
type Key struct{ Name, Secret, Algorithm string }

// ParseKey reads NAME:SECRET or ALGORITHM:NAME:SECRET, as nsupdate's -y does; the secret is in base64.
func ParseKey(s string) (*Key, error) {
	parts := strings.Split(s, ":")
	if len(parts) == 2 {
		parts = append([]string{"hmac-sha256"}, parts...)
	}
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" {
		return nil, errors.New("no TSIG key (hint: hmac-sha256:NAME:SECRET)")
	}
	k := &Key{Algorithm: dns.Fqdn(strings.ToLower(parts[0])), Name: dns.CanonicalName(parts[1]), Secret: parts[2]}
	switch k.Algorithm {
	case dns.HmacSHA1, dns.HmacSHA224, dns.HmacSHA256, dns.HmacSHA384, dns.HmacSHA512:
		return k, nil
	}
	return nil, fmt.Errorf("unknown TSIG algorithm %q (hint: hmac-sha256)", parts[0])
}

func (u *Update) String() string { return fmt.Sprintf("dynamic update of %s at %s", u.Zone, u.Server) }

// updates is how many changes go into one message: what fits well below 64 KiB.
const updates = 100

// Make sends the changes over TCP, and returns when the server says NOERROR.
func (u *Update) Make(ctx context.Context, changes []Change) error {
	for part := range slices.Chunk(changes, updates) {
		m := new(dns.Msg).SetUpdate(dns.Fqdn(u.Zone))
		for _, c := range part {
			m.RemoveRRset([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: c.Name, Rrtype: c.Type, Class: dns.ClassINET}}})
			for _, d := range c.Data {
				rr, err := dns.NewRR(line(c, u.TTL, d))
				if err != nil {
					return fmt.Errorf("making an update for %s: %w", c.Name, err)
				}
				m.Insert([]dns.RR{rr})
			}
		}
		client := dns.Client{Net: "tcp", Timeout: time.Minute}
		if u.Key != nil {
			m.SetTsig(u.Key.Name, u.Key.Algorithm, 300, time.Now().Unix())
			client.TsigSecret = map[string]string{u.Key.Name: u.Key.Secret}
		}
		reply, _, err := client.ExchangeContext(ctx, m, u.Server.String())
		switch {
		case err != nil:
			return fmt.Errorf("updating %s at %s: %w", u.Zone, u.Server, err)
		case reply.Rcode != dns.RcodeSuccess:
			return fmt.Errorf("updating %s at %s: the server says %s (hint: does it allow updates of the zone from here, and with this --tsig key?)",
				u.Zone, u.Server, dns.RcodeToString[reply.Rcode])
		}
	}
	return nil
}

func line(c Change, ttl uint32, data string) string {
	return fmt.Sprintf("%s %d IN %s %s", c.Name, ttl, dns.TypeToString[c.Type], data)
}

// File makes changes by a file that is written anew, whole or not at all (a rename), and by a command behind it, such as
// "kubectl apply -f" or "knotc zone-reload": what watches the file needs none.
type File struct {
	Path  string
	Zone  string
	TTL   uint32
	After string // for sh -c; empty: none
	// Render writes the file from everything that is true.
	Render func(f *File, all []Change) []byte

	state  map[string]Change
	serial uint32
}

func (f *File) String() string {
	if f.After != "" {
		return fmt.Sprintf("%s and %q", f.Path, f.After)
	}
	return f.Path
}

// Make writes the file and runs the command.
func (f *File) Make(ctx context.Context, changes []Change) error {
	if f.state == nil {
		f.state = map[string]Change{}
		// Above what an earlier run left, as long as it made fewer than one change a second (RFC 1982 orders them).
		f.serial = uint32(time.Now().Unix())
	}
	for _, c := range changes {
		f.state[c.Name] = c
	}
	f.serial++
	all := make([]Change, 0, len(f.state))
	for _, name := range slices.Sorted(maps.Keys(f.state)) {
		all = append(all, f.state[name])
	}
	if err := replace(f.Path, f.Render(f, all)); err != nil {
		return err
	}
	if f.After == "" {
		return nil
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", f.After)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running %q: %w: %s", f.After, err, bytes.TrimSpace(out))
	}
	return nil
}

// replace writes a file that readers see whole, the old one or the new one.
func replace(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// ZoneFile renders a master file (RFC 1035 §5).
func ZoneFile(f *File, all []Change) []byte {
	var b bytes.Buffer
	zone := dns.Fqdn(f.Zone)
	fmt.Fprintf(&b, "%s 3600 IN SOA ns.%[1]s hostmaster.%[1]s %d 3600 600 86400 %d\n%[1]s 3600 IN NS ns.%[1]s\nns.%[1]s 3600 IN AAAA ::1\n", zone, f.serial, f.TTL)
	for _, c := range all {
		for _, d := range c.Data {
			fmt.Fprintln(&b, line(c, f.TTL, d))
		}
	}
	return b.Bytes()
}

// DNSEndpoint renders a DNSEndpoint of external-dns (externaldns.k8s.io/v1alpha1) with an endpoint for every name.
func DNSEndpoint(f *File, all []Change) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "apiVersion: externaldns.k8s.io/v1alpha1\nkind: DNSEndpoint\nmetadata:\n  name: loadgen-accuracy\n  namespace: default\n")
	if !slices.ContainsFunc(all, func(c Change) bool { return len(c.Data) > 0 }) {
		b.WriteString("spec:\n  endpoints: []\n")
		return b.Bytes()
	}
	b.WriteString("spec:\n  endpoints:\n")
	for _, c := range all {
		if len(c.Data) == 0 {
			continue
		}
		fmt.Fprintf(&b, "  - dnsName: %s\n    recordType: %s\n    recordTTL: %d\n    targets:\n", strings.TrimSuffix(c.Name, "."), dns.TypeToString[c.Type], f.TTL)
		for _, d := range c.Data {
			fmt.Fprintf(&b, "    - %q\n", strings.Trim(d, `"`))
		}
	}
	return b.Bytes()
}
