// SPDX-License-Identifier: Apache-2.0

package power

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// shell is a switch by way of its own shell: UniFi's swctrl. What it sets holds until the controller provisions the switch
// anew. It is the quickest way: no controller hands the order on.
type shell struct {
	user, address string
	config        *ssh.ClientConfig

	mu     sync.Mutex
	client *ssh.Client
}

// shellTimeout bounds connecting to a switch, and each command.
const shellTimeout = 15 * time.Second

// openShell reads key and pinned host keys; it connects when there is something to ask.
func openShell(inv *inventory.Inventory, s inventory.Switch) (*shell, error) {
	user, address, _ := strings.Cut(s.SSH, "@")
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(strings.Trim(address, "[]"), "22")
	}
	secret, err := inv.Secret(s.Credentials)
	if err != nil {
		return nil, err
	}
	auth := ssh.Password(secret)
	if strings.HasPrefix(secret, "-----BEGIN") {
		key, err := ssh.ParsePrivateKey([]byte(secret))
		if err != nil {
			return nil, fmt.Errorf("reading the key for %s: %w (hint: without passphrase)", s.SSH, err)
		}
		auth = ssh.PublicKeys(key)
	}
	path, err := inv.File(inv.SSH.KnownHosts)
	if err != nil {
		return nil, err
	}
	known, err := knownhosts.New(path)
	if err != nil {
		return nil, fmt.Errorf("reading the known host keys: %w", err)
	}
	check := func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := known(host, remote, key)
		if unknown := (*knownhosts.KeyError)(nil); errors.As(err, &unknown) {
			return fmt.Errorf("refusing the host key %s of %s: it is not the one in %s (hint: ssh-keyscan, compared with what the controller shows)", ssh.FingerprintSHA256(key), address, path)
		}
		return err
	}
	return &shell{user: user, address: address, config: &ssh.ClientConfig{User: user, Auth: []ssh.AuthMethod{auth}, HostKeyCallback: check, Timeout: shellTimeout}}, nil
}

// run runs a command, on a new connection where the one that stood has ended.
func (s *shell) run(ctx context.Context, line string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, shellTimeout, fmt.Errorf("no answer within %s", shellTimeout))
	defer cancel()
	for again := true; ; again = false {
		session, fresh, err := s.session(ctx)
		if err != nil {
			return nil, fmt.Errorf("connecting to %s: %w", s.address, err)
		}
		out, err := output(ctx, session, line)
		exit := (*ssh.ExitError)(nil)
		switch {
		case err == nil:
			return out, nil
		case errors.As(err, &exit):
			return out, fmt.Errorf("%s: %q ended with code %d: %s", s.address, line, exit.ExitStatus(), bytes.TrimSpace(out))
		}
		s.drop()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %q: %w", s.address, line, context.Cause(ctx))
		}
		if fresh || !again {
			return nil, fmt.Errorf("%s: %q: %w", s.address, line, err)
		}
	}
}

func (s *shell) session(ctx context.Context) (session *ssh.Session, fresh bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		if session, err := s.client.NewSession(); err == nil {
			return session, false, nil
		}
		s.client.Close()
		s.client = nil
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, true, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // the handshake knows no context
	defer stop()
	c, channels, requests, err := ssh.NewClientConn(conn, s.address, s.config)
	if err != nil {
		conn.Close()
		return nil, true, err
	}
	s.client = ssh.NewClient(c, channels, requests)
	session, err = s.client.NewSession()
	return session, true, err
}

func (s *shell) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		s.client.Close()
		s.client = nil
	}
}

// output runs a command to its end, or closes its session when ctx ends.
func output(ctx context.Context, session *ssh.Session, line string) ([]byte, error) {
	defer session.Close()
	stop := context.AfterFunc(ctx, func() { session.Close() })
	defer stop()
	return session.CombinedOutput(line)
}

// Close ends the connection.
func (s *shell) Close() error {
	s.drop()
	return nil
}

// Set writes the port's number behind the word "id": without it swctrl takes the order for all ports.
func (s *shell) Set(ctx context.Context, port int, on bool) error {
	mode := "off"
	if on {
		mode = "auto"
	}
	_, err := s.run(ctx, fmt.Sprintf("swctrl poe set %s id %d", mode, port))
	return err
}

// Ports reads swctrl's table of power and, for links and neighbours, what the switch reports to its controller.
func (s *shell) Ports(ctx context.Context) ([]Port, error) {
	table, err := s.run(ctx, "swctrl poe show")
	if err != nil {
		return nil, err
	}
	ports, err := parsePoE(table)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.address, err)
	}
	report, err := s.run(ctx, "mca-dump")
	if err != nil {
		return nil, err
	}
	var d unifiDevice
	if err := json.Unmarshal(report, &d); err != nil {
		return nil, fmt.Errorf("%s: reading the output of mca-dump: %w", s.address, err)
	}
	for _, p := range d.Ports {
		if i := slices.IndexFunc(ports, func(q Port) bool { return q.Index == p.Index }); i >= 0 {
			ports[i].Link, ports[i].Uplink = p.Up, p.Uplink
		} else {
			ports = append(ports, Port{Index: p.Index, Power: Off, Link: p.Up, Uplink: p.Uplink})
		}
	}
	for _, n := range d.LLDP {
		var mac inventory.MAC
		i := slices.IndexFunc(ports, func(q Port) bool { return q.Index == n.Port })
		if i >= 0 && mac.UnmarshalText([]byte(n.Chassis)) == nil && !mac.IsZero() {
			ports[i].Neighbours = append(ports[i].Neighbours, mac)
		}
	}
	return ports, nil
}

// poeLine is a line of `swctrl poe show`:
//
//	Port  OpMode      HpMode    PwrLimit   Class   PoEPwr  PwrGood  Power(W)  Voltage(V)  Current(mA)
//	   1    Auto        Dot3at        -1  Class 4      On     Good      7.90       53.74       147.00
var poeLine = regexp.MustCompile(`^\s*(\d+)\s+(\S+)\s+\S+\s+-?\d+\s+(Class \d+|\S+)\s+(On|Off)\s+(\S+)\s+(\d+(?:\.\d+)?)\s`)

func parsePoE(table []byte) ([]Port, error) {
	var ports []Port
	for line := range strings.Lines(string(table)) {
		m := poeLine.FindStringSubmatch(line)
		if m == nil {
			continue // the total, headings, rules
		}
		i, err := strconv.Atoi(m[1])
		if err != nil {
			return nil, fmt.Errorf("reading the output of swctrl: %w", err)
		}
		watts, err := strconv.ParseFloat(m[6], 64)
		if err != nil {
			return nil, fmt.Errorf("reading the output of swctrl: %w", err)
		}
		p := Port{Index: i, Power: Off, Enabled: !strings.EqualFold(m[2], "off"), Class: m[3], Watts: &watts}
		if m[4] == "On" {
			p.Power = On
		}
		if slices.ContainsFunc(ports, func(q Port) bool { return q.Index == i }) {
			return nil, fmt.Errorf("reading the output of swctrl: port %d is there twice", i)
		}
		ports = append(ports, p)
	}
	if len(ports) == 0 {
		return nil, errors.New("reading the output of swctrl: it has no line for a port")
	}
	return ports, nil
}
