// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/internal/disk"
)

// Work is one `testbed up`: which nodes it is about, how far each of them has come, and why some were given up. It is
// written to the cluster's state whenever a node comes further, so that a killed one can be gone on with.
type Work struct {
	path   string
	saying sync.Mutex
	out    io.Writer // a line for each node that ended a phase; nil: none

	mu     sync.Mutex
	record Record
	only   []string // names of nodes; nil: all
	resume bool
	cards  map[string]card // of boards, as this `up` has found or left them
}

// card is what is known of a board's card.
type card string

const (
	blank   card = "blank"   // the board does not answer, and is to be written
	written card = "written" // by this `up`
)

// Record is what the state file of a Work tells.
type Record struct {
	Inventory string              `json:"inventory"` // path of the file
	Digest    string              `json:"digest"`    // of what the file said
	Began     time.Time           `json:"began"`
	Ended     time.Time           `json:"ended,omitzero"` // zero: it runs, or was killed
	Accepted  []string            `json:"accepted,omitempty"`
	Nodes     map[string]Progress `json:"nodes"`
}

// Progress is how far a node has come.
type Progress struct {
	Done []string  `json:"done"` // phases, in the order in which the node ended them
	At   time.Time `json:"at"`   // of the last
	// GaveUp is the phase in which the node was given up, and Error why; both are empty while all is well with it.
	GaveUp string `json:"gave_up,omitempty"`
	Error  string `json:"error,omitempty"`
}

// ErrNothingToResume says that the last `up` ended well, or that there was none.
var ErrNothingToResume = errors.New("nothing to resume")

// NewWork begins an `up` on the nodes named (nil: all). With resume it goes on with the last one instead, if that did not
// end well: what nodes have done they do not do again, and those given up are tried again. Progress goes to out.
func (c *Cluster) NewWork(out io.Writer, only []string, resume bool) (*Work, error) {
	w := &Work{path: filepath.Join(c.StateDir, "up.json"), out: out, only: only, resume: resume}
	digest := c.Inventory.Digest()
	if resume {
		last, err := c.LastWork()
		switch {
		case err != nil:
			return nil, err
		case last == nil:
			return nil, fmt.Errorf("%w: no 'testbed up' of this cluster is known (hint: without --resume)", ErrNothingToResume)
		case last.Digest != digest:
			return nil, fmt.Errorf("resuming: the inventory is not the one of the last 'up' (hint: without --resume, which looks at every node again)")
		case !last.Ended.IsZero() && len(last.Failed()) == 0:
			return nil, fmt.Errorf("%w: the last 'testbed up' ended well at %s (hint: without --resume, which looks at every node again)",
				ErrNothingToResume, last.Ended.Local().Format(time.DateTime))
		}
		w.record = *last
		w.record.Ended = time.Time{}
		for name, p := range w.record.Nodes {
			p.GaveUp, p.Error = "", ""
			w.record.Nodes[name] = p
		}
		return w, nil
	}
	w.record = Record{Inventory: c.Inventory.Path, Digest: digest, Began: time.Now().UTC(), Nodes: map[string]Progress{}}
	return w, nil
}

// LastWork returns how far the last `up` came; nil if none is known.
func (c *Cluster) LastWork() (*Record, error) {
	path := filepath.Join(c.StateDir, "up.json")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading how far the last 'up' came: %w", err)
	}
	var r Record
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("reading how far the last 'up' came: %s: %w (hint: remove the file, 'testbed up' looks for itself)", path, err)
	}
	return &r, nil
}

