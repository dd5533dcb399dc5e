// SPDX-License-Identifier: Apache-2.0

package power

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// legacy is a switch by way of the interface that UniFi Network's own pages use. It has no documentation of its maker's; what
// is relied on is written down in docs/testbed/power.md.
type legacy struct {
	*controller
	settings inventory.Switch
}

// unifiDevice is one of the controller's devices, as far as it is read.
type unifiDevice struct {
	ID        string                       `json:"_id"`
	MAC       string                       `json:"mac"`
	Adopted   bool                         `json:"adopted"`
	State     int                          `json:"state"`
	Overrides []map[string]json.RawMessage `json:"port_overrides"` // of the ports that are not as their profile has them
	Ports     []unifiPort                  `json:"port_table"`
	LLDP      []struct {
		Chassis string `json:"chassis_id"`
		Port    int    `json:"local_port_idx"`
	} `json:"lldp_table"`
}

type unifiPort struct {
	Index   int    `json:"port_idx"`
	Up      bool   `json:"up"`
	Uplink  bool   `json:"is_uplink"`
	PoE     bool   `json:"port_poe"`   // whether it can deliver power
	Mode    string `json:"poe_mode"`   // what it is set to: off, auto, pasv24, …
	Enable  bool   `json:"poe_enable"` // whether it delivers power now
	Power   number `json:"poe_power"`  // watts
	Class   string `json:"poe_class"`
	Profile string `json:"portconf_id"`
}

// number is one that controllers write as a text, or as a number.
type number float64

func (n *number) UnmarshalJSON(data []byte) error {
	text := strings.Trim(string(data), `"`)
	if text == "" || text == "null" {
		*n = 0
		return nil
	}
	f, err := strconv.ParseFloat(text, 64)
	*n = number(f)
	return err
}

// States of a device in which it takes settings: connected, and being given others.
const (
	stateConnected    = 1
	stateProvisioning = 5
)

func (l *legacy) path(rest string) string { return "/api/s/" + url.PathEscape(l.settings.Site) + rest }

// call sends a request and takes the data out of the answer.
func (l *legacy) call(ctx context.Context, method, path string, body, data any) error {
	a, err := l.do(ctx, method, l.path(path), body)
	if err != nil {
		return err
	}
	raw, err := envelope(method, l.path(path), a)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, data); err != nil {
		return fmt.Errorf("reading the controller's answer to %s %s: %w", method, path, err)
	}
	return nil
}

// devices returns the switch, and the addresses of all devices of the site.
func (l *legacy) devices(ctx context.Context) (unifiDevice, map[inventory.MAC]bool, error) {
	var all []unifiDevice
	if err := l.call(ctx, http.MethodGet, "/stat/device", nil, &all); err != nil {
		return unifiDevice{}, nil, err
	}
	known := make(map[inventory.MAC]bool)
	found := -1
	for i, d := range all {
		var mac inventory.MAC
		if mac.UnmarshalText([]byte(d.MAC)) != nil {
			continue
		}
		known[mac] = true
		if mac == l.settings.MAC {
			found = i
		}
	}
	if found < 0 {
		return unifiDevice{}, nil, fmt.Errorf("the controller has no device %s at site %q (hint: mac: of %s in the inventory)", l.settings.MAC, l.settings.Site, l.settings.Name)
	}
	d := all[found]
	if d.State != stateConnected && d.State != stateProvisioning {
		return d, known, fmt.Errorf("the controller has no connection to %s (its state is %d)", l.settings.MAC, d.State)
	}
	return d, known, nil
}

// Ports reads the switch's own table, its LLDP table and the controller's table of clients.
func (l *legacy) Ports(ctx context.Context) ([]Port, error) {
	d, known, err := l.devices(ctx)
	if err != nil {
		return nil, err
	}
	var clients []struct {
		MAC    string `json:"mac"`
		Wired  bool   `json:"is_wired"`
		Switch string `json:"sw_mac"`
		Port   int    `json:"sw_port"`
	}
	if err := l.call(ctx, http.MethodGet, "/stat/sta", nil, &clients); err != nil {
		return nil, err
	}
	ports := make([]Port, 0, len(d.Ports))
	for _, p := range d.Ports {
		port := Port{Index: p.Index, Link: p.Up, Uplink: p.Uplink, Enabled: p.PoE && p.Mode != "off", Power: Off, Class: p.Class}
		if p.Enable {
			port.Power = On
		}
		if p.PoE {
			watts := float64(p.Power)
			port.Watts = &watts
		}
		ports = append(ports, port)
	}
	see := func(index int, text string) {
		var mac inventory.MAC
		i := slices.IndexFunc(ports, func(p Port) bool { return p.Index == index })
		if i < 0 || mac.UnmarshalText([]byte(text)) != nil || mac.IsZero() {
			return // an empty port shows an address of zeros
		}
		p := &ports[i]
		if !slices.Contains(p.Neighbours, mac) {
			p.Neighbours = append(p.Neighbours, mac)
		}
		if known[mac] && p.Device.IsZero() {
			p.Device = mac
		}
	}
	for _, n := range d.LLDP {
		see(n.Port, n.Chassis)
	}
	for _, c := range clients {
		var at inventory.MAC
		if c.Wired && at.UnmarshalText([]byte(c.Switch)) == nil && at == l.settings.MAC {
			see(c.Port, c.MAC)
		}
	}
	return ports, nil
}

