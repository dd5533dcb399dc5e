// SPDX-License-Identifier: Apache-2.0

package power

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

type ctxt = context.Context

const login = fakeUser + "\n" + fakePassword

// others returns the overrides of all ports but one, as JSON.
func (f *fakeUniFi) others(port int) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var rest []map[string]any
	for _, o := range f.overrides {
		if o["port_idx"] != float64(port) {
			rest = append(rest, o)
		}
	}
	text, _ := json.Marshal(rest)
	return string(text)
}

func (f *fakeUniFi) override(port int) map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.overrides, func(o map[string]any) bool { return o["port_idx"] == float64(port) })
	if i < 0 {
		return nil
	}
	return f.overrides[i]
}

func (f *fakeUniFi) delivers(port int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ports[port].delivers()
}

// A node is switched off and on, and nothing else of the switch's settings changes: neither those of other ports nor the VLANs
// of its own.
func TestLegacyLeavesOtherSettingsAlone(t *testing.T) {
	for _, c := range []struct {
		name       string
		secret     string
		standalone bool
	}{{"session", login, false}, {"key", fakeKey, false}, {"network without UniFi OS", login, true}} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeUniFi(t, 20)
			f.standalone = c.standalone
			inv := f.inventory(t, inventory.DriverUniFiLegacy, c.secret, 20)
			r, _ := newRack(t, inv)
			for _, n := range inv.Nodes[:6] {
				port := n.Port.Index
				rest, mine := f.others(port), f.override(port)
				if err := r.Off(t.Context(), n.Name); err != nil {
					t.Fatal(err)
				}
				if s, err := r.State(t.Context(), n.Name); err != nil || s != Off || f.delivers(port) {
					t.Fatalf("%s is %s, %v; the port delivers: %v", n.Name, s, err, f.delivers(port))
				}
				if err := r.On(t.Context(), n.Name); err != nil {
					t.Fatal(err)
				}
				if !f.delivers(port) {
					t.Errorf("port %d delivers no power", port)
				}
				if d := cmp.Diff(rest, f.others(port)); d != "" {
					t.Errorf("settings of other ports than %d changed:\n%s", port, d)
				}
				want := map[string]any{"port_idx": float64(port), "portconf_id": "profile-default"}
				if mine != nil {
					want = mine
				}
				want["poe_mode"] = "auto"
				if d := cmp.Diff(want, f.override(port)); d != "" {
					t.Errorf("settings of port %d (-want +got):\n%s", port, d)
				}
			}
		})
	}
}

// Off for a node that is off, and on for one that is on, write nothing.
func TestLegacyWritesOnlyWhatChanges(t *testing.T) {
	f := newFakeUniFi(t, 3)
	r, _ := newRack(t, f.inventory(t, inventory.DriverUniFiLegacy, login, 3))
	for _, do := range []func(ctxt, string) error{r.On, r.Off, r.Off} {
		if err := do(t.Context(), "worker-3"); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.bodies) != 1 {
		t.Errorf("%d settings were written, want 1: %s", len(f.bodies), f.bodies)
	}
}

