// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// machineChecks are about what changes while a node runs.
func machineChecks(b Bounds) []Check {
	return []Check{
		{
			Name: "throttling", Reads: "vcgencmd get_throttled", Bound: "0x0",
			Cure:   "a supply of 5 A and a fan that turns; what happened since boot is forgotten at the next: testbed power cycle NODE",
			Boards: true, Stops: true,
			Script: `if command -v vcgencmd >/dev/null; then vcgencmd get_throttled | cut -d= -f2
elif grep -q "Raspberry Pi" /proc/device-tree/model; then cat /sys/devices/platform/soc*/soc*firmware/get_throttled || echo unknown; fi`,
			Judge: judgeThrottled,
		},
		{
			Name: "temperature", Reads: "/sys/class/thermal", Bound: fmt.Sprintf("below %g °C", b.Celsius),
			Cure:   "a fan that turns, room between the boards",
			Kernel: true, Stops: true,
			Script: `cat /sys/class/thermal/thermal_zone*/temp | sort -n | tail -n 1`,
			Judge: func(v string) (string, bool) {
				milli, err := strconv.ParseFloat(v, 64)
				if err != nil {
					return v, v == "" // a machine without a sensor
				}
				return fmt.Sprintf("%.1f °C", milli/1000), milli/1000 < b.Celsius
			},
		},
		{
			Name: "governor", Reads: "cpufreq/scaling_governor", Bound: "performance on every CPU",
			Cure:   "testbed up sets it; by hand: echo performance | tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
			Kernel: true,
			Script: `cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor | sort -u | paste -s -d' '`,
			Judge:  func(v string) (string, bool) { return v, v == "" || v == "performance" }, // a machine of one speed has none
		},
		{
			Name: "free space", Reads: "df of /, /var/lib/containerd and /tmp", Bound: "at least " + gib(b.FreeBytes),
			Cure:   "testbed ssh NODE -- du -xh / --max-depth=3 | sort -h | tail; journalctl --vacuum-size=100M",
			Stops:  true,
			Script: `df -P -k / /var/lib/containerd /tmp | awk 'NR > 1 {print $4, $6}' | sort -n | head -n 1`,
			Judge: func(v string) (string, bool) {
				kib, at, _ := strings.Cut(v, " ")
				n, err := strconv.ParseUint(kib, 10, 64)
				if err != nil {
					return "unknown", false
				}
				return fmt.Sprintf("%s on %s", gib(n<<10), at), n<<10 >= b.FreeBytes
			},
		},
		{
			Name: "memory", Reads: "MemAvailable of /proc/meminfo", Bound: "at least " + gib(b.MemoryBytes),
			Cure:   "testbed ssh NODE -- ps -eo rss,comm --sort=-rss | head",
			Kernel: true, Stops: true,
			Script: `sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo`,
			Judge: func(v string) (string, bool) {
				n, err := strconv.ParseUint(v, 10, 64)
				if err != nil {
					return "unknown", false
				}
				return gib(n << 10), n<<10 >= b.MemoryBytes
			},
		},
		{
			Name: "swap", Reads: "/proc/swaps", Bound: "none",
			Cure:   "dphys-swapfile swapoff && systemctl disable --now dphys-swapfile, or swapoff -a",
			Kernel: true, Boards: true,
			Script: `sed 1d /proc/swaps | awk '{print $1}' | paste -s -d' '`,
			Judge: func(v string) (string, bool) {
				if v == "" {
					return "none", true
				}
				return v, false
			},
		},
		{
			Name: "other load", Reads: "/proc/stat over a second", Bound: fmt.Sprintf("at most %.0f %% of the CPUs", 100*b.Busy),
			Cure:   "testbed ssh NODE -- top -b -n 1 | head -n 15; on a twin, what else runs on this machine",
			Kernel: true, Late: true,
			Script: `head -n 1 /proc/stat; sleep 1; head -n 1 /proc/stat`,
			Judge:  func(v string) (string, bool) { return judgeLoad(v, b.Busy) },
		},
		{
			Name: "chrony", Reads: "chronyc tracking", Bound: fmt.Sprintf("synchronised, off by at most %s", b.Chrony),
			Cure:   "testbed ssh NODE -- chronyc sources; testbed up sets it up; after a boot it needs a minute",
			Boards: true, Late: true, // the nodes of a twin share one clock
			Script: `chronyc -n -c tracking`,
			Judge:  func(v string) (string, bool) { return judgeChrony(v, b.Chrony) },
		},
		{
			Name: "units", Reads: "systemctl --failed", Bound: "none has failed",
			Cure:   "testbed logs NODE -u UNIT",
			Late:   true,
			Script: `systemctl list-units --failed --plain --no-legend --no-pager | awk '{print $1}' | paste -s -d' '`,
			Judge: func(v string) (string, bool) {
				if v == "" {
					return "none failed", true
				}
				return v, false
			},
		},
		{
			Name: "leftovers", Reads: "queueing disciplines, nftables, stopped processes, held pods, load generators", Bound: "none",
			Cure:   "testbed fault clear; testbed up does it too",
			Late:   true,
			Script: leftoverScript,
			Judge: func(v string) (string, bool) {
				if v == "" {
					return "none", true
				}
				return strings.ReplaceAll(v, "\n", ", "), false
			},
		},
	}
}