// Set changes one port in the list of settings of all ports, and looks whether the controller kept it. The list is written
// whole: what it lacks would fall back to the controller's defaults, VLANs included.
func (l *legacy) Set(ctx context.Context, port int, on bool) error {
	before, _, err := l.devices(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(before.Ports, func(p unifiPort) bool { return p.Index == port })
	if i < 0 {
		return fmt.Errorf("%s has no port %d", l.settings.MAC, port)
	}
	if !before.Ports[i].PoE {
		return fmt.Errorf("port %d of %s delivers no power to anybody", port, l.settings.MAC)
	}
	mode := "off"
	if on {
		mode = "auto"
	}
	wanted, changed := override(before.Overrides, port, mode, before.Ports[i].Profile)
	if !changed {
		return nil
	}
	var written []json.RawMessage
	if err := l.call(ctx, http.MethodPut, "/rest/device/"+url.PathEscape(before.ID), map[string]any{"port_overrides": wanted}, &written); err != nil {
		return err
	}
	after, _, err := l.devices(ctx)
	if err != nil {
		return fmt.Errorf("looking whether the controller kept the setting: %w", err)
	}
	return compare(wanted, after.Overrides, port, mode)
}

// override returns the settings with a port's power set to mode, and whether that changes anything. All other ports, and all
// else of this port, stay as they are.
func override(list []map[string]json.RawMessage, port int, mode, profile string) (wanted []map[string]json.RawMessage, changed bool) {
	text, _ := json.Marshal(mode)
	found := false
	for _, entry := range list {
		if index(entry) != port {
			wanted = append(wanted, entry)
			continue
		}
		found = true
		changed = !bytes.Equal(bytes.TrimSpace(entry["poe_mode"]), text)
		mine := make(map[string]json.RawMessage, len(entry)+1)
		for key, value := range entry {
			mine[key] = value
		}
		mine["poe_mode"] = text
		wanted = append(wanted, mine)
	}
	if !found {
		mine := map[string]json.RawMessage{"port_idx": json.RawMessage(strconv.Itoa(port)), "poe_mode": text}
		if profile != "" { // else the port would leave its profile, and with it its VLANs
			mine["portconf_id"], _ = json.Marshal(profile)
		}
		wanted, changed = append(wanted, mine), true
	}
	return wanted, changed
}

func index(entry map[string]json.RawMessage) int {
	var i int
	if json.Unmarshal(entry["port_idx"], &i) != nil {
		return -1
	}
	return i
}

// compare holds what the controller has now against what it was given.
func compare(wanted, got []map[string]json.RawMessage, port int, mode string) error {
	byPort := func(list []map[string]json.RawMessage) map[int]any {
		ports := make(map[int]any)
		for _, entry := range list {
			plain := make(map[string]any)
			for key, value := range entry {
				var v any
				_ = json.Unmarshal(value, &v)
				plain[key] = v
			}
			ports[index(entry)] = plain
		}
		return ports
	}
	want, have := byPort(wanted), byPort(got)
	if mine, _ := have[port].(map[string]any); mine["poe_mode"] != mode {
		return fmt.Errorf("the controller answered 200 and did not keep poe_mode %q of port %d (hint: the account may lack the right to change devices)", mode, port)
	}
	for i, entry := range want {
		if i != port && !reflect.DeepEqual(entry, have[i]) {
			return fmt.Errorf("the settings of port %d changed while those of port %d were written (hint: somebody else changes this switch; compare port %[1]d with what it is to be)", i, port)
		}
	}
	for i := range have {
		if _, ok := want[i]; !ok {
			return fmt.Errorf("port %d got settings while those of port %d were written (hint: somebody else changes this switch)", i, port)
		}
	}
	return nil
}
