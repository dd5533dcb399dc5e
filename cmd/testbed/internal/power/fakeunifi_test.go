// SPDX-License-Identifier: Apache-2.0

package power

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

const (
	fakeUser, fakePassword = "testbed", "correct horse"
	fakeKey                = "0123456789abcdef"
	fakeSwitch             = "00:00:5e:00:53:f0"
	fakeGateway            = "00:00:5e:00:53:f2"
	fakeDeviceID           = "6650c0ffee0000000000abcd"
	fakeSiteUUID           = "88f7af54-98f8-306a-a1c7-c9349722b1f6"
	fakeDeviceUUID         = "a1b2c3d4-0000-4000-8000-000000000001"
)

// fakePort is a port as the switch itself has it.
type fakePort struct {
	poe        bool   // can deliver
	draws      bool   // somebody there takes power
	mode       string // as provisioned
	profile    string // portconf_id of the switch's own table
	uplink     bool
	lldp, seen string // addresses that LLDP and the table of clients show
	dip        int    // so many looks at it show it without power
}

// fakeUniFi behaves as a UniFi OS console with Network on it, as docs/testbed/power.md has it: sessions with a cookie and a
// rotating token against forgery, a list of overrides that is replaced whole, a switch that is provisioned some time later,
// errors in both interfaces' forms.
type fakeUniFi struct {
	*httptest.Server
	standalone bool // Network without UniFi OS

	mu        sync.Mutex
	ports     map[int]*fakePort
	overrides []map[string]any
	state     int
	sessions  map[string]string // cookie → token
	count     int               // of sessions ever
	logins    int               // attempts

	// Faults.
	sessionLife int  // requests that a session lasts; 0: for ever
	limitEvery  int  // each so-many-th request is 429
	busy        int  // so many requests are 502
	ignore      bool // 200, and nothing is kept
	forget      bool // settings are kept, the switch never gets them
	loginLimit  int  // more attempts are 429; 0: none
	readOnly    bool // the account may not change devices
	provision   int  // looks until the switch has its settings
	meddle      func(f *fakeUniFi)
	requests    int
	limited     int
	bodies      []string // of PUTs
	pending     int
}

func newFakeUniFi(t *testing.T, nodes int) *fakeUniFi {
	f := &fakeUniFi{ports: map[int]*fakePort{}, sessions: map[string]string{}, state: stateConnected, provision: 2}
	for i := 1; i <= 24; i++ {
		p := &fakePort{poe: true, mode: "auto", profile: "profile-default"}
		if i <= nodes {
			p.draws, p.lldp = true, fmt.Sprintf("00:00:5e:00:53:%02x", i)
		}
		f.ports[i] = p
	}
	f.ports[23].draws, f.ports[23].lldp = true, fakeGateway
	f.ports[24].uplink = true
	f.ports[25] = &fakePort{mode: "", profile: "profile-trunk"}
	// Port 2 has VLANs of its own, port 5 a name and a speed: settings that a careless writer loses.
	f.overrides = []map[string]any{
		{"port_idx": 2.0, "portconf_id": "profile-vlan", "native_networkconf_id": "vlan-42", "tagged_vlan_mgmt": "custom", "excluded_networkconf_ids": []any{"a", "b"}},
		{"port_idx": 5.0, "name": "the fifth", "autoneg": false, "speed": 1000.0, "poe_mode": "auto", "setting_preference": "manual"},
		{"port_idx": 24.0, "portconf_id": "profile-trunk", "stp_port_mode": true},
	}
	f.Server = httptest.NewTLSServer(f)
	t.Cleanup(f.Close)
	return f
}

// inventory returns an inventory of so many workers on the fake.
func (f *fakeUniFi) inventory(t *testing.T, driver, secret string, nodes int) *inventory.Inventory {
	t.Helper()
	dir := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
	for name, data := range map[string][]byte{"unifi.pem": ca, "secret": []byte(secret + "\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	inv := rackInventory(nodes, inventory.Switch{
		Name: "switch-1", Driver: driver, Ports: 26, BudgetWatts: 400, URL: f.URL, Site: "default", CA: "unifi.pem", Credentials: "secret",
		MAC: mac(fakeSwitch), Deny: []int{22},
	})
	inv.Path = filepath.Join(dir, "inventory.yaml")
	return inv
}

func mac(text string) inventory.MAC {
	var m inventory.MAC
	if err := m.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return m
}

func rackInventory(nodes int, s inventory.Switch) *inventory.Inventory {
	inv := &inventory.Inventory{Cluster: "rack", Substrate: "pi", Switches: []inventory.Switch{s}}
	for i := 1; i <= nodes; i++ {
		inv.Nodes = append(inv.Nodes, inventory.Node{
			Name: "worker-" + strconv.Itoa(i), Groups: []string{inventory.Worker}, MAC: mac(fmt.Sprintf("00:00:5e:00:53:%02x", i)),
			Port: inventory.Port{Switch: s.Name, Index: i}, Watts: inventory.Watts{Idle: 5, Worst: 30},
		})
	}
	return inv
}

