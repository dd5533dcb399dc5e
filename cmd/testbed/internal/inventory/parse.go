// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is one thing wrong in the file.
type Problem struct {
	Path         string
	Line, Column int // 1-based; 0 when unknown
	Message      string
	Hint         string // may be empty
}

func (p *Problem) Error() string {
	s := fmt.Sprintf("%s:%d:%d: %s", p.Path, p.Line, p.Column, p.Message)
	if p.Line == 0 {
		s = fmt.Sprintf("%s: %s", p.Path, p.Message)
	}
	if p.Hint != "" {
		s += " (hint: " + p.Hint + ")"
	}
	return s
}

// parser walks the YAML tree by hand rather than by reflection: only so has every problem a column.
type parser struct {
	path     string
	problems []*Problem
}

// err returns all problems in the order of the file.
func (p *parser) err() error {
	slices.SortStableFunc(p.problems, func(a, b *Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	errs := make([]error, len(p.problems))
	for i, problem := range p.problems {
		errs[i] = problem
	}
	return errors.Join(errs...)
}

// fail notes a problem at a place.
func (p *parser) fail(at *yaml.Node, hint, format string, a ...any) {
	pr := &Problem{Path: p.path, Message: fmt.Sprintf(format, a...), Hint: hint}
	if at != nil {
		pr.Line, pr.Column = at.Line, at.Column
	}
	p.problems = append(p.problems, pr)
}

func (p *parser) parse(src []byte) *Inventory {
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		p.syntax(err)
		return nil
	}
	if len(doc.Content) == 0 {
		p.fail(nil, "see pi-cluster/inventory.twin.yaml", "the inventory is empty")
		return nil
	}
	inv := &Inventory{Path: p.path, SSH: SSH{User: "root", Port: 22}, Kubernetes: Kubernetes{Heartbeat: "short"}}
	root := doc.Content[0]
	v := p.mapping(root, "an inventory", "version", "cluster", "substrate", "network", "zone", "ssh", "kubernetes", "nodes")
	if v == nil {
		return nil
	}
	if at := p.need(root, v, "version"); at != nil {
		if inv.Version = p.integer(at); inv.Version != 1 {
			p.fail(at, "this testbed reads version 1", "unknown version %q", at.Value)
		}
	}
	if at := p.need(root, v, "cluster"); at != nil {
		inv.Cluster = p.name(at, "cluster")
	}
	if at := p.need(root, v, "substrate"); at != nil {
		inv.Substrate = p.oneOf(at, "substrate", "twin", "pi")
	}
	if at := p.need(root, v, "zone"); at != nil {
		inv.Zone = p.zone(at)
	}
	if at := p.need(root, v, "network"); at != nil {
		inv.Network = p.network(at)
	}
	if at := v["ssh"]; at != nil {
		p.ssh(at, &inv.SSH)
	}
	if at := v["kubernetes"]; at != nil {
		if k := p.mapping(at, "kubernetes", "heartbeat"); k["heartbeat"] != nil {
			inv.Kubernetes.Heartbeat = p.oneOf(k["heartbeat"], "heartbeat", "short", "stock")
		}
	}
	if at := p.need(root, v, "nodes"); at != nil {
		inv.Nodes = p.nodes(at, inv)
	}
	return inv
}

// syntax notes what the YAML library says as "yaml: line 2: did not find …": it knows no column.
func (p *parser) syntax(err error) {
	message, at := strings.TrimPrefix(err.Error(), "yaml: "), (*yaml.Node)(nil)
	if rest, ok := strings.CutPrefix(message, "line "); ok {
		if number, text, ok := strings.Cut(rest, ": "); ok {
			if line, err := strconv.Atoi(number); err == nil {
				message, at = text, &yaml.Node{Line: line, Column: 1}
			}
		}
	}
	p.fail(at, "this is no YAML", "%s", message)
}

func (p *parser) network(at *yaml.Node) Network {
	var n Network
	v := p.mapping(at, "network", "nodes", "services")
	if v == nil {
		return n
	}
	if c := p.need(at, v, "nodes"); c != nil {
		n.Nodes = p.prefix(c, "network.nodes", 64, 64)
	}
	if c := p.need(at, v, "services"); c != nil {
		n.Services = p.prefix(c, "network.services", 108, 112) // the API server refuses larger ranges than 20 bits
	}
	if n.Nodes.IsValid() && n.Services.IsValid() && n.Nodes.Overlaps(n.Services) {
		p.fail(v["services"], "choose a range outside of network.nodes", "service range %s overlaps the nodes' network %s", n.Services, n.Nodes)
	}
	return n
}

func (p *parser) ssh(at *yaml.Node, s *SSH) {
	v := p.mapping(at, "ssh", "user", "port")
	if c := v["user"]; c != nil {
		if s.User = p.text(c); s.User != "root" {
			p.fail(c, "the nodes' provisioning needs root", "unsupported ssh user %q", s.User)
		}
	}
	if c := v["port"]; c != nil {
		if s.Port = p.integer(c); s.Port < 1 || s.Port > 65535 {
			p.fail(c, "1 to 65535", "ssh port %q is no port", c.Value)
		}
	}
}

// mapping returns the values of a mapping by key, having checked that it is one, that all keys are
// known and none is there twice; nil when it is no mapping.
func (p *parser) mapping(at *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	at = resolve(at)
	if at.Kind != yaml.MappingNode {
		p.fail(at, "keys: "+strings.Join(known, ", "), "%s is a mapping, not %s", what, kind(at))
		return nil
	}
	values := make(map[string]*yaml.Node)
	for i := 0; i+1 < len(at.Content); i += 2 {
		key, value := at.Content[i], at.Content[i+1]
		switch {
		case !slices.Contains(known, key.Value):
			p.fail(key, suggest(key.Value, known), "unknown key %q in %s", key.Value, what)
		case values[key.Value] != nil:
			p.fail(key, "", "key %q is there twice in %s", key.Value, what)
		default:
			values[key.Value] = resolve(value)
		}
	}
	return values
}

// need returns the value of a key that must be there.
func (p *parser) need(at *yaml.Node, v map[string]*yaml.Node, key string) *yaml.Node {
	if v[key] == nil {
		p.fail(at, "", "missing key %q", key)
	}
	return v[key]
}

func (p *parser) text(at *yaml.Node) string {
	if at.Kind != yaml.ScalarNode || at.Tag == "!!null" {
		p.fail(at, "", "a single value is needed here, not %s", kind(at))
		return ""
	}
	return at.Value
}

func (p *parser) integer(at *yaml.Node) int {
	n, err := strconv.Atoi(p.text(at))
	if err != nil {
		return -1 // the caller's range check says what is wrong
	}
	return n
}

func (p *parser) oneOf(at *yaml.Node, what string, values ...string) string {
	s := p.text(at)
	if !slices.Contains(values, s) {
		p.fail(at, strings.Join(values, " or "), "unknown %s %q", what, s)
	}
	return s
}

// name reads a name that becomes a host name, a network namespace, a network interface (15 bytes at
// most on Linux) and a directory.
func (p *parser) name(at *yaml.Node, what string) string {
	s := p.text(at)
	ok := len(s) > 0 && len(s) <= 15 && s[0] >= 'a' && s[0] <= 'z' && s[len(s)-1] != '-'
	for _, c := range []byte(s) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !ok {
		p.fail(at, "a letter, then letters, digits and hyphens, 15 at most, all lower case", "%q is no name for a %s", s, what)
	}
	return s
}

func (p *parser) zone(at *yaml.Node) string {
	s := p.text(at)
	ok := len(s) > 1 && len(s) <= 200 && strings.HasSuffix(s, ".")
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		ok = ok && len(label) > 0 && len(label) <= 63 && label[0] != '-' && label[len(label)-1] != '-'
		for _, c := range []byte(label) {
			ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
		}
	}
	if !ok {
		p.fail(at, `lower case, with the final dot: "apps.test."`, "%q is no zone", s)
	}
	return s
}

