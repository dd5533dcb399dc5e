// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/journal"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/sshtest"
)

// cards stands in for a netboot service: it "writes" what a host says its image is. Hosts say so by a file that a stand-in for
// cat reads.
type cards struct {
	want   map[string]string
	dir    string
	fail   string // the node whose card cannot be written
	atOnce atomic.Int32
	most   atomic.Int32
	meet   func() // called while a card is written

	mu     sync.Mutex
	wrote  []string
	during []journal.Entry
	j      *journal.Journal
}

func (c *cards) Wanted(_ context.Context, n inventory.Node) (string, error) {
	return c.want[n.Name], nil
}

func (c *cards) Reimage(_ context.Context, n inventory.Node, report func(step string, done, total int64)) error {
	now := c.atOnce.Add(1)
	defer c.atOnce.Add(-1)
	for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
	}
	if c.meet != nil {
		c.meet()
	}
	for done := range int64(101) {
		report("writing", done*1e6, 100e6)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	standing, err := c.j.Standing()
	if err != nil {
		return err
	}
	c.during = append(c.during, standing...)
	if n.Name == c.fail {
		return errors.New("the node did not come back with it and runs what it ran before")
	}
	c.wrote = append(c.wrote, n.Name)
	return os.WriteFile(filepath.Join(c.dir, n.Name), []byte(c.want[n.Name]+"\n"), 0o644)
}

