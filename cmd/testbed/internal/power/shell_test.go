// SPDX-License-Identifier: Apache-2.0

package power

import (
	"crypto/ed25519"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// fakeShell is an SSH server with UniFi's swctrl behind it.
type fakeShell struct {
	address string
	host    ssh.Signer

	mu      sync.Mutex
	off     map[int]bool
	conns   []net.Conn
	lines   []string
	ignore  bool
	garbage bool
}

const fakePorts = 16

func newFakeShell(t *testing.T, client ssh.PublicKey) *fakeShell {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeShell{off: make(map[int]bool)}
	if f.host, err = ssh.NewSignerFromKey(private); err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if c.User() != "ui" || string(key.Marshal()) != string(client.Marshal()) {
			return nil, fmt.Errorf("no entry for %s", c.User())
		}
		return nil, nil
	}}
	config.AddHostKey(f.host)
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f.address = l.Addr().String()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, conn)
			f.mu.Unlock()
			go f.serve(conn, config)
		}
	}()
	return f
}

func (f *fakeShell) serve(conn net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		go func() {
			defer channel.Close()
			for req := range requests {
				if req.Type != "exec" {
					_ = req.Reply(false, nil)
					continue
				}
				_ = req.Reply(true, nil)
				var line struct{ Text string }
				_ = ssh.Unmarshal(req.Payload, &line)
				out, code := f.exec(line.Text)
				_, _ = channel.Write([]byte(out))
				_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(code)}))
				return
			}
		}()
	}
}

func (f *fakeShell) exec(line string) (out string, code int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, line)
	words := strings.Fields(line)
	switch {
	case f.garbage:
		return "BusyBox says hello\n", 0
	case line == "swctrl poe show":
		b := "Total Power Limit(mW): 400000\n\n" +
			"Port  OpMode      HpMode    PwrLimit   Class   PoEPwr  PwrGood  Power(W)  Voltage(V)  Current(mA)\n" +
			"                              (mW)\n" +
			"----  ------  ------------  --------  -------  ------  -------  --------  ----------  -----------\n"
		for i := 1; i <= fakePorts; i++ {
			if f.off[i] {
				b += fmt.Sprintf("%4d     Off        Dot3at        -1  Unknown     Off      Bad      0.00        0.00         0.00\n", i)
			} else {
				b += fmt.Sprintf("%4d    Auto        Dot3at        -1  Class 4      On     Good      %.2f       53.74       147.00\n", i, 3+float64(i)/10)
			}
		}
		return b, 0
	case line == "mca-dump":
		var ports, lldp []any
		for i := 1; i <= fakePorts+2; i++ {
			ports = append(ports, map[string]any{"port_idx": i, "up": !f.off[i], "is_uplink": i == fakePorts+1})
			if !f.off[i] && i <= 4 {
				lldp = append(lldp, map[string]any{"local_port_idx": i, "chassis_id": fmt.Sprintf("00:00:5e:00:53:%02x", i)})
			}
		}
		text, _ := json.Marshal(map[string]any{"port_table": ports, "lldp_table": lldp})
		return string(text), 0
	case len(words) >= 4 && strings.HasPrefix(line, "swctrl poe set "):
		if f.ignore {
			return "", 0
		}
		off := words[3] == "off"
		// As the real one: what follows is the port only behind "id"; otherwise all are meant.
		if len(words) == 6 && words[4] == "id" {
			i, _ := strconv.Atoi(words[5])
			f.off[i] = off
			return "", 0
		}
		for i := 1; i <= fakePorts; i++ {
			f.off[i] = off
		}
		return "", 0
	}
	return "-sh: " + line + ": not found\n", 127
}

// shellInventory returns an inventory whose switch is the fake.
func shellInventory(t *testing.T, nodes int) (*fakeShell, *inventory.Inventory) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	f := newFakeShell(t, signer.PublicKey())
	dir := t.TempDir()
	for name, data := range map[string]string{"key": string(pem.EncodeToMemory(block)), "known_hosts": knownhosts.Line([]string{f.address}, f.host.PublicKey()) + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	inv := rackInventory(nodes, inventory.Switch{Name: "switch-1", Driver: inventory.DriverSSH, Ports: fakePorts + 2, BudgetWatts: 400, SSH: "ui@" + f.address, Credentials: "key"})
	inv.Path, inv.SSH.KnownHosts = filepath.Join(dir, "inventory.yaml"), "known_hosts"
	return f, inv
}

func TestShell(t *testing.T) {
	f, inv := shellInventory(t, 4)
	r, _ := newRack(t, inv)
	if err := r.Off(t.Context(), "worker-2"); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	for i := range fakePorts {
		if f.off[i+1] != (i+1 == 2) {
			t.Errorf("port %d is off: %v", i+1, f.off[i+1])
		}
	}
	// The switch restarts its SSH server: the next order comes on a new connection.
	for _, c := range f.conns {
		c.Close()
	}
	f.mu.Unlock()
	if err := r.On(t.Context(), "worker-2"); err != nil {
		t.Fatal(err)
	}
	if err := r.Cycle(t.Context(), "worker-3"); err != nil {
		t.Fatal(err)
	}
	watts, err := r.Watts(t.Context())
	if err != nil || watts["worker-4"] != 3.4 {
		t.Errorf("watts %v, %v", watts, err)
	}
	ports, err := r.Ports(t.Context())
	if err != nil || len(ports) != fakePorts+2 || ports[fakePorts].Denied != "it is the uplink of the switch" || ports[0].Class != "Class 4" {
		t.Errorf("ports %+v, %v", ports, err)
	}
}

