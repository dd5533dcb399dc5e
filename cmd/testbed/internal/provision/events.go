// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
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

// err returns what failed, on which host and why; nil if nothing did.
func (f *follower) err() error {
	if len(f.failures) == 0 {
		return nil
	}
	var b strings.Builder
	for i, e := range f.failures {
		if i > 0 {
			b.WriteByte('\n')
		}
		where := e.Task
		if e.Role != "" {
			where = e.Role + ": " + e.Task
		}
		fmt.Fprintf(&b, "%s: task %q %s: %s", e.Host, where, e.Status, indent(e.Message))
	}
	return fmt.Errorf("%s", b.String())
}

// indent keeps a message of many lines in one block under its first.
func indent(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}
