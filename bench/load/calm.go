// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// A virtual machine's host may give its processors to others. What is measured meanwhile says nothing of a generator.
const (
	tolerable = 0.03 // of the processors' time, stolen during a measurement
	retries   = 4    // of one that was disturbed
)

// patience is how long a comparison waits in all for a host that has time for it.
type patience struct{ left time.Duration }

// calm waits until nothing is stolen over a second, as long as patience lasts.
func (p *patience) calm() error {
	for p.left > 0 {
		from, err := readStolen()
		if err != nil {
			return err
		}
		time.Sleep(time.Second) // steal is known as a sum over time alone
		share, err := from.since()
		if err != nil || share <= tolerable {
			return err
		}
		p.left -= time.Second
	}
	return nil
}

// undisturbed repeats a measurement while others took the processors, and returns the share that they had in the end.
func (p *patience) undisturbed(measure func() error) (share float64, err error) {
	for try := 0; ; try++ {
		if err := p.calm(); err != nil {
			return 0, err
		}
		from, err := readStolen()
		if err != nil {
			return 0, err
		}
		if err := measure(); err != nil {
			return 0, err
		}
		if share, err = from.since(); err != nil || share <= tolerable || try == retries {
			return share, err
		}
		fmt.Fprintf(os.Stderr, "the host took %.0f %% of the processors' time: once more\n", 100*share)
	}
}

// stolen is time, in ticks, that the processors of this machine were others' (proc_stat(5)), of all time.
type stolen struct{ taken, all float64 }

func readStolen() (s stolen, err error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return s, err
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 {
		return s, fmt.Errorf("/proc/stat begins with %q", line)
	}
	for i, f := range fields[1:9] { // guests' time is in user's already
		n, err := strconv.ParseFloat(string(f), 64)
		if err != nil {
			return s, fmt.Errorf("reading /proc/stat: %w", err)
		}
		s.all += n
		if i == 7 {
			s.taken = n
		}
	}
	return s, nil
}

// since is the share that others took since from.
func (s stolen) since() (float64, error) {
	now, err := readStolen()
	if err != nil || now.all == s.all {
		return 0, err
	}
	return (now.taken - s.taken) / (now.all - s.all), nil
}
