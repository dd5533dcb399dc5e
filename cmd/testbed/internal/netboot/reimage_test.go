// SPDX-License-Identifier: Apache-2.0

package netboot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/agent"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/order"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/slot"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/slot/slottest"
)

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// rack is nodes that have a disk each, ask the real service when they start, run the real agent on a file, and then
// boot what that file says. Only firmware, kernel and SSH are not there: the rehearsal has those.
type rack struct {
	t       *testing.T
	service *Service
	dir     string
	images  map[string]Image // by id
	wanted  string
	dead    map[string]bool // ids of images that do not boot
	deaf    bool            // the firmware asks nobody

	mu      sync.Mutex
	runs    map[string]string // id by node
	cycles  int
	reboots int
	wg      sync.WaitGroup
}

func newRack(t *testing.T) *rack {
	r := &rack{t: t, service: local(t), dir: t.TempDir(), images: map[string]Image{}, dead: map[string]bool{}, runs: map[string]string{}}
	t.Cleanup(r.wg.Wait)
	return r
}

const rackImageSize = 9 << 20

// add makes an image.
func (r *rack) add(id string) {
	r.t.Helper()
	b := make([]byte, rackImageSize)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(id))).Read(b)
	copy(b, slottest.Table([4]byte(b[440:444]), slot.Entry{Type: 0x0c, Start: 2048, Length: 2048}, slot.Entry{Type: 0x83, Start: 4096, Length: 8192}).Bytes())
	sum := sha256.Sum256(b)
	r.images[id] = Image{Image: order.Image{ID: id, Size: int64(len(b)), SHA256: hex.EncodeToString(sum[:])}, Disk: bytes.NewReader(b)}
}

func (r *rack) disk(node string) string { return filepath.Join(r.dir, node+".disk") }

// boot is a node's start.
func (r *rack) boot(node string) {
	r.mu.Lock()
	delete(r.runs, node)
	r.mu.Unlock()
	if !r.deaf {
		if o := r.asks(node); o != nil {
			o.report(context.Background(), order.Report{Step: order.Asked})
			u, err := url.Parse(r.service.base + "/v1/order/" + o.token)
			if err != nil {
				r.t.Error(err)
				return
			}
			_ = agent.Obey(r.t.Context(), u, func(string) (*agent.Disk, string, error) {
				d, err := agent.OpenDisk(r.disk(node))
				return d, "a file", err
			}, slog.New(slog.DiscardHandler))
			for r.asks(node) == o { // it restarts, and asks again as long as it is offered the same
				select {
				case <-time.After(time.Millisecond):
				case <-r.t.Context().Done():
					return
				}
			}
		}
	}
	b, err := os.ReadFile(r.disk(node))
	if err != nil {
		r.t.Error(err)
		return
	}
	d, err := slot.Read(b, uint64(len(b)/slot.SectorSize))
	if err != nil || r.dead[d.ActiveImage()] {
		return
	}
	r.mu.Lock()
	r.runs[node] = d.ActiveImage()
	r.mu.Unlock()
}

func (r *rack) asks(node string) *Offer {
	c, _ := r.service.client(node)
	return r.service.offered(c.MAC)
}

func (r *rack) Cycle(_ context.Context, node string) error {
	r.mu.Lock()
	r.cycles++
	r.mu.Unlock()
	r.wg.Go(func() { r.boot(node) })
	return nil
}

func (r *rack) Reboot(_ context.Context, node string) error {
	r.mu.Lock()
	_, up := r.runs[node]
	r.mu.Unlock()
	if !up {
		return errors.New("no answer")
	}
	r.reboots++
	r.wg.Go(func() { r.boot(node) })
	return nil
}

func (r *rack) ImageID(_ context.Context, node string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, up := r.runs[node]
	if !up {
		return "", errors.New("no answer")
	}
	return id, nil
}

func (r *rack) Wanted(context.Context, inventory.Node) (string, error) { return r.wanted, nil }

func (r *rack) Image(context.Context, inventory.Node) (Image, error) { return r.images[r.wanted], nil }

func (r *rack) reimager() *Reimager {
	return &Reimager{Service: r.service, Power: r, Nodes: r, Images: r, Patience: Patience{Ask: time.Minute, Load: time.Minute, Back: 5 * time.Second, Knock: 10 * time.Millisecond}}
}

// want has the node written with an image.
func (r *rack) want(id string) error {
	r.wanted = id
	if _, ok := r.images[id]; !ok {
		r.add(id)
	}
	if _, err := os.Stat(r.disk("worker-1")); err != nil {
		if err := os.WriteFile(r.disk("worker-1"), nil, 0o600); err != nil {
			return err
		}
		if err := os.Truncate(r.disk("worker-1"), 24<<20); err != nil {
			return err
		}
	}
	return r.reimager().Reimage(r.t.Context(), inventory.Node{Name: "worker-1"}, func(step string, done, total int64) {
		r.t.Logf("%s %d/%d", step, done, total)
	})
}

