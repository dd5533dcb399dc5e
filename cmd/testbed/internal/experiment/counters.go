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
	rx, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return err
	}
	tx, err := strconv.ParseInt(fields[8], 10, 64)
	if err != nil {
		return err
	}
	r.rx, r.tx = r.rx+rx, r.tx+tx
	return nil
}
