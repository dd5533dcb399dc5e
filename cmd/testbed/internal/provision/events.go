// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
)

// event is one line of the callback plugin testbed_events.
type event struct {
	Event   string
	Task    string
	Role    string
	Host    string
	Status  string
	Message string
}

// follower turns the events of a playbook run into progress for people, and keeps what failed.
type follower struct {
	out io.Writer
	log *slog.Logger

	task     string // "role: task", of the last task event
	changed  int    // hosts that the task has changed
	ran      int    // hosts that it ran on
	failures []event
}

// follow reads events until r ends. Lines that are none of them are Ansible's own words, for the log.
func (f *follower) follow(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 4<<20) // a failed module may have much to say
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Event == "" {
			f.log.Debug("ansible", "says", lines.Text())
			continue
		}
		f.event(e)
	}
	f.flush()
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading Ansible's events: %w", err)
	}
	return nil
}

func (f *follower) event(e event) {
	switch e.Event {
	case "task":
		f.flush()
		f.task = e.Task
		if e.Role != "" {
			f.task = e.Role + ": " + e.Task
		}
	case "result":
		switch e.Status {
		case "changed":
			f.changed++
			f.ran++
		case "ok":
			f.ran++
		case "failed", "unreachable":
			f.failures = append(f.failures, e)
		}
	}
}

// flush prints the line of a task that is over; one that ran nowhere has none.
func (f *follower) flush() {
	if f.ran > 0 {
		fmt.Fprintf(f.out, "      %s … %d of %d changed\n", f.task, f.changed, f.ran)
	}
	f.task, f.changed, f.ran = "", 0, 0
}

// err returns what failed, on which hosts and why; nil if nothing did. Hosts on which a task failed alike share a line.
func (f *follower) err() error {
	var order []string
	hosts := map[string][]string{}
	for _, e := range f.failures {
		where := e.Task
		if e.Role != "" {
			where = e.Role + ": " + e.Task
		}
		what := fmt.Sprintf("task %q %s: %s", where, e.Status, indent(e.Message))
		if hosts[what] == nil {
			order = append(order, what)
		}
		hosts[what] = append(hosts[what], e.Host)
	}
	var lines []error
	for _, what := range order {
		slices.Sort(hosts[what])
		lines = append(lines, fmt.Errorf("%s: %s", strings.Join(hosts[what], ", "), what))
	}
	return errors.Join(lines...)
}

// errOf returns what failed on one host; nil if nothing did.
func (f *follower) errOf(host string) error {
	one := follower{}
	for _, e := range f.failures {
		if e.Host == host {
			one.failures = append(one.failures, e)
		}
	}
	return one.err()
}

// indent keeps a message of many lines in one block under its first.
func indent(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}
