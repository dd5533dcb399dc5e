// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/miekg/dns"
)

// servePatience is how long these tests wait for what must come. It is no measure of speed.
const servePatience = 30 * time.Second

// sink keeps what is written to it.
type sink struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// startServe runs the command and returns the address that it listens on, and what else it prints.
func startServe(t *testing.T, log *sink, args ...string) (address string, out *sink) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	out = new(sink)
	code := make(chan int, 1)
	go func() {
		code <- cli.Run(ctx, command(strings.NewReader(""), out, log), append([]string{"serve", "--listen", "[::1]:0"}, args...), log)
	}()
	waitFor(t, "printed its address", func() bool {
		m := regexp.MustCompile(`(?m)^listening on (\S+) \(UDP and TCP\)$`).FindStringSubmatch(out.String())
		if m != nil {
			address = m[1]
		}
		return m != nil
	})
	t.Cleanup(func() {
		stop()
		if c := <-code; c != cli.ExitDone {
			t.Errorf("serve ended with %d: %v", c, log)
		}
	})
	return address, out
}

func serial(t *testing.T, address string) uint32 {
	t.Helper()
	c := &dns.Client{Timeout: servePatience}
	m, _, err := c.Exchange(new(dns.Msg).SetQuestion("example.org.", dns.TypeSOA), address)
	if err != nil {
		t.Fatal(err)
	}
	return m.Answer[0].(*dns.SOA).Serial
}

func zoneText(serial int, more string) string {
	return fmt.Sprintf("$ORIGIN example.org.\n$TTL 300\n@ SOA ns1 host %d 3600 600 86400 60\n@ NS ns1\nns1 AAAA 2001:db8::1\n%s", serial, more)
}

// waitFor waits until a condition holds.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(servePatience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never %s", what)
		}
	}
}

func TestServeFollowsItsFile(t *testing.T) {
	dir := t.TempDir()
	path, inner := filepath.Join(dir, "example.org.zone"), filepath.Join(dir, "hosts")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(path, zoneText(1, ""))
	log := new(sink)
	address, _ := startServe(t, log, "--zone-file", path)
	if got := serial(t, address); got != 1 {
		t.Errorf("serial %d", got)
	}
	// Written in place.
	write(path, zoneText(2, ""))
	waitFor(t, "served what was written in place", func() bool { return serial(t, address) == 2 })
	// Bad: the old zone stays, and the log says where.
	write(path, zoneText(3, "a A nonsense\n"))
	waitFor(t, "said what is wrong", func() bool { return strings.Contains(log.String(), "example.org.zone:6:") })
	if got := serial(t, address); got != 2 {
		t.Errorf("serial %d after a bad file", got)
	}
	// Another file in its place, with an include.
	write(inner, "b A 192.0.2.1\n")
	next := filepath.Join(dir, "next")
	write(next, zoneText(4, "$INCLUDE hosts\n"))
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "served the file that took its place", func() bool { return serial(t, address) == 4 })
	// What is included changes.
	write(inner, "b A 192.0.2.1\nc A 192.0.2.3\n")
	waitFor(t, "served what is included", func() bool {
		m, err := dns.Exchange(new(dns.Msg).SetQuestion("c.example.org.", dns.TypeA), address)
		return err == nil && len(m.Answer) == 1
	})
	if !strings.Contains(log.String(), "its serial did not move forward") {
		t.Error("no warning of a serial that stayed")
	}
	// The file goes and comes again.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "said that the file is gone", func() bool { return strings.Contains(log.String(), "no such file") })
	write(path, zoneText(5, ""))
	waitFor(t, "served the file that came again", func() bool { return serial(t, address) == 5 })
	// SIGHUP reads what no watch would tell of: an older time and the same size is no change of the file.
	before := strings.Count(log.String(), "loaded a zone")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "read again on SIGHUP", func() bool { return strings.Count(log.String(), "loaded a zone") > before })
}

func TestServeMetrics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(path, []byte(zoneText(1, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	address, out := startServe(t, new(sink), "--zone-file", path, "--metrics", "[::1]:0")
	serial(t, address)
	url := ""
	waitFor(t, "printed where metrics are", func() bool {
		url = regexp.MustCompile(`http://\S+/metrics`).FindString(out.String())
		return url != ""
	})
	waitFor(t, "counted the query", func() bool {
		text, err := get(url)
		return err == nil && strings.Contains(text, `dnsingress_dns_requests_total{family="2",proto="udp",type="SOA",zone="example.org."} 1`)
	})
}

// get returns what is at an address.
func get(url string) (string, error) {
	r, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return string(body), err
}

// TestExitCodes checks what the scripts cannot: which failure it is.
func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.zone")
	if err := os.WriteFile(bad, []byte(zoneText(1, "a A nonsense\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"check-zone", bad}, cli.ExitFailed},
		{[]string{"check-zone", filepath.Join(dir, "none")}, cli.ExitMisuse},
		{[]string{"check-zone"}, cli.ExitMisuse},
		{[]string{"lookup", "a", "A"}, cli.ExitMisuse},
		{[]string{"serve"}, cli.ExitMisuse},
		{[]string{"serve", "--zone-file", bad, "--listen", "[::1]:0"}, cli.ExitFailed},
	} {
		log := new(sink)
		if got := cli.Run(context.Background(), command(strings.NewReader(""), io.Discard, log), c.args, log); got != c.want {
			t.Errorf("%q ended with %d, want %d: %v", c.args, got, c.want, log)
		}
	}
}

// TestServeByLocation serves a file with options to clients whose locations change while it runs.
func TestServeByLocation(t *testing.T) {
	dir := t.TempDir()
	path, where := filepath.Join(dir, "zone"), filepath.Join(dir, "where.yaml")
	text := "example.org. 5 SOA ns1.example.org. host.example.org. 1 3600 600 86400 60\nexample.org. 5 NS ns1.example.org.\n" +
		"www.example.org. 5 A 192.0.2.1 ; geo IE\nwww.example.org. 5 A 192.0.2.2 ; geo *\n"
	for file, content := range map[string]string{path: text, where: "\"::1/128\": zone-a\n"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := new(sink)
	address, _ := startServe(t, log, "--zone-file", path, "--options", "--locations", where)
	answer := func() string {
		m := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
		reply, _, err := new(dns.Client).Exchange(m, address)
		if err != nil || len(reply.Answer) != 1 {
			t.Fatalf("%v: %v", err, reply)
		}
		return reply.Answer[0].(*dns.A).A.String()
	}
	if got := answer(); got != "192.0.2.2" {
		t.Fatalf("somebody in zone-a gets %s", got)
	}
	if err := os.WriteFile(where, []byte("\"::1/128\": zone-a//b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "complained", func() bool { return strings.Contains(log.String(), "keeping the old locations") })
	if err := os.WriteFile(where, []byte("\"::1/128\": IE\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "heard of the new place", func() bool { return answer() == "192.0.2.1" })
	// The file is read again in the same way.
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "192.0.2.1 ;", "192.0.2.3 ;")), 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "read the zone again", func() bool { return answer() == "192.0.2.3" })
}
