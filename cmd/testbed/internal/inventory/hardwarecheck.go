// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// hardware checks what is written of switches, ports, images and keys.
func (c *checker) hardware() {
	c.watts("watts", c.Watts)
	for i := range c.Switches {
		c.powerSwitch(i)
	}
	for i := range c.Images {
		c.image(i)
	}
	if c.Image != "" && !c.knownImage(c.Image) {
		c.file.Problem("image", c.images(), "unknown image %q", c.Image)
	}
	for i := range c.Nodes {
		c.board(i)
	}
	for i, s := range c.Switches {
		c.budget(i, s)
	}
}

func (c *checker) watts(path string, w Watts) {
	if c.file.Has(path) && (w.Idle <= 0 || w.Worst < w.Idle) {
		c.file.Problem(path, "idle: 5, worst: 30", "%g W idle and %g W at worst are not the draw of a node", w.Idle, w.Worst)
	}
}

// powerSwitch checks a switch, also against those before it.
func (c *checker) powerSwitch(i int) {
	s, path := c.Switches[i], fmt.Sprintf("switches[%d]", i)
	for _, key := range []string{"name", "driver", "budgetWatts"} {
		c.need(path, key)
	}
	c.name(path+".name", s.Name)
	if j := slices.IndexFunc(c.Switches[:i], func(b Switch) bool { return s.Name != "" && b.Name == s.Name }); j >= 0 {
		c.file.Problem(path+".name", "", "%q is there twice", s.Name)
	}
	c.oneOf(path+".driver", s.Driver, drivers...)
	if slices.Contains(drivers, s.Driver) && c.Substrate != "" && (s.Driver == DriverTwin) != (c.Substrate == "twin") {
		c.file.Problem(path+".driver", "twin for virtual nodes, any other for boards", "%q cannot power nodes of substrate %q", s.Driver, c.Substrate)
	}
	if s.Ports < 1 || s.Ports > 512 {
		c.file.Problem(path+".ports", "", "%d is no number of ports", s.Ports)
	}
	if c.file.Has(path+".budgetWatts") && s.BudgetWatts <= 0 {
		c.file.Problem(path+".budgetWatts", "as its data sheet has it: 400", "%g W is no budget", s.BudgetWatts)
	}
	for j, port := range s.Deny {
		if port < 1 || port > s.Ports {
			c.file.Problem(fmt.Sprintf("%s.deny[%d]", path, j), fmt.Sprintf("1 to %d", s.Ports), "%s has no port %d", s.Name, port)
		}
	}
	c.driverKeys(path, s)
}

// driverKeys holds a switch to the keys of its driver: those that it needs, and no other driver's.
func (c *checker) driverKeys(path string, s Switch) {
	unifi := []string{DriverUniFi, DriverUniFiLegacy}
	for _, k := range []struct {
		name    string
		drivers []string
		needed  bool
	}{
		{"url", unifi, true},
		{"mac", unifi, true},
		{"site", unifi, false},
		{"ca", unifi, false},
		{"controller", unifi, false},
		{"credentials", append(unifi, DriverSSH), true},
		{"ssh", []string{DriverSSH}, true},
		{"command", []string{DriverCommand}, true},
		// Of these nobody learns who is behind a port, so that uplinks must be named.
		{"deny", []string{DriverUniFi}, true},
	} {
		at := path + "." + k.name
		switch mine := slices.Contains(k.drivers, s.Driver); {
		case mine && k.needed:
			c.need(path, k.name)
		case !mine && k.name != "deny" && c.file.Has(at) && slices.Contains(drivers, s.Driver):
			c.file.Problem(at, "", "driver %q has no use for it", s.Driver)
		}
	}
	if c.file.Has(path + ".url") {
		u, err := url.Parse(s.URL)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			c.file.Problem(path+".url", "https://HOST or https://HOST:8443", "%q is not where a controller answers", s.URL)
		}
	}
	if user, host, ok := strings.Cut(s.SSH, "@"); c.file.Has(path+".ssh") && s.Driver == DriverSSH && (!ok || user == "" || host == "" || strings.ContainsAny(s.SSH, " /")) {
		c.file.Problem(path+".ssh", "USER@HOST or USER@[HOST]:PORT", "%q is no SSH destination", s.SSH)
	}
	if c.file.Has(path+".command") && (len(s.Command) == 0 || s.Command[0] == "") {
		c.file.Problem(path+".command", "[program, its, first, arguments]", "no program")
	}
	if c.file.Has(path+".mac") && s.MAC.IsZero() {
		c.file.Problem(path+".mac", "", "empty")
	}
}

func (c *checker) image(i int) {
	image, path := c.Images[i], fmt.Sprintf("images[%d]", i)
	for _, key := range []string{"id", "url", "sha256"} {
		c.need(path, key)
	}
	if c.file.Has(path+".id") && (image.ID == "" || len(image.ID) > 60 || !plain(strings.ReplaceAll(image.ID, ".", "-"))) {
		c.file.Problem(path+".id", "lower case letters, digits, dots and hyphens, 60 at most", "%q is no image id", image.ID)
	}
	if slices.ContainsFunc(c.Images[:i], func(b Image) bool { return image.ID != "" && b.ID == image.ID }) {
		c.file.Problem(path+".id", "", "%q is there twice", image.ID)
	}
	if sum, err := hex.DecodeString(image.SHA256); c.file.Has(path+".sha256") && (err != nil || len(sum) != 32) {
		c.file.Problem(path+".sha256", "64 hexadecimal digits", "%q is no SHA-256", image.SHA256)
	}
	if c.file.Has(path+".url") && image.URL == "" {
		c.file.Problem(path+".url", "", "empty")
	}
	c.customisation(path, image)
}