// leftoverScript lists what a trial may have left on a node.
const leftoverScript = `
tc qdisc show | awk '$2 == "netem" || $2 == "tbf" {print $2 " on " $5}'
nft list tables | awk '/testbed/ {print "nftables table " $3}'
ps -eo pid=,stat=,comm= | awk '$2 ~ /^[Tt]/ {print "stopped process " $1 " (" $3 ")"}'
ps -eo pid=,comm= | awk '$2 == "loadgen" {print "load generator " $1}'
ls /run/testbed/held | sed 's/^/pod kept from restarting: /'
find /sys/fs/cgroup -maxdepth 6 \( -name freezer.state -o -name cgroup.freeze \) -exec grep -lxE 'FROZEN|1' {} + | sed 's/^/frozen: /'
:`

// judgeThrottled reads the firmware's flags: bits 0 to 3 are now, bits 16 to 19 since boot.
func judgeThrottled(v string) (string, bool) {
	if v == "" {
		return "", true // no Raspberry Pi
	}
	bits, err := strconv.ParseUint(strings.TrimPrefix(v, "0x"), 16, 64)
	if err != nil {
		return "unknown", false
	}
	var what []string
	for i, name := range []string{"under-voltage", "frequency capped", "throttled", "soft temperature limit"} {
		switch {
		case bits>>i&1 != 0:
			what = append(what, name+" now")
		case bits>>(16+i)&1 != 0:
			what = append(what, name+" since boot")
		}
	}
	if bits == 0 {
		return "0x0", true
	}
	return fmt.Sprintf("%#x: %s", bits, strings.Join(what, ", ")), false
}

// judgeLoad compares two readings of the line "cpu" (proc(5)): what was neither idle nor waiting for a disk.
func judgeLoad(v string, bound float64) (string, bool) {
	first, second, _ := strings.Cut(v, "\n")
	a, okA := cpuTimes(first)
	b, okB := cpuTimes(second)
	if !okA || !okB {
		return "unknown", false
	}
	var all, idle float64
	for i := range a {
		d := b[i] - a[i]
		all += d
		if i == 3 || i == 4 {
			idle += d
		}
	}
	if all <= 0 {
		return "unknown", false
	}
	busy := 1 - idle/all
	return fmt.Sprintf("%.0f %%", 100*busy), busy <= bound
}

// cpuTimes returns user, nice, system, idle, iowait, irq, softirq and steal; what guests used is in user.
func cpuTimes(line string) ([8]float64, bool) {
	var t [8]float64
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return t, false
	}
	for i := range t {
		v, err := strconv.ParseFloat(fields[i+1], 64)
		if err != nil {
			return t, false
		}
		t[i] = v
	}
	return t, true
}

// judgeChrony reads the line of `chronyc -c tracking`: field 5 is how far the system's clock is off, the last is the leap status.
func judgeChrony(v string, bound time.Duration) (string, bool) {
	fields := strings.Split(v, ",")
	if len(fields) < 14 {
		return "no answer", false
	}
	seconds, err := strconv.ParseFloat(fields[4], 64)
	if err != nil {
		return "unknown", false
	}
	off := time.Duration(seconds * float64(time.Second)).Abs()
	leap := fields[13]
	known := slices.Contains([]string{"Normal", "Insert second", "Delete second"}, leap)
	return fmt.Sprintf("%s, off by %s", strings.ToLower(leap), off.Round(time.Microsecond)), known && off <= bound
}

func gib(bytes uint64) string { return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30)) }