func TestShellRefusals(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(f *fakeShell, inv *inventory.Inventory)
		want string
	}{
		{"does nothing", func(f *fakeShell, _ *inventory.Inventory) { f.ignore = true }, `switch-1 accepted "off" for port 1 and did nothing: 50ms later the port delivers 3.1 W`},
		{"another program", func(f *fakeShell, _ *inventory.Inventory) { f.garbage = true }, "reading the output of swctrl: it has no line for a port"},
		{"another user", func(_ *fakeShell, inv *inventory.Inventory) { inv.Switches[0].SSH = "root" + inv.Switches[0].SSH[2:] }, "unable to authenticate"},
		{
			"another machine", func(_ *fakeShell, inv *inventory.Inventory) {
				if err := os.WriteFile(filepath.Join(filepath.Dir(inv.Path), "known_hosts"), nil, 0o600); err != nil {
					panic(err)
				}
			}, "refusing the host key SHA256:",
		},
		{"nobody answers", func(_ *fakeShell, inv *inventory.Inventory) { inv.Switches[0].SSH = "ui@[::1]:9" }, "connecting to [::1]:9: "},
		{"no key", func(_ *fakeShell, inv *inventory.Inventory) { inv.Switches[0].Credentials = "missing" }, "opening switch-1: reading credentials: open "},
		{
			"key for all to read", func(_ *fakeShell, inv *inventory.Inventory) {
				if err := os.Chmod(filepath.Join(filepath.Dir(inv.Path), "key"), 0o644); err != nil {
					panic(err)
				}
			}, "(hint: chmod 600 ",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, inv := shellInventory(t, 1)
			c.set(f, inv)
			r, _ := newRack(t, inv)
			r.patience = 50 * time.Millisecond
			if err := r.Off(t.Context(), "worker-1"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func FuzzParsePoE(f *testing.F) {
	shell := &fakeShell{off: map[int]bool{3: true}}
	table, _ := shell.exec("swctrl poe show")
	f.Add([]byte(table))
	f.Add([]byte("   1    Auto        Dot3at     32000  Class 3      On     Good      4.63       53.24        87.00\n"))
	f.Add([]byte(" 1 Auto x 1 y On z 9e99 1\n 1 Auto x 1 y On z 1 1\n"))
	f.Fuzz(func(t *testing.T, table []byte) {
		ports, err := parsePoE(table)
		if (err == nil) != (len(ports) > 0) {
			t.Fatalf("%d ports with error %v", len(ports), err)
		}
		seen := make(map[int]bool)
		for _, p := range ports {
			if seen[p.Index] || p.Watts == nil || *p.Watts < 0 || p.Power == Unknown {
				t.Errorf("port %+v", p)
			}
			seen[p.Index] = true
		}
	})
}

// script writes a program that switches the ports of a file.
func script(t *testing.T, body string) *inventory.Inventory {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "switch.sh"), []byte("#!/bin/sh\ncd \""+dir+"\"\n"+body), 0o700); err != nil {
		t.Fatal(err)
	}
	inv := rackInventory(1, inventory.Switch{Name: "plug", Driver: inventory.DriverCommand, Ports: 4, BudgetWatts: 60, Command: []string{"./switch.sh", "first"}})
	inv.Path = filepath.Join(dir, "inventory.yaml")
	return inv
}

func TestCommand(t *testing.T) {
	const good = `
echo "$*" >>calls
case $2 in
ports) if [ -e off1 ]; then p=off e=false; else p=on e=true; fi
	echo "[{\"index\":1,\"power\":\"$p\",\"enabled\":$e,\"watts\":4.5}]" ;;
off) : >"off$3" ;;
on) rm -f "off$3" ;;
*) echo "what is $2?" >&2; exit 3 ;;
esac`
	inv := script(t, good)
	r := Open(inv, t.TempDir(), slog.New(slog.DiscardHandler))
	r.interval, r.dark = time.Millisecond, time.Millisecond
	if err := r.Cycle(t.Context(), "worker-1"); err != nil {
		t.Fatal(err)
	}
	calls, err := os.ReadFile(filepath.Join(filepath.Dir(inv.Path), "calls"))
	if err != nil || !strings.Contains(string(calls), "first off 1\n") || !strings.Contains(string(calls), "first on 1\n") {
		t.Errorf("calls %q, %v", calls, err)
	}
	if watts, err := r.Watts(t.Context()); err != nil || watts["worker-1"] != 4.5 {
		t.Errorf("watts %v, %v", watts, err)
	}
	for body, want := range map[string]string{
		`echo "the plug is gone" >&2; exit 1`: "exit status 1: the plug is gone",
		`echo '[{"index":1,"pwoer":"on"}]'`:   `unknown field "pwoer"`,
		`echo '[{"index":1,"power":"dim"}]'`:  `unknown power state "dim"`,
		`echo '[{"index":0,"power":"on"}]'`:   "index 0 is there twice or is none",
		`echo '[]'`:                           "plug has no port 1, where worker-1 is to be plugged in",
		`[ "$2" = ports ] && echo '[{"index":1,"power":"on","enabled":true}]'; exit 0`: `plug accepted "off" for port 1 and did nothing: 50ms later the port delivers power`,
	} {
		r := Open(script(t, body), t.TempDir(), slog.New(slog.DiscardHandler))
		r.interval, r.patience = time.Millisecond, 50*time.Millisecond
		if err := r.Off(t.Context(), "worker-1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}