// Failed returns the nodes that were given up, sorted.
func (r *Record) Failed() []string {
	var names []string
	for name, p := range r.Nodes {
		if p.GaveUp != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Of returns those of the nodes that are still worked on: within the limit, and not given up. A nil Work is about all.
func (w *Work) Of(nodes []inventory.Node) []inventory.Node {
	if w == nil {
		return nodes
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(nodes), func(n inventory.Node) bool {
		return w.only != nil && !slices.Contains(w.only, n.Name) || w.record.Nodes[n.Name].GaveUp != ""
	})
}

// Blank says whether a node does not answer because its card is still to be written.
func (w *Work) Blank(n inventory.Node) bool { return w.has(n, blank) }

// Written says whether this `up` has written a node's card.
func (w *Work) Written(n inventory.Node) bool { return w.has(n, written) }

func (w *Work) has(n inventory.Node, c card) bool {
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cards[n.Name] == c
}

func (w *Work) found(n inventory.Node, c card) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cards == nil {
		w.cards = map[string]card{}
	}
	w.cards[n.Name] = c
}

// Limited says whether some nodes were left out by the user.
func (w *Work) Limited() bool { return w != nil && w.only != nil }

// Done says whether the node ended the phase in the `up` that this one resumes. That a node answers is seen anew each time.
func (w *Work) Done(phase string, n inventory.Node) bool {
	if w == nil || !w.resume || phase == "meet" || phase == "boot" {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Contains(w.record.Nodes[n.Name].Done, phase)
}

// Finished writes down that a node has ended a phase.
func (w *Work) Finished(phase string, n inventory.Node) error {
	return w.change(n, func(p *Progress) {
		if !slices.Contains(p.Done, phase) {
			p.Done = append(p.Done, phase)
		}
		p.At = time.Now().UTC()
	})
}

// GiveUp leaves a node behind: later phases do without it, and `up` fails in the end.
func (w *Work) GiveUp(phase string, n inventory.Node, err error) error {
	if w == nil {
		return err
	}
	w.say("%s: given up: %s", n.Name, firstLine(err))
	return w.change(n, func(p *Progress) { p.GaveUp, p.Error = phase, err.Error() })
}

// Accept writes down what the user chose to live with.
func (w *Work) Accept(checks []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record.Accepted = checks
	return w.save()
}

// End writes down that the `up` is over, and returns an error with every node that was given up.
func (w *Work) End() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record.Ended = time.Now().UTC()
	if err := w.save(); err != nil {
		return err
	}
	failed := w.record.Failed()
	if len(failed) == 0 {
		return nil
	}
	lines := []string{fmt.Sprintf("%d nodes were given up (hint: when they are mended, 'testbed up --resume' does what is left)", len(failed))}
	for _, name := range failed {
		p := w.record.Nodes[name]
		lines = append(lines, fmt.Sprintf("  %s: %s: %s", name, p.GaveUp, strings.TrimPrefix(p.Error, name+": ")))
	}
	return errors.New(strings.Join(lines, "\n"))
}

func (w *Work) change(n inventory.Node, change func(*Progress)) error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.record.Nodes[n.Name]
	change(&p)
	w.record.Nodes[n.Name] = p
	return w.save()
}

// save writes the record whole or not at all.
func (w *Work) save() error {
	err := os.MkdirAll(filepath.Dir(w.path), 0o755)
	if err == nil {
		err = disk.Replace(w.path, func(to io.Writer) error {
			enc := json.NewEncoder(to)
			enc.SetIndent("", "  ")
			return enc.Encode(w.record)
		})
	}
	if err != nil {
		return fmt.Errorf("writing how far 'up' has come: %w", err)
	}
	return nil
}

// say prints a line of progress. Several nodes may have something to say at once.
func (w *Work) say(format string, args ...any) {
	if w == nil || w.out == nil {
		return
	}
	w.saying.Lock()
	defer w.saying.Unlock()
	fmt.Fprintf(w.out, "      "+format+"\n", args...)
}

// Each does a phase of `up` on every node that is still worked on, at most atOnce at a time (0: all). A node on which fn
// fails is given up and the others go on; the error is of ctx, of the state file, or says that too little is left to go on
// with. What fn returns as text is printed behind the node's name. Without a Work, it is Fleet.Each.
func (c *Cluster) Each(ctx context.Context, phase string, nodes []inventory.Node, atOnce int, fn func(ctx context.Context, n inventory.Node) (done string, err error)) error {
	w := c.Work
	var todo []inventory.Node
	for _, n := range w.Of(nodes) {
		if !w.Done(phase, n) {
			todo = append(todo, n)
		}
	}
	var (
		mu    sync.Mutex
		count int
	)
	err := c.Fleet.Each(ctx, todo, atOnce, func(ctx context.Context, n inventory.Node) error {
		start := time.Now()
		done, err := fn(ctx, n)
		switch {
		case err != nil && (w == nil || ctx.Err() != nil):
			return err
		case err != nil:
			return w.GiveUp(phase, n, err)
		}
		if err := w.Finished(phase, n); err != nil {
			return err
		}
		if done != "" {
			mu.Lock()
			defer mu.Unlock()
			count++
			w.say("%s: %s … %.1fs (%d of %d)", n.Name, done, time.Since(start).Seconds(), count, len(todo))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.Enough()
}

// Enough returns an error when no node is left to work on, or one was given up that its cluster cannot stand without.
func (c *Cluster) Enough() error {
	if c.Work == nil {
		return nil
	}
	if len(c.Work.Of(c.Inventory.Nodes)) == 0 {
		return errors.New("every node was given up")
	}
	for _, m := range c.Inventory.Clusters() {
		for _, n := range []inventory.Node{m.ControlPlane(), m.Prometheus()} {
			c.Work.mu.Lock()
			p := c.Work.record.Nodes[n.Name]
			c.Work.mu.Unlock()
			if p.GaveUp != "" {
				return fmt.Errorf("%s was given up, and the cluster cannot stand without it", n.Name)
			}
		}
	}
	return nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
