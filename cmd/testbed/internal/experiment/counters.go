// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// edge says which edge of the window is read.
type edge string

const (
	edgeStart edge = "start"
	edgeEnd   edge = "end"
)

// counterScript reads a node's counters at the instant $at. What reading itself costs stays outside
// of the window of /proc/stat, which is read last at the start and first at the end. Memory counts
// at the end alone: looking at every process as the window opens would delay the first requests.
//
// CPU time comes from cgroups, for pods, their containers and systemd's services: cpuacct.usage in
// ns of v1, usage_usec in cpu.stat of v2. On a hybrid host systemd makes services no cpuacct cgroup,
// but one in the unified hierarchy, whose cpu.stat needs no controller.
const counterScript = `
export LC_ALL=C
d=$((at - $(date +%s%N))); [ $d -gt 0 ] && sleep "$((d / 1000000000)).$(printf %09d $((d % 1000000000)))"
stat() { echo "@stat $(date +%s%N)"; grep '^cpu ' /proc/stat; }
[ $edge = start ] || stat
echo @cgroup1; grep -sH . /sys/fs/cgroup/cpuacct/kubepods*/pod*/cpuacct.usage /sys/fs/cgroup/cpuacct/kubepods*/pod*/*/cpuacct.usage /sys/fs/cgroup/cpuacct/kubepods*/*/*pod*/cpuacct.usage /sys/fs/cgroup/cpuacct/kubepods*/*/*pod*/*/cpuacct.usage
echo @cgroup2; grep -sH ^usage_usec /sys/fs/cgroup/kubepods*/*pod*/cpu.stat /sys/fs/cgroup/kubepods*/*pod*/*/cpu.stat /sys/fs/cgroup/kubepods*/*/*pod*/cpu.stat /sys/fs/cgroup/kubepods*/*/*pod*/*/cpu.stat /sys/fs/cgroup/system.slice/*.service/cpu.stat /sys/fs/cgroup/unified/system.slice/*.service/cpu.stat
if [ $edge = end ]; then
echo @procs; cat /proc/[0-9]*/stat 2>/dev/null
echo @units; grep -sHE 'name=systemd:|^0::' /proc/[0-9]*/cgroup
fi
echo @net; cat /proc/net/dev
echo @tcp; grep ^Tcp: /proc/net/snmp
echo @throttle; vcgencmd get_throttled 2>/dev/null; grep -sH . /sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count
[ $edge = end ] || stat
echo @end
`

// tick is USER_HZ, the unit of times in /proc: 100 a second on every Linux that Go runs on.
const tick = time.Second / 100

// reading is a node's counters at one instant.
type reading struct {
	at                   time.Time
	busy, softirq, total time.Duration            // of all CPUs
	cgroups              map[string]time.Duration // CPU time by cgroup, e.g. kubepods/besteffort/pod<uid>/<id> or system.slice/unbound.service
	procs                map[int]process          // at the end of the window alone
	rx, tx               int64                    // bytes of all interfaces but lo and those of pods
	rxPackets, txPackets int64                    // likewise
	connections          int64                    // TCP connections opened and accepted
	power                uint64                   // what a Raspberry Pi's firmware says of its throttling: bits, see throttled
	heat                 int64                    // how often CPUs were throttled by heat, summed up
}

// process is one row of /proc.
type process struct {
	unit string // its cgroup, as in reading.cgroups
	rss  int64  // bytes
}

// readCounters reads node's counters at the instant at.
func readCounters(ctx context.Context, nodes Nodes, node string, at time.Time, e edge) (*reading, error) {
	out, err := nodes.Shell(ctx, node, fmt.Sprintf("at=%d edge=%s\n%s", at.UnixNano(), e, counterScript), nil)
	if err != nil {
		return nil, fmt.Errorf("reading counters: %w", err)
	}
	r, err := parseReading(out)
	if err != nil {
		return nil, fmt.Errorf("reading counters of %s: %w", node, err)
	}
	return r, nil
}

func parseReading(out []byte) (*reading, error) {
	r := &reading{cgroups: map[string]time.Duration{}, procs: map[int]process{}}
	units := map[int]string{}
	section := ""
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "@") {
			var at string
			section, at, _ = strings.Cut(line, " ")
			if section == "@stat" {
				ns, err := strconv.ParseInt(at, 10, 64)
				if err != nil {
					return nil, fmt.Errorf("parsing %q: %w", line, err)
				}
				r.at = time.Unix(0, ns)
			}
			continue
		}
		var err error
		switch section {
		case "@stat":
			err = r.parseStat(line)
		case "@cgroup1":
			err = r.parseCgroup(line, time.Nanosecond)
		case "@cgroup2":
			err = r.parseCgroup(line, time.Microsecond)
		case "@procs":
			err = r.parseProcess(line)
		case "@units":
			parseUnit(line, units)
		case "@net":
			err = r.parseNet(line)
		case "@tcp":
			err = r.parseTCP(line)
		case "@throttle":
			err = r.parseThrottle(line)
		}
		if err != nil {
			return nil, fmt.Errorf("parsing %q: %w", line, err)
		}
	}
	if section != "@end" || r.total == 0 {
		return nil, fmt.Errorf("the output ends early, in section %q", section)
	}
	for pid, p := range r.procs {
		p.unit = units[pid]
		r.procs[pid] = p
	}
	return r, lines.Err()
}

// parseStat reads "cpu user nice system idle iowait irq softirq steal guest guest_nice" (proc(5));
// guest time is within user time.
func (r *reading) parseStat(line string) error {
	fields := strings.Fields(line)
	if len(fields) < 9 {
		return fmt.Errorf("%d fields", len(fields))
	}
	var t [8]time.Duration
	for i := range t {
		n, err := strconv.ParseInt(fields[i+1], 10, 64)
		if err != nil {
			return err
		}
		t[i] = time.Duration(n) * tick
		r.total += t[i]
	}
	r.busy = r.total - t[3] - t[4]
	r.softirq = t[6]
	return nil
}