// Many who switch ports of one switch at the same time, in two testbeds, lose none of each other's settings.
func TestLegacyTogether(t *testing.T) {
	f := newFakeUniFi(t, 20)
	inv := f.inventory(t, inventory.DriverUniFiLegacy, login, 20)
	a, _ := newRack(t, inv)
	b, _ := newRack(t, inv)
	b.locks = a.locks
	var wg sync.WaitGroup
	for i, n := range inv.Nodes {
		r := a
		if i%2 == 1 {
			r = b
		}
		wg.Go(func() {
			if err := r.Off(t.Context(), n.Name); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, n := range inv.Nodes {
		if f.delivers(n.Port.Index) {
			t.Errorf("%s has power", n.Name)
		}
	}
	if o := f.override(2); o["native_networkconf_id"] != "vlan-42" {
		t.Errorf("port 2 lost its VLAN: %v", o)
	}
}

// Sessions that end, tokens that change, answers that ask for patience and a controller that restarts are no errors.
func TestLegacyPatience(t *testing.T) {
	for _, c := range []struct {
		name   string
		set    func(f *fakeUniFi)
		paused bool
	}{
		{"sessions end", func(f *fakeUniFi) { f.sessionLife = 4 }, false},
		{"rate limit", func(f *fakeUniFi) { f.limitEvery = 5 }, true},
		{"restart", func(f *fakeUniFi) { f.busy = 3 }, true},
		{"all at once", func(f *fakeUniFi) { f.sessionLife, f.limitEvery, f.busy = 7, 5, 2 }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeUniFi(t, 8)
			c.set(f)
			inv := f.inventory(t, inventory.DriverUniFiLegacy, login, 8)
			r, pauses := newRack(t, inv)
			rest := f.others(1)
			for range 3 {
				if err := r.Cycle(t.Context(), "worker-1"); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(rest, f.others(1)); d != "" || !f.delivers(1) {
				t.Errorf("port 1 delivers: %v; settings of others changed:\n%s", f.delivers(1), d)
			}
			if got := len(*pauses) > 0; got != c.paused {
				t.Errorf("pauses %v", *pauses)
			}
			if f.limitEvery > 0 && !slices.Contains(*pauses, 3*time.Second) {
				t.Errorf("pauses %v have not the 3 s that the controller asked for", *pauses)
			}
			if f.sessionLife == 0 && f.count != 1 {
				t.Errorf("%d sessions, want 1", f.count)
			}
			if f.sessionLife > 0 && f.count < 2 {
				t.Error("the session never ended: the fake is broken")
			}
		})
	}
}

func TestLegacyRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		secret string
		set    func(f *fakeUniFi, inv *inventory.Inventory)
		do     func(r *Rack) error
		want   string
		logins int
	}{
		{
			name: "wrong password", secret: fakeUser + "\nwrong",
			want: `logging in as "testbed": the controller refuses user and password: POST /api/auth/login: 403 Forbidden, AUTHENTICATION_FAILED_INVALID_CREDENTIALS`, logins: 1,
		},
		{
			name: "wrong password, without UniFi OS", secret: fakeUser + "\nwrong", set: func(f *fakeUniFi, _ *inventory.Inventory) { f.standalone = true },
			want: "refuses user and password: POST /api/login: 400 Bad Request, api.err.Invalid", logins: 1,
		},
		{
			name: "logins limited", secret: login, set: func(f *fakeUniFi, _ *inventory.Inventory) { f.loginLimit, f.logins = 1, 1 },
			want: "the controller takes no logins for now (hint: wait some minutes; an API key needs no login)", logins: 2,
		},
		{name: "wrong key", secret: "nonsense", want: "401 Unauthorized: Unauthorized (hint: credentials: in the inventory)"},
		{
			name: "no right", secret: login, set: func(f *fakeUniFi, _ *inventory.Inventory) { f.readOnly = true },
			want: "switching switch-1 port 1 off: PUT /api/s/default/rest/device/" + fakeDeviceID + ": 403 Forbidden, api.err.NoPermission (hint: the account needs to be an administrator of the site)",
		},
		{
			name: "no such site", secret: fakeKey, set: func(_ *fakeUniFi, inv *inventory.Inventory) { inv.Switches[0].Site = "moon" },
			want: "api.err.NoSiteContext (hint: site: in the inventory",
		},
		{
			name: "no such switch", secret: login, set: func(_ *fakeUniFi, inv *inventory.Inventory) { inv.Switches[0].MAC = mac("00:00:5e:00:53:aa") },
			want: `the controller has no device 00:00:5e:00:53:aa at site "default" (hint: mac: of switch-1 in the inventory)`,
		},
		{
			name: "switch away", secret: login, set: func(f *fakeUniFi, _ *inventory.Inventory) { f.state = 0 },
			want: "the controller has no connection to " + fakeSwitch + " (its state is 0)",
		},
		{
			name: "200 and nothing kept", secret: login, set: func(f *fakeUniFi, _ *inventory.Inventory) { f.ignore = true },
			want: `switching switch-1 port 1 off: the controller answered 200 and did not keep poe_mode "off" of port 1`,
		},
		{
			name: "kept, and the switch does nothing", secret: login, set: func(f *fakeUniFi, _ *inventory.Inventory) { f.forget = true },
			want: `switch-1 accepted "off" for port 1 and did nothing: 50ms later the port delivers 3.1 W (hint: `,
		},
		{
			name: "somebody else writes too", secret: login,
			set: func(f *fakeUniFi, _ *inventory.Inventory) {
				f.meddle = func(f *fakeUniFi) { f.overrides[0]["native_networkconf_id"] = "vlan-13" }
			},
			want: "the settings of port 2 changed while those of port 1 were written (hint: somebody else changes this switch",
		},
		{
			name: "no power in the port", secret: login, set: func(f *fakeUniFi, _ *inventory.Inventory) { f.ports[1].poe = false; f.ports[1].lldp = "" },
			do: func(r *Rack) error { return r.On(context.Background(), "worker-1") }, want: "port 1 of " + fakeSwitch + " delivers no power to anybody",
		},
		{
			name: "nobody draws", secret: login, set: func(f *fakeUniFi, _ *inventory.Inventory) { f.ports[1].draws = false; f.ports[1].mode = "off" },
			do: func(r *Rack) error { return r.On(context.Background(), "worker-1") }, want: "switch-1 port 1 is on, and worker-1 draws no power from it (hint: the cable, the PoE hat, the budget of switch-1)",
		},
		{name: "three lines", secret: "a\nb\nc", want: "want a key on one line, or user and password on two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeUniFi(t, 4)
			inv := f.inventory(t, inventory.DriverUniFiLegacy, c.secret, 4)
			if c.set != nil {
				c.set(f, inv)
			}
			r, _ := newRack(t, inv)
			r.patience = 50 * time.Millisecond
			do := c.do
			if do == nil {
				do = func(r *Rack) error { return r.Off(context.Background(), "worker-1") }
			}
			err := do(r)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			if c.logins > 0 && f.logins != c.logins {
				t.Errorf("%d logins, want %d: each counts against a limit", f.logins, c.logins)
			}
		})
	}
}