func (c *checker) knownImage(id string) bool {
	return slices.ContainsFunc(c.Images, func(image Image) bool { return image.ID == id })
}

func (c *checker) images() string {
	ids := make([]string, len(c.Images))
	for i, image := range c.Images {
		ids[i] = image.ID
	}
	return "known: " + strings.Join(ids, ", ")
}

// board checks what makes a node a machine, also against the nodes before it.
func (c *checker) board(i int) {
	n, path := c.Nodes[i], fmt.Sprintf("nodes[%d]", i)
	c.port(i)
	c.watts(path+".watts", n.Watts)
	if c.file.Has(path+".image") && !c.knownImage(n.Image) {
		c.file.Problem(path+".image", c.images(), "unknown image %q", n.Image)
	}
	if n.HostKey != "" {
		c.hostKey(path+".hostKey", n.HostKey)
	}
	for j, role := range n.Roles {
		at := fmt.Sprintf("%s.roles[%d]", path, j)
		c.oneOf(at, role, roles...)
		if slices.Contains(n.Roles[:j], role) {
			c.file.Problem(at, "", "%q is there twice", role)
		}
	}
	if len(n.Roles) > 0 && !n.In(Control) {
		c.file.Problem(path+".roles", "groups: [control]", "%q is no control node: it has no roles", n.Name)
	}
	for _, b := range c.Nodes[:i] {
		if !n.MAC.IsZero() && n.MAC == b.MAC {
			c.file.Problem(path+".mac", "as printed on the board", "%s is the MAC address of %s", n.MAC, b.Name)
		}
		if n.HostKey != "" && sameKey(n.HostKey, b.HostKey) {
			c.file.Problem(path+".hostKey", "each node has a key of its own", "it is the key of %s", b.Name)
		}
	}
	for _, s := range c.Switches {
		if !n.MAC.IsZero() && (n.MAC == s.MAC || n.MAC == s.Controller) {
			c.file.Problem(path+".mac", "as printed on the board", "%s is the MAC address of %s or of its controller", n.MAC, s.Name)
		}
	}
}

// port checks where a node is plugged in, also against the nodes before it.
func (c *checker) port(i int) {
	n, at := c.Nodes[i], fmt.Sprintf("nodes[%d].port", i)
	if !c.file.Has(at) {
		return
	}
	c.need(at, "switch")
	c.need(at, "index")
	s, ok := c.Inventory.Switch(n.Port.Switch)
	switch {
	case !c.file.Has(at+".switch") || !c.file.Has(at+".index"): // said already
	case !ok:
		c.file.Problem(at+".switch", "its name under switches:", "unknown switch %q", n.Port.Switch)
	case n.Port.Index < 1 || n.Port.Index > s.Ports:
		c.file.Problem(at+".index", fmt.Sprintf("1 to %d", s.Ports), "%s has no port %d", s.Name, n.Port.Index)
	case slices.Contains(s.Deny, n.Port.Index):
		c.file.Problem(at+".index", "another port, or not in deny:", "port %d of %s is denied", n.Port.Index, s.Name)
	}
	for _, b := range c.Nodes[:i] {
		if n.Port == b.Port && !n.Port.IsZero() {
			c.file.Problem(at, "a port of its own, as printed on the switch", "%s is plugged in at %s", b.Name, n.Port)
		}
	}
}

func (c *checker) hostKey(path, line string) {
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil || key == nil || len(options) > 0 || len(strings.TrimSpace(string(rest))) > 0 {
		c.file.Problem(path, `"ssh-ed25519 AAAA…", one line of /etc/ssh/ssh_host_ed25519_key.pub`, "it is no public key")
	}
}

// sameKey compares two keys without what people write behind them.
func sameKey(a, b string) bool {
	key := func(line string) string {
		return strings.Join(strings.Fields(line)[:min(2, len(strings.Fields(line)))], " ")
	}
	return key(a) == key(b)
}

// budget holds a switch to what it powers: one node must be able to start while the others do nothing.
func (c *checker) budget(i int, s Switch) {
	var idle, most float64
	count := 0
	for _, n := range c.Nodes {
		if n.Port.Switch == s.Name && !n.Port.IsZero() {
			idle += n.Watts.Idle
			most = max(most, n.Watts.Worst-n.Watts.Idle)
			count++
		}
	}
	if s.BudgetWatts > 0 && idle+most > s.BudgetWatts {
		c.file.Problem(fmt.Sprintf("switches[%d].budgetWatts", i), "fewer nodes a switch, or watts: as measured",
			"%d nodes of which one starts draw %g W, more than the %g W of %s", count, idle+most, s.BudgetWatts, s.Name)
	}
}
