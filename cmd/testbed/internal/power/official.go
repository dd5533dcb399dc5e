// SPDX-License-Identifier: Apache-2.0

package power

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// official is a switch by way of UniFi Network's documented API (Settings, Control Plane, Integrations). It tells which ports
// deliver power but neither watts nor neighbours, and it can interrupt a port but not keep it off.
type official struct {
	*controller
	settings inventory.Switch

	mu           sync.Mutex
	site, device string // UUIDs, once they are known
}

const integration = "/integration/v1"

func (o *official) get(ctx context.Context, path string, data any) error {
	a, err := o.do(ctx, http.MethodGet, integration+path, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(a.body, data); err != nil {
		return fmt.Errorf("reading the controller's answer to GET %s: %w", path, err)
	}
	return nil
}

// pageSize is how many entries of a list are asked for at once; the API gives 200 at most.
const pageSize = 100

// list reads all pages of a list.
func list[T any](ctx context.Context, o *official, path string) ([]T, error) {
	var all []T
	for {
		var page struct {
			Total int `json:"totalCount"`
			Data  []T `json:"data"`
		}
		if err := o.get(ctx, path+"?limit="+strconv.Itoa(pageSize)+"&offset="+strconv.Itoa(len(all)), &page); err != nil {
			return nil, err
		}
		all = append(all, page.Data...)
		if len(page.Data) == 0 || len(all) >= page.Total {
			return all, nil
		}
	}
}

// find asks for the UUIDs of site and switch; the API knows no other names.
func (o *official) find(ctx context.Context) (path string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.device == "" {
		type site struct{ ID, InternalReference, Name string }
		sites, err := list[site](ctx, o, "/sites")
		if err != nil {
			return "", err
		}
		i := slices.IndexFunc(sites, func(s site) bool {
			return s.InternalReference == o.settings.Site || s.Name == o.settings.Site || s.ID == o.settings.Site
		})
		if i < 0 {
			names := make([]string, len(sites))
			for i, s := range sites {
				names[i] = s.InternalReference
			}
			return "", fmt.Errorf("the controller has no site %q (hint: known: %s)", o.settings.Site, strings.Join(names, ", "))
		}
		type device struct{ ID, MACAddress string }
		devices, err := list[device](ctx, o, "/sites/"+url.PathEscape(sites[i].ID)+"/devices")
		if err != nil {
			return "", err
		}
		j := slices.IndexFunc(devices, func(d device) bool {
			var mac inventory.MAC
			return mac.UnmarshalText([]byte(d.MACAddress)) == nil && mac == o.settings.MAC
		})
		if j < 0 {
			return "", fmt.Errorf("the controller has no device %s at site %q (hint: mac: of %s in the inventory)", o.settings.MAC, o.settings.Site, o.settings.Name)
		}
		o.site, o.device = sites[i].ID, devices[j].ID
	}
	return "/sites/" + url.PathEscape(o.site) + "/devices/" + url.PathEscape(o.device), nil
}

// Ports reads the details of the switch.
func (o *official) Ports(ctx context.Context) ([]Port, error) {
	path, err := o.find(ctx)
	if err != nil {
		return nil, err
	}
	var details struct {
		State      string
		Interfaces struct {
			Ports []struct {
				Idx   int
				State string
				PoE   *struct {
					Standard string
					Enabled  bool
					State    string
				}
			}
		}
	}
	if err := o.get(ctx, path, &details); err != nil {
		return nil, err
	}
	if details.State != "" && details.State != "ONLINE" {
		return nil, fmt.Errorf("the controller has no connection to %s (it is %s)", o.settings.MAC, details.State)
	}
	var ports []Port
	for _, p := range details.Interfaces.Ports {
		port := Port{Index: p.Idx, Link: p.State == "UP", Power: Off}
		if p.PoE != nil {
			port.Enabled, port.Class = p.PoE.Enabled, p.PoE.Standard
			switch p.PoE.State {
			case "UP", "LIMITED":
				port.Power = On
			case "DOWN":
			default:
				port.Power = Unknown
			}
		}
		ports = append(ports, port)
	}
	slices.SortFunc(ports, func(a, b Port) int { return a.Index - b.Index })
	return ports, nil
}

// Set only finds out that it cannot.
func (o *official) Set(ctx context.Context, port int, on bool) error { return errHold }

// Interrupt asks for a power cycle.
func (o *official) Interrupt(ctx context.Context, port int) error {
	path, err := o.find(ctx)
	if err != nil {
		return err
	}
	_, err = o.do(ctx, http.MethodPost, integration+path+"/interfaces/ports/"+strconv.Itoa(port)+"/actions", map[string]string{"action": "POWER_CYCLE"})
	return err
}