// parseCgroup reads "/sys/fs/cgroup/…/kubepods/…/cpuacct.usage:123" or "…/cpu.stat:usage_usec 123".
func (r *reading) parseCgroup(line string, unit time.Duration) error {
	file, value, ok := strings.Cut(line, ":")
	dir := file[:max(strings.LastIndexByte(file, '/'), 0)]
	name := unitOf(dir)
	if !ok || name == "" {
		return fmt.Errorf("no cgroup")
	}
	n, err := strconv.ParseInt(strings.TrimPrefix(value, "usage_usec "), 10, 64)
	if err != nil {
		return err
	}
	r.cgroups[name] = time.Duration(n) * unit
	return nil
}

// unitOf cuts a path of a cgroup down to what is the same in every hierarchy: from kubepods or
// system.slice on. It is empty for other cgroups.
func unitOf(path string) string {
	for i := 0; i < len(path); {
		rest := path[i:]
		if strings.HasPrefix(rest, "kubepods") || strings.HasPrefix(rest, "system.slice/") {
			return rest
		}
		next := strings.IndexByte(rest, '/')
		if next < 0 {
			return ""
		}
		i += next + 1
	}
	return ""
}

// parseProcess reads a line of /proc/PID/stat (proc(5)). The command name in parentheses may hold anything.
func (r *reading) parseProcess(line string) error {
	open, shut := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 1 || shut < open {
		return fmt.Errorf("no command name")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line[:open]))
	if err != nil {
		return err
	}
	const first = 3 // the number that proc(5) gives the field after the name
	fields := strings.Fields(line[shut+1:])
	if len(fields) < 24-first+1 {
		return fmt.Errorf("%d fields", len(fields))
	}
	pages, err := strconv.ParseInt(fields[24-first], 10, 64)
	if err != nil {
		return err
	}
	r.procs[pid] = process{rss: pages * pageSize}
	return nil
}

// pageSize is that of amd64 and of the Raspberry Pi OS kernels that the nodes run.
const pageSize = 4096

// parseUnit reads "/proc/123/cgroup:1:name=systemd:/system.slice/x.service". Of two lines the one that names a unit holds.
func parseUnit(line string, units map[int]string) {
	file, entry, _ := strings.Cut(line, ":")
	pid, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(file, "/proc/"), "/cgroup"))
	if err != nil {
		return
	}
	_, path, _ := strings.Cut(entry, ":/")
	if u := unitOf(path); u != "" {
		units[pid] = u
	}
}

// parseNet reads "  eth0: rx-bytes packets … tx-bytes …" (8 columns each). A pod's veth carries
// again what the node's own interface carried.
func (r *reading) parseNet(line string) error {
	name, counters, ok := strings.Cut(line, ":")
	name = strings.TrimSpace(name)
	if !ok || name == "lo" || strings.HasPrefix(name, "veth") {
		return nil
	}
	fields := strings.Fields(counters)
	if len(fields) < 16 {
		return fmt.Errorf("%d columns", len(fields))
	}
	for column, sum := range map[int]*int64{0: &r.rx, 1: &r.rxPackets, 8: &r.tx, 9: &r.txPackets} {
		n, err := strconv.ParseInt(fields[column], 10, 64)
		if err != nil {
			return err
		}
		*sum += n
	}
	return nil
}

// parseTCP reads the counters of RFC 1213's tcp group in /proc/net/snmp, which count IPv6 too: a line of names, which is left out,
// and "Tcp: 1 200 120000 -1 active-opens passive-opens …".
func (r *reading) parseTCP(line string) error {
	fields := strings.Fields(line)
	if len(fields) < 7 {
		return fmt.Errorf("%d fields", len(fields))
	}
	if fields[5] == "ActiveOpens" {
		return nil
	}
	for _, text := range fields[5:7] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		r.connections += n
	}
	return nil
}

// parseThrottle reads "throttled=0x50000", or "/sys/…/core_throttle_count:7".
func (r *reading) parseThrottle(line string) (err error) {
	if bits, ok := strings.CutPrefix(line, "throttled="); ok {
		r.power, err = strconv.ParseUint(bits, 0, 64)
		return err
	}
	_, count, _ := strings.Cut(line, ":")
	n, err := strconv.ParseInt(count, 10, 64)
	r.heat += n
	return err
}

// Bits of vcgencmd get_throttled (Raspberry Pi documentation, "vcgencmd"): what holds now, and 16 bits above it what has been the
// case since the boot.
const (
	underVoltage  = 1 << 0
	capped        = 1 << 1
	slowed        = 1 << 2
	softLimit     = 1 << 3
	sinceBoot     = 16
	everThrottled = underVoltage | capped | slowed | softLimit
)

// throttled says in words what slowed the node's CPUs between two readings; empty for nothing.
func throttled(start, end *reading) string {
	now := (start.power | end.power) & everThrottled
	since := (end.power &^ start.power) >> sinceBoot & everThrottled // came to be within
	var why []string
	for _, b := range []struct {
		bit  uint64
		text string
	}{{underVoltage, "under-voltage"}, {capped, "frequency capped"}, {slowed, "throttled"}, {softLimit, "soft temperature limit"}} {
		if (now|since)&b.bit != 0 {
			why = append(why, b.text)
		}
	}
	if n := end.heat - start.heat; n > 0 {
		why = append(why, fmt.Sprintf("throttled by heat %d times", n))
	}
	return strings.Join(why, ", ")
}