// A controller that is nobody's to trust is not given a password.
func TestUniFiWantsThePinnedCertificate(t *testing.T) {
	f, other := newFakeUniFi(t, 1), newFakeUniFi(t, 1)
	inv := f.inventory(t, inventory.DriverUniFiLegacy, login, 1)
	// Both fakes have the library's one certificate: another is wanted.
	if err := os.WriteFile(filepath.Join(filepath.Dir(inv.Path), "unifi.pem"), someCertificate(t), 0o600); err != nil {
		t.Fatal(err)
	}
	inv.Switches[0].URL = other.URL
	r, _ := newRack(t, inv)
	if err := r.Off(t.Context(), "worker-1"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error %v, want one about the certificate", err)
	}
	if other.logins != 0 {
		t.Error("a password was given away")
	}
}

// someCertificate makes one that nobody has the key of any more.
func someCertificate(t *testing.T) []byte {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"unifi"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestOfficialCycles(t *testing.T) {
	f := newFakeUniFi(t, 4)
	f.limitEvery = 4
	inv := f.inventory(t, inventory.DriverUniFi, fakeKey, 4)
	r, _ := newRack(t, inv)
	if err := r.Cycle(t.Context(), "worker-3"); err != nil {
		t.Fatal(err)
	}
	if !f.delivers(3) || f.limited == 0 {
		t.Errorf("port 3 delivers: %v; limited %d times", f.delivers(3), f.limited)
	}
	for node, want := range map[string]State{"worker-3": On} {
		if s, err := r.State(t.Context(), node); err != nil || s != want {
			t.Errorf("%s is %s, %v, want %s", node, s, err, want)
		}
	}
	if err := r.On(t.Context(), "worker-3"); err != nil {
		t.Errorf("on where it is on: %v", err)
	}
	if err := r.Off(t.Context(), "worker-3"); !errors.Is(err, errHold) {
		t.Errorf("off: %v, want %v", err, errHold)
	}
	if !f.delivers(3) {
		t.Error("the refused order took the power away")
	}
	if watts, err := r.Watts(t.Context()); err != nil || len(watts) != 0 {
		t.Errorf("watts %v, %v: this interface tells none", watts, err)
	}
}

func TestOfficialRefusals(t *testing.T) {
	for _, c := range []struct {
		name string
		key  string
		set  func(f *fakeUniFi, inv *inventory.Inventory)
		want string
	}{
		{"wrong key", "wrong", nil, "401 Unauthorized, api.authentication.missing-credentials: Missing credentials (hint: credentials: in the inventory)"},
		{"two words", "two words", nil, "the official API wants one word, its key"},
		{"no site", fakeKey, func(_ *fakeUniFi, inv *inventory.Inventory) { inv.Switches[0].Site = "moon" }, `the controller has no site "moon" (hint: known: lab, home, default)`},
		{"no switch", fakeKey, func(_ *fakeUniFi, inv *inventory.Inventory) { inv.Switches[0].MAC = mac("00:00:5e:00:53:aa") }, "the controller has no device 00:00:5e:00:53:aa"},
		{"away", fakeKey, func(f *fakeUniFi, _ *inventory.Inventory) { f.state = 0 }, "(it is OFFLINE)"},
		{"no power there", fakeKey, func(f *fakeUniFi, _ *inventory.Inventory) { f.ports[1].draws = false }, "400 Bad Request, api.err.InvalidTargetPort: Port delivers no power (hint: a controller cycles only ports that deliver power)"},
		{"200 and nothing", fakeKey, func(f *fakeUniFi, _ *inventory.Inventory) { f.ignore = true }, `switch-1 accepted "cycle" for port 1 and did nothing: 50ms later the port delivers power`},
		{"limited for long", fakeKey, func(f *fakeUniFi, _ *inventory.Inventory) { f.limitEvery = 1 }, "429 Too Many Requests, RATE_LIMITED: Too many requests (hint: the controller wants to be asked less often"},
		{"denied", fakeKey, func(_ *fakeUniFi, inv *inventory.Inventory) { inv.Switches[0].Deny = []int{1} }, "refusing to switch switch-1 port 1 for worker-1: it is denied in the inventory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeUniFi(t, 2)
			inv := f.inventory(t, inventory.DriverUniFi, c.key, 2)
			if c.set != nil {
				c.set(f, inv)
			}
			r, _ := newRack(t, inv)
			r.patience = 50 * time.Millisecond
			if err := r.Cycle(t.Context(), "worker-1"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// The session is given back: controllers keep few.
func TestUniFiLogsOut(t *testing.T) {
	f := newFakeUniFi(t, 1)
	r, _ := newRack(t, f.inventory(t, inventory.DriverUniFiLegacy, login, 1))
	if _, err := r.State(t.Context(), "worker-1"); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if len(f.sessions) != 0 {
		t.Errorf("%d sessions are left", len(f.sessions))
	}
}