// uniqueLocal is all that the testbed may use: load must never leave it (RFC 4193).
var uniqueLocal = netip.MustParsePrefix("fd00::/8")

func (p *parser) prefix(at *yaml.Node, what string, shortest, longest int) netip.Prefix {
	s := p.text(at)
	pre, err := netip.ParsePrefix(s)
	length := fmt.Sprintf("/%d to /%d", shortest, longest)
	if shortest == longest {
		length = fmt.Sprintf("/%d", shortest)
	}
	switch {
	case err != nil:
		p.fail(at, "an IPv6 prefix as fd6e:7369:0:1::/64", "%s: %q is no prefix", what, s)
	case !uniqueLocal.Contains(pre.Addr()) || pre.Bits() < uniqueLocal.Bits():
		p.fail(at, "IPv6 unique local, from fd00::/8", "%s: %s is not unique local", what, pre)
	case pre.Bits() < shortest || pre.Bits() > longest:
		p.fail(at, length, "%s: %s has the wrong length", what, pre)
	case pre != pre.Masked():
		p.fail(at, "write "+pre.Masked().String(), "%s: %s has bits set behind its length", what, pre)
	default:
		return pre
	}
	return netip.Prefix{}
}

func (p *parser) address(at *yaml.Node) netip.Addr {
	s := p.text(at)
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		p.fail(at, "as fd6e:7369:0:1::11", "%q is no address", s)
	case a.Is4() || a.Is4In6():
		p.fail(at, "IPv6 unique local, from fd00::/8", "%s is an IPv4 address: the testbed has IPv6 only", s)
	case a.Zone() != "" || !uniqueLocal.Contains(a):
		p.fail(at, "IPv6 unique local, from fd00::/8", "%s is not unique local", s)
	default:
		return a
	}
	return netip.Addr{}
}

func resolve(at *yaml.Node) *yaml.Node {
	for at.Kind == yaml.AliasNode && at.Alias != nil {
		at = at.Alias
	}
	return at
}

func kind(at *yaml.Node) string {
	switch {
	case at.Kind == yaml.MappingNode:
		return "a mapping"
	case at.Kind == yaml.SequenceNode:
		return "a list"
	case at.Tag == "!!null":
		return "nothing"
	default:
		return strconv.Quote(at.Value)
	}
}

// suggest returns the known key that was probably meant, or all of them.
func suggest(key string, known []string) string {
	for _, k := range known {
		if near(key, k) {
			return "did you mean " + k + "?"
		}
	}
	return "keys: " + strings.Join(known, ", ")
}

// near says whether two keys differ by one letter more, less, other, or by two swapped, or by case.
func near(a, b string) bool {
	a = strings.ToLower(a)
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) < len(b) {
		return a[i:] == b[i+1:]
	}
	return i == len(a) || a[i+1:] == b[i+1:] ||
		i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}
