// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Others may have the processors: programs of this machine, or other machines of its host, to which it gives them. What is
// measured meanwhile says nothing of a generator.
const (
	tolerable = 0.04 // of the processors' time, others' during a measurement
	retries   = 6    // of one that was disturbed
)

// patience is how long a comparison waits in all for a machine that has nothing else to do.
type patience struct{ left time.Duration }

// calm waits until others take nothing for a second, as long as patience lasts. Nothing of ours runs meanwhile.
func (p *patience) calm() error {
	for p.left > 0 {
		from, err := readTicks()
		if err != nil {
			return err
		}
		time.Sleep(time.Second) // the kernel tells sums over time alone
		to, err := readTicks()
		if err != nil || to.busy-from.busy <= tolerable*(to.all-from.all) {
			return err
		}
		p.left -= time.Second
	}
	return nil
}

// undisturbed repeats a measurement while others take the processors, and returns the share that they had in the end. What
// is measured says how much of the processors' time was its own.
func (p *patience) undisturbed(measure func() (own time.Duration, err error)) (share float64, err error) {
	for try := 0; ; try++ {
		if err := p.calm(); err != nil {
			return 0, err
		}
		from, err := readTicks()
		if err != nil {
			return 0, err
		}
		spinners, err := keepAwake()
		if err != nil {
			return 0, err
		}
		own, err := measure()
		for _, s := range spinners {
			own += s.kill()
		}
		if err != nil {
			return 0, err
		}
		to, err := readTicks()
		if err != nil {
			return 0, err
		}
		if share = max((to.busy-from.busy-own.Seconds()*ticksPerSecond)/max(to.all-from.all, 1), 0); share <= tolerable || try == retries || p.left <= 0 {
			return share, nil
		}
		fmt.Fprintf(os.Stderr, "others took %.0f %% of the processors' time: once more\n", 100*share)
	}
}

// keepAwake gives every processor something to do when it has nothing else to do (SCHED_IDLE): one that halts may be given to
// other machines of its host, and comes back milliseconds after the timer that should have woken it.
func keepAwake() (spinners []*process, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	for core := range runtime.NumCPU() {
		p, err := start(core, "chrt", "-i", "0", self, "spin")
		if err != nil {
			for _, s := range spinners {
				s.kill()
			}
			return nil, err
		}
		spinners = append(spinners, p)
	}
	return spinners, nil
}

// spin never returns.
func spin() {
	runtime.GOMAXPROCS(1)
	//lint:ignore SA5002 it is to spin
	for {
	}
}

// ticksPerSecond of the kernel's accounts (sysconf(_SC_CLK_TCK)); every Linux of today has 100.
const ticksPerSecond = 100

// ticks are times of all processors together since the start (proc_stat(5)): busy with programs or interrupts, or taken by the
// host, and in all.
type ticks struct{ busy, all float64 }

func readTicks() (t ticks, err error) {
	fields, err := readFields("/proc/stat", "\n")
	if err != nil || len(fields) < 9 {
		return t, fmt.Errorf("/proc/stat begins with %q: %w", fields, err)
	}
	for i, f := range fields[1:9] { // guests' time is in user's already
		n, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return t, fmt.Errorf("reading /proc/stat: %w", err)
		}
		t.all += n
		if i != 3 && i != 4 { // idle, and waiting for a disk
			t.busy += n
		}
	}
	return t, nil
}

// used is the CPU time of a process that runs.
func (p *process) used() (time.Duration, error) {
	path := fmt.Sprintf("/proc/%d/stat", p.Process.Pid)
	fields, err := readFields(path, "")
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(fields, func(f string) bool { return strings.HasSuffix(f, ")") }) // a name without spaces
	if i < 0 || len(fields) < i+14 {
		return 0, fmt.Errorf("%s is %q", path, fields)
	}
	user, err1 := strconv.Atoi(fields[i+12])
	system, err2 := strconv.Atoi(fields[i+13])
	return time.Duration(user+system) * time.Second / ticksPerSecond, errors.Join(err1, err2)
}

// readFields returns what is written in a file up to end.
func readFields(path, end string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text := string(data)
	if end != "" {
		text, _, _ = strings.Cut(text, end)
	}
	return strings.Fields(text), nil
}