// newRack returns a rack that waits in test time: pauses are counted, not slept.
func newRack(t *testing.T, inv *inventory.Inventory) (*Rack, *[]time.Duration) {
	r := Open(inv, t.TempDir(), slog.New(slog.DiscardHandler))
	r.interval, r.dark, r.patience = time.Millisecond, time.Millisecond, 20*time.Second
	var mu sync.Mutex
	var pauses []time.Duration
	open := r.open
	r.open = func(s inventory.Switch) (Switch, error) {
		sw, err := open(s)
		var c *controller
		switch sw := sw.(type) {
		case *legacy:
			c = sw.controller
		case *official:
			c = sw.controller
		}
		if c != nil {
			c.pause = func(_ ctxt, d time.Duration) error {
				mu.Lock()
				defer mu.Unlock()
				pauses = append(pauses, d)
				return nil
			}
		}
		return sw, err
	}
	t.Cleanup(func() { r.Close() })
	return r, &pauses
}

func (f *fakeUniFi) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
	path := req.URL.Path
	if path == "/" {
		if f.standalone {
			http.Redirect(w, req, "/manage", http.StatusFound)
		}
		return
	}
	if path == map[bool]string{true: "/api/login", false: "/api/auth/login"}[f.standalone] {
		f.login(w, req)
		return
	}
	switch {
	case f.limitEvery > 0 && f.requests%f.limitEvery == 0:
		f.limited++
		w.Header().Set("Retry-After", "3")
		reply(w, http.StatusTooManyRequests, map[string]any{"code": "RATE_LIMITED", "message": "Too many requests"})
		return
	case f.busy > 0:
		f.busy--
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	if path == "/api/auth/logout" && !f.standalone {
		if f.admitted(w, req) {
			f.logout(w, req)
		}
		return
	}
	rest, onOS := strings.CutPrefix(path, "/proxy/network")
	if onOS == f.standalone {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if rest, ok := strings.CutPrefix(rest, "/integration/v1"); ok {
		f.integration(w, req, rest)
		return
	}
	if !f.admitted(w, req) {
		return
	}
	if rest == "/api/logout" {
		f.logout(w, req)
		return
	}
	f.network(w, req, rest)
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (f *fakeUniFi) login(w http.ResponseWriter, req *http.Request) {
	f.logins++
	if f.loginLimit > 0 && f.logins > f.loginLimit {
		reply(w, http.StatusTooManyRequests, map[string]any{"code": "AUTHENTICATION_FAILED_LIMIT_REACHED", "message": "You've reached the login attempt limit"})
		return
	}
	var who struct{ Username, Password string }
	_ = json.NewDecoder(req.Body).Decode(&who)
	if who.Username != fakeUser || who.Password != fakePassword {
		if f.standalone {
			reply(w, http.StatusBadRequest, map[string]any{"meta": map[string]any{"rc": "error", "msg": "api.err.Invalid"}, "data": []any{}})
		} else {
			reply(w, http.StatusForbidden, map[string]any{"code": "AUTHENTICATION_FAILED_INVALID_CREDENTIALS", "message": "Invalid username or password"})
		}
		return
	}
	f.count++
	cookie := fmt.Sprintf("session-%d", f.count)
	token := fmt.Sprintf("csrf-%d-0", f.count)
	f.sessions[cookie] = token
	http.SetCookie(w, &http.Cookie{Name: "TOKEN", Value: cookie, Path: "/", HttpOnly: true})
	if !f.standalone {
		w.Header().Set("X-CSRF-Token", token)
	}
	reply(w, http.StatusOK, map[string]any{"meta": map[string]any{"rc": "ok"}, "data": []any{}})
}

func (f *fakeUniFi) logout(w http.ResponseWriter, req *http.Request) {
	if cookie, err := req.Cookie("TOKEN"); err == nil {
		delete(f.sessions, cookie.Value)
	}
	reply(w, http.StatusOK, map[string]any{"meta": map[string]any{"rc": "ok"}, "data": []any{}})
}

// admitted checks key or session; a session's token changes with each request that it protects.
func (f *fakeUniFi) admitted(w http.ResponseWriter, req *http.Request) bool {
	if key := req.Header.Get("X-API-KEY"); key != "" && !f.standalone {
		if key != fakeKey {
			reply(w, http.StatusUnauthorized, map[string]any{"code": 401, "message": "Unauthorized"})
		}
		return key == fakeKey
	}
	cookie, err := req.Cookie("TOKEN")
	token, ok := "", false
	if err == nil {
		token, ok = f.sessions[cookie.Value]
	}
	if ok && f.sessionLife > 0 && f.requests%f.sessionLife == 0 {
		delete(f.sessions, cookie.Value)
		ok = false
	}
	if !ok {
		if f.standalone {
			reply(w, http.StatusUnauthorized, map[string]any{"meta": map[string]any{"rc": "error", "msg": "api.err.LoginRequired"}, "data": []any{}})
		} else {
			reply(w, http.StatusUnauthorized, map[string]any{"code": "TOKEN_EXPIRED", "message": "Unauthorized"})
		}
		return false
	}
	if req.Method != http.MethodGet && !f.standalone {
		if req.Header.Get("X-CSRF-Token") != token {
			reply(w, http.StatusForbidden, map[string]any{"code": "CSRF_TOKEN_IS_INVALID", "message": "Forbidden"})
			return false
		}
		token = fmt.Sprintf("%s-%d", strings.TrimRight(token, "0123456789"), f.requests)
		f.sessions[cookie.Value] = token
		w.Header().Set("X-Updated-CSRF-Token", token)
	}
	return true
}

// network is the older interface.
func (f *fakeUniFi) network(w http.ResponseWriter, req *http.Request, path string) {
	ok := func(data any) {
		reply(w, http.StatusOK, map[string]any{"meta": map[string]any{"rc": "ok"}, "data": data})
	}
	refuse := func(status int, msg string) {
		reply(w, status, map[string]any{"meta": map[string]any{"rc": "error", "msg": msg}, "data": []any{}})
	}
	rest, site := strings.CutPrefix(path, "/api/s/default")
	switch {
	case !site:
		refuse(http.StatusUnauthorized, "api.err.NoSiteContext")
	case rest == "/stat/device" && req.Method == http.MethodGet:
		f.look()
		ok([]any{map[string]any{"_id": "gw", "mac": fakeGateway, "type": "ugw", "adopted": true, "state": 1}, f.device()})
	case rest == "/stat/sta" && req.Method == http.MethodGet:
		clients := []any{map[string]any{"mac": "00:00:5e:00:53:ee", "is_wired": false}}
		for _, i := range slices.Sorted(maps.Keys(f.ports)) {
			if seen := f.ports[i].seen; seen != "" {
				clients = append(clients, map[string]any{"mac": seen, "is_wired": true, "sw_mac": fakeSwitch, "sw_port": i})
			}
		}
		ok(clients)
	case rest == "/rest/device/"+fakeDeviceID && req.Method == http.MethodPut:
		if f.readOnly {
			refuse(http.StatusForbidden, "api.err.NoPermission")
			return
		}
		data, _ := io.ReadAll(req.Body)
		f.bodies = append(f.bodies, string(data))
		var body struct {
			Overrides []map[string]any `json:"port_overrides"`
		}
		if err := json.Unmarshal(data, &body); err != nil || body.Overrides == nil {
			refuse(http.StatusBadRequest, "api.err.InvalidPayload")
			return
		}
		if !f.ignore {
			f.overrides, f.pending = body.Overrides, f.provision
		}
		if f.meddle != nil {
			f.meddle(f)
		}
		ok([]any{f.device()})
	default:
		refuse(http.StatusNotFound, "api.err.NotFound")
	}
}

// look is one look at the switch: settings arrive, and dips pass.
func (f *fakeUniFi) look() {
	if f.pending > 0 {
		if f.pending--; f.pending == 0 && !f.forget {
			f.provisionAll()
		}
	}
	for _, p := range f.ports {
		if p.dip > 0 {
			p.dip--
		}
	}
}

// provisionAll gives the switch the settings: what a port has no override for falls back to defaults.
func (f *fakeUniFi) provisionAll() {
	for i, p := range f.ports {
		if !p.poe {
			continue
		}
		p.mode = "auto"
		for _, o := range f.overrides {
			if o["port_idx"] == float64(i) {
				if mode, ok := o["poe_mode"].(string); ok {
					p.mode = mode
				}
			}
		}
	}
}

func (p *fakePort) delivers() bool { return p.poe && p.draws && p.mode != "off" && p.dip == 0 }

func (f *fakeUniFi) device() map[string]any {
	var ports, lldp []any
	for _, i := range slices.Sorted(maps.Keys(f.ports)) {
		p := f.ports[i]
		row := map[string]any{"port_idx": i, "up": p.delivers() || p.uplink, "is_uplink": p.uplink, "port_poe": p.poe, "portconf_id": p.profile, "enable": true}
		if p.poe {
			row["poe_mode"], row["poe_enable"], row["poe_power"], row["poe_class"] = p.mode, p.delivers(), "0.00", "Unknown"
			if p.delivers() {
				row["poe_power"], row["poe_class"], row["poe_good"] = fmt.Sprintf("%.2f", 3+float64(i)/10), "Class 4", true
			}
		}
		ports = append(ports, row)
		entry := map[string]any{"local_port_idx": i, "chassis_id": "00:00:00:00:00:00", "is_wired": true}
		if p.lldp != "" && (p.delivers() || p.uplink) {
			entry["chassis_id"] = p.lldp
		}
		lldp = append(lldp, entry)
	}
	return map[string]any{
		"_id": fakeDeviceID, "mac": fakeSwitch, "type": "usw", "model": "USPM24P", "adopted": true, "state": f.state,
		"port_overrides": f.overrides, "port_table": ports, "lldp_table": lldp,
	}
}

// integration is the documented API.
func (f *fakeUniFi) integration(w http.ResponseWriter, req *http.Request, path string) {
	refuse := func(status int, name, code, message string) {
		reply(w, status, map[string]any{
			"statusCode": status, "statusName": name, "code": code, "message": message,
			"timestamp": "2026-01-01T00:00:00Z", "requestPath": "/integration/v1" + path, "requestId": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
		})
	}
	if req.Header.Get("X-API-KEY") != fakeKey {
		refuse(http.StatusUnauthorized, "UNAUTHORIZED", "api.authentication.missing-credentials", "Missing credentials")
		return
	}
	page := func(all []any) {
		offset, _ := strconv.Atoi(req.URL.Query().Get("offset"))
		limit, _ := strconv.Atoi(req.URL.Query().Get("limit"))
		limit = min(max(limit, 1), 2) // small, so that a reader of first pages is found out
		data := all[min(offset, len(all)):min(offset+limit, len(all))]
		reply(w, http.StatusOK, map[string]any{"offset": offset, "limit": limit, "count": len(data), "totalCount": len(all), "data": data})
	}
	device := "/sites/" + fakeSiteUUID + "/devices/" + fakeDeviceUUID
	switch {
	case path == "/sites":
		page([]any{
			map[string]any{"id": "11111111-1111-1111-1111-111111111111", "internalReference": "lab", "name": "Lab"},
			map[string]any{"id": "22222222-2222-2222-2222-222222222222", "internalReference": "home", "name": "Home"},
			map[string]any{"id": fakeSiteUUID, "internalReference": "default", "name": "Default"},
		})
	case path == "/sites/"+fakeSiteUUID+"/devices":
		page([]any{
			map[string]any{"id": "33333333-3333-3333-3333-333333333333", "macAddress": fakeGateway, "state": "ONLINE"},
			map[string]any{"id": "44444444-4444-4444-4444-444444444444", "macAddress": "00:00:5e:00:53:f3", "state": "ONLINE"},
			map[string]any{"id": fakeDeviceUUID, "macAddress": fakeSwitch, "state": "ONLINE", "interfaces": []string{"ports"}},
		})
	case path == device && req.Method == http.MethodGet:
		f.look()
		var ports []any
		for _, i := range slices.Sorted(maps.Keys(f.ports)) {
			p := f.ports[i]
			row := map[string]any{"idx": i, "state": map[bool]string{true: "UP", false: "DOWN"}[p.delivers() || p.uplink], "connector": "RJ45", "maxSpeedMbps": 1000}
			if p.poe {
				row["poe"] = map[string]any{"standard": "802.3at", "type": 2, "enabled": p.mode != "off", "state": map[bool]string{true: "UP", false: "DOWN"}[p.delivers()]}
			}
			ports = append(ports, row)
		}
		reply(w, http.StatusOK, map[string]any{"id": fakeDeviceUUID, "macAddress": fakeSwitch, "state": map[bool]string{true: "ONLINE", false: "OFFLINE"}[f.state == 1], "interfaces": map[string]any{"ports": ports}})
	case strings.HasPrefix(path, device+"/interfaces/ports/") && req.Method == http.MethodPost:
		var body struct{ Action string }
		_ = json.NewDecoder(req.Body).Decode(&body)
		i, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(path, device+"/interfaces/ports/"), "/actions"))
		p := f.ports[i]
		switch {
		case body.Action != "POWER_CYCLE" || p == nil:
			refuse(http.StatusBadRequest, "BAD_REQUEST", "api.request.argument-type-mismatch", "Unknown action")
		case !p.delivers():
			refuse(http.StatusBadRequest, "BAD_REQUEST", "api.err.InvalidTargetPort", "Port delivers no power")
		default:
			if !f.ignore {
				p.dip = 3
			}
			reply(w, http.StatusOK, map[string]any{})
		}
	default:
		refuse(http.StatusNotFound, "NOT_FOUND", "api.err.NotFound", "Not found")
	}
}