// rackOf returns a cluster of the nodes named, the first of which is its control plane, each an SSH host that says it is
// Debian 12 and has the image that its file in dir holds.
func rackOf(t *testing.T, names ...string) (*Cluster, map[string]*sshtest.Host, string) {
	t.Helper()
	t.Setenv("TESTBED_STATE_DIR", t.TempDir())
	var text strings.Builder
	text.WriteString("version: 1\ncluster: rack\nsubstrate: pi\nnetwork: {nodes: \"fd6e:7369:8:1::/64\", services: \"fd6e:7369:8:f::/112\"}\nzone: apps.test.\nnodes:\n")
	for i, name := range names {
		group, pods := "worker", fmt.Sprintf(`, pods: "fd6e:7369:8:%x::/64"`, 16+i)
		if i == 0 {
			group, pods = "control, client, worker", `, pods: "fd6e:7369:8:ff::/64"`
		}
		fmt.Fprintf(&text, "  - {name: %s, groups: [%s], address: \"fd6e:7369:8:1::%x\"%s}\n", name, group, i+1, pods)
	}
	inv, err := inventory.Parse("inventory.yaml", []byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(inv, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	client := sshtest.NewKey(t)
	hosts := map[string]*sshtest.Host{}
	for _, name := range names {
		hosts[name] = sshtest.NewHost(t, client.PublicKey(), "IMAGE="+filepath.Join(dir, name), "PATH="+standIns(t)+":"+os.Getenv("PATH"))
	}
	c.Fleet = sshtest.Fleet(t, inv, client, hosts)
	return c, hosts, dir
}

// standIns returns a directory with programs that answer for a Debian 12 whose root we are.
func standIns(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"id": "echo 0",
		"cat": `case $1 in
/etc/testbed/image) exec /bin/cat "$IMAGE" ;;
/etc/os-release) printf 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n' ;;
*) exec /bin/cat "$@" ;;
esac`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Only cards that differ are written, a few at once; one that cannot be does not stop the others; what is being written is in
// the journal meanwhile, and stays there where it failed.
func TestFlashWhatDiffers(t *testing.T) {
	c, _, dir := rackOf(t, "pi-1", "pi-2", "pi-3", "pi-4", "pi-5")
	if err := os.WriteFile(filepath.Join(dir, "pi-1"), []byte("new\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	w, err := c.NewWork(&out, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	c.Work = w
	var met sync.WaitGroup // two are written at once, or this never ends
	met.Add(2)
	var count atomic.Int32
	imaging := &cards{
		want: map[string]string{"pi-1": "new", "pi-2": "new", "pi-3": "new", "pi-4": "new"}, dir: dir, fail: "pi-3", j: c.Journal,
		meet: func() {
			if count.Add(1) <= 2 {
				met.Done()
			}
			met.Wait()
		},
	}
	taking := &taking{boards: &boards{Cluster: c}, lock: filepath.Join(dir, "lock")}
	defer taking.leave()
	p := &reimage{taking: taking, Raising: Raising{Imaging: imaging, AtOnce: func([]inventory.Node) int { return 2 }}}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	slices.Sort(imaging.wrote)
	if diff := cmp.Diff([]string{"pi-2", "pi-4"}, imaging.wrote); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	if most := imaging.most.Load(); most != 2 {
		t.Errorf("%d were written at once, want 2", most)
	}
	for _, e := range imaging.during {
		if e.Kind != journal.Flash || e.What != "image new" {
			t.Errorf("the journal had %+v", e)
		}
	}
	if len(imaging.during) == 0 {
		t.Error("a card was written that the journal knew nothing of")
	}
	left, err := c.Journal.Standing()
	if err != nil || len(left) != 1 || left[0].Nodes[0] != "pi-3" {
		t.Errorf("standing: %v, %v", left, err)
	}
	if last, err := c.LastWork(); err != nil || !slices.Equal(last.Failed(), []string{"pi-3"}) || !strings.Contains(last.Nodes["pi-3"].Error, "runs what it ran before") {
		t.Errorf("the record: %+v, %v", last, err)
	}
	for _, words := range []string{"      pi-2: writing 50 % of 100 MB\n", "      pi-3: given up: writing image new: the node did not come back", "pi-4: runs image new (before: ) … "} {
		if !strings.Contains(out.String(), words) {
			t.Errorf("%q was not printed:\n%s", words, out.String())
		}
	}
	if strings.Contains(out.String(), "pi-1") || strings.Contains(out.String(), "pi-5") {
		t.Errorf("boards that are right, or have no image, were touched:\n%s", out.String())
	}

	// The next one goes on with what is left.
	imaging.fail, imaging.wrote, imaging.meet = "", nil, nil
	if err := w.End(); err == nil {
		t.Error("an 'up' that gave a node up ended well")
	}
	if c.Work, err = c.NewWork(&out, nil, true); err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"pi-3"}, imaging.wrote); diff != "" {
		t.Errorf("written after that (-want +got):\n%s", diff)
	}
	if left, err := c.Journal.Standing(); err != nil || len(left) > 0 {
		t.Errorf("standing: %v, %v", left, err)
	}
	if err := c.Work.End(); err != nil {
		t.Error(err)
	}
}

// Two orchestrators with a state directory each cannot have the same boards; a lock whose holder is gone is free.
func TestClaim(t *testing.T) {
	c, hosts, _ := rackOf(t, "pi-1")
	lock := filepath.Join(t.TempDir(), "lock")
	b := &boards{Cluster: c}
	release, err := b.claimAt(t.Context(), "up", lock)
	if err != nil {
		t.Fatal(err)
	}
	var held *HeldError
	if _, err := b.claimAt(t.Context(), "up", lock); !errors.As(err, &held) || held.Owner.PID != os.Getpid() || held.Owner.Command != "up" {
		t.Fatalf("a second claim: %v", err)
	}
	release()
	release, err = b.claimAt(t.Context(), "down", lock)
	if err != nil {
		t.Fatalf("after the first let go: %v", err)
	}
	hosts["pi-1"].Cut() // the orchestrator's network, or the orchestrator, is gone
	c.Fleet.Drop("pi-1")
	release()
	if release, err = b.claimAt(t.Context(), "up", lock); err != nil {
		t.Fatalf("after the connection broke: %v", err)
	}
	release()
}

// A board that does not answer may be blank; one that shows another's key is not, and its card is left alone.
func TestMeetTellsBlankBoardsFromStrangers(t *testing.T) {
	c, hosts, dir := rackOf(t, "pi-1", "pi-2", "pi-3")
	hosts["pi-2"].Take(hosts["pi-1"].Key)
	delete(hosts, "pi-3")
	imaging := &cards{want: map[string]string{"pi-1": "new", "pi-2": "new", "pi-3": "new"}, dir: dir, j: c.Journal}
	for _, tt := range []struct {
		node      string
		imaging   Imaging
		says, err string
	}{
		{"pi-1", imaging, "debian 12", ""},
		{"pi-2", imaging, "", "it shows the host key of pi-1 (SHA256:"},
		{"pi-3", imaging, "does not answer: its card is to be written (connecting to pi-3: ", ""},
		{"pi-3", nil, "", "connecting to pi-3: "},
	} {
		n, _ := c.Inventory.Node(tt.node)
		says, err := (&meet{taking: &taking{boards: &boards{Cluster: c}}, Raising: Raising{Imaging: tt.imaging}}).look(t.Context(), n)
		if !strings.HasPrefix(says, tt.says) || tt.says == "" && says != "" {
			t.Errorf("%s says %q, want %q", tt.node, says, tt.says)
		}
		if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: error %v, want %q", tt.node, err, tt.err)
		}
	}
}

// A rack of which no board was ever written: nobody can be asked anything before the cards are, and the boards are claimed
// as soon as the control node has a system.
func TestBlankRack(t *testing.T) {
	c, hosts, dir := rackOf(t, "pi-1", "pi-2")
	var out strings.Builder
	var err error
	if c.Work, err = c.NewWork(&out, nil, false); err != nil {
		t.Fatal(err)
	}
	systems := maps.Clone(hosts)
	clear(hosts)
	imaging := &cards{want: map[string]string{"pi-1": "new", "pi-2": "new"}, dir: dir, j: c.Journal, meet: func() { maps.Copy(hosts, systems) }}
	taking := &taking{boards: &boards{Cluster: c}, lock: filepath.Join(dir, "lock")}
	defer taking.leave()
	raising := Raising{Imaging: imaging, AtOnce: func([]inventory.Node) int { return 1 }}
	m := &meet{taking: taking, Raising: raising}
	if err := c.Each(t.Context(), "meet", c.Inventory.Nodes, 0, m.look); err != nil {
		t.Fatal(err)
	}
	if err := m.take(t.Context()); err != nil || taking.release != nil {
		t.Errorf("claimed on a node without a system: %v", err)
	}
	for _, n := range c.Inventory.Nodes {
		if !c.Work.Blank(n) || c.Work.Written(n) {
			t.Errorf("%s is not known as blank", n.Name)
		}
	}
	if err := (&reimage{taking: taking, Raising: raising}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if taking.release == nil {
		t.Error("the boards are not claimed")
	}
	for _, n := range c.Inventory.Nodes {
		if c.Work.Blank(n) || !c.Work.Written(n) {
			t.Errorf("%s is not known as written:\n%s", n.Name, &out)
		}
	}
}