func TestReimage(t *testing.T) {
	t.Parallel()
	r := newRack(t)
	if err := r.want("first"); err != nil {
		t.Fatal(err)
	}
	if r.cycles != 1 || r.reboots != 0 {
		t.Errorf("a blank node was cycled %d times, rebooted %d times", r.cycles, r.reboots)
	}
	if err := r.want("second"); err != nil {
		t.Fatal(err)
	}
	if r.cycles != 1 || r.reboots != 1 {
		t.Errorf("a node that answers was cycled %d times, rebooted %d times", r.cycles, r.reboots)
	}
	if id, _ := r.ImageID(t.Context(), "worker-1"); id != "second" {
		t.Errorf("it runs %q", id)
	}
	if o := r.asks("worker-1"); o != nil {
		t.Error("the node is offered an image still")
	}
}

func TestNodeThatDoesNotComeBackIsPutBack(t *testing.T) {
	t.Parallel()
	r := newRack(t)
	if err := r.want("good"); err != nil {
		t.Fatal(err)
	}
	r.dead["bad"] = true
	err := r.want("bad")
	if err == nil || !strings.Contains(err.Error(), "did not come back") || !strings.Contains(err.Error(), "runs its previous image good again") {
		t.Errorf("error %v", err)
	}
	if id, _ := r.ImageID(t.Context(), "worker-1"); id != "good" {
		t.Errorf("it runs %q", id)
	}
	if err := r.want("better"); err != nil {
		t.Error(err)
	}
}

func TestFirstImageThatDoesNotBoot(t *testing.T) {
	t.Parallel()
	r := newRack(t)
	r.dead["bad"] = true
	if err := r.want("bad"); err == nil || !strings.Contains(err.Error(), "no previous system to go back to") {
		t.Errorf("error %v", err)
	}
}

func TestFailedOrderLeavesTheSystem(t *testing.T) {
	t.Parallel()
	r := newRack(t)
	if err := r.want("good"); err != nil {
		t.Fatal(err)
	}
	r.add("torn")
	torn := r.images["torn"]
	torn.Disk = r.images["good"].Disk
	r.images["torn"] = torn
	if err := r.want("torn"); err == nil || !strings.Contains(err.Error(), "has the SHA-256") {
		t.Errorf("error %v", err)
	}
	r.wg.Wait()
	if id, _ := r.ImageID(t.Context(), "worker-1"); id != "good" {
		t.Errorf("it runs %q", id)
	}
}

func TestSilentNode(t *testing.T) {
	r := newRack(t)
	r.deaf = true
	r.add("new")
	r.wanted = "new"
	if err := os.WriteFile(r.disk("worker-1"), make([]byte, 24<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	re := r.reimager()
	re.Patience.Ask = 10 * time.Millisecond
	err := re.Reimage(t.Context(), inventory.Node{Name: "worker-1"}, nil)
	if err == nil || !strings.Contains(err.Error(), "BOOT_ORDER") || r.cycles != attempts {
		t.Errorf("error %v after %d cycles", err, r.cycles)
	}
}

func TestFollow(t *testing.T) {
	report := func(steps ...order.Step) []order.Report {
		var list []order.Report
		for _, s := range steps {
			list = append(list, order.Report{Step: s, Error: "the card is gone"})
		}
		return list
	}
	loop := []order.Step{order.Asked, order.Loading}
	for range 5 {
		loop = append(loop, loop[:2]...)
	}
	tests := []struct {
		name    string
		reports []order.Report
		want    string // a part of the error; empty: none
	}{
		{"the usual", report(order.Asked, order.Asked, order.Loading, order.Started, order.Writing, order.Verifying, order.Switching, order.Finished), ""},
		{"a failure", report(order.Asked, order.Loading, order.Started, order.Failed), "the card is gone"},
		{"silence from the begin", nil, `after "restart"`},
		{"a kernel that finds nothing, again and again", report(loop...), `after "loading"`},
		{"silence while it writes", report(order.Asked, order.Loading, order.Started, order.Writing), `after "writing" (hint: its console`},
		{"a supply that fails under load", report(order.Started, order.Writing, order.Asked, order.Started, order.Writing, order.Asked, order.Started), "it began 3 times"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			reports := make(chan order.Report, len(tt.reports))
			for _, r := range tt.reports {
				reports <- r
			}
			const short = 50 * time.Millisecond
			_, err := follow(t.Context(), reports, Patience{Ask: short, Load: short, Silence: short}, func(string, int64, int64) {})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestUnknownNode(t *testing.T) {
	r := newRack(t)
	r.add("new")
	r.wanted = "new"
	err := r.reimager().Reimage(t.Context(), inventory.Node{Name: "stranger"}, nil)
	if err == nil || !strings.Contains(err.Error(), "no client of the netboot service (hint: mac") {
		t.Error(fmt.Sprint("error ", err))
	}
}
