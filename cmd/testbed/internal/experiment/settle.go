// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// Settling: the mean latency of every half a second is a value of the series that is to become stable.
const (
	settleEvery = 500 * time.Millisecond
	settlePort  = 9464
)

// settle has load run until its latency is stable (stats.WarmUp), at most load.warmup_most. What it warms is the system, the
// backend and the machine; users begin anew in the run that follows, whose own load.warmup is theirs.
func (t *trial) settle(ctx context.Context) error {
	most := t.offered.WarmupMost
	if most == 0 || t.cell.Trials.Idle || t.records != nil {
		return nil
	}
	t.phase("settle")
	if t.cell.Trials.FindMax != nil {
		t.offered.Rate = t.cell.Trials.FindMax.From
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	clients := t.clients()
	var all group
	over := make(chan struct{})
	for i, n := range clients {
		all.do(func() error {
			args := append(t.command(i, n.Name), "--duration", most.String(), "--metrics", fmt.Sprintf("[::]:%d", settlePort), "-o", "json")
			_, err := t.Nodes.Shell(ctx, n.Name, "exec "+quoted(args), nil)
			select {
			case <-over: // it was told to stop
				return nil
			default:
				if err != nil {
					stop()
				}
				return err
			}
		})
	}
	cut, settled, took := t.becomesStable(ctx, clients, most)
	close(over)
	err := each(context.WithoutCancel(ctx), clients, func(ctx context.Context, n inventory.Node) error {
		_, err := t.Nodes.Shell(ctx, n.Name, "pkill -INT -x loadgen; while pgrep -x loadgen >/dev/null; do sleep 0.05; done", nil)
		return err
	})
	if waited := all.wait(); waited != nil {
		return fmt.Errorf("warming up: %w", waited)
	}
	if err != nil {
		return fmt.Errorf("ending the warm-up: %w", err)
	}
	if !settled {
		t.facts.unsettled = most
	}
	t.event(results.Event{
		UnixNs: time.Now().UnixNano(), Kind: results.EventPhase, Name: "settled",
		Detail: map[string]string{"settled": strconv.FormatBool(settled), "after_ns": strconv.FormatInt(int64(took), 10), "cut": strconv.Itoa(cut)},
	})
	return ctx.Err()
}

// becomesStable follows the generators' latency until it is stable.
func (t *trial) becomesStable(ctx context.Context, clients []inventory.Node, most time.Duration) (cut int, settled bool, took time.Duration) {
	begin := time.Now()
	beat := time.NewTicker(settleEvery)
	defer beat.Stop()
	var (
		before progress
		values []float64
	)
	for {
		select {
		case <-ctx.Done():
			return cut, false, time.Since(begin)
		case <-beat.C:
		}
		if took = time.Since(begin); took > most {
			return cut, false, took
		}
		now, ok := t.progress(ctx, clients)
		if !ok {
			continue
		}
		if now.count > before.count {
			values = append(values, (now.sum-before.sum)/float64(now.count-before.count))
		}
		before = now
		if cut, settled = stats.WarmUp(values, 1); settled {
			return cut, settled, took
		}
	}
}

// progress is what generators have measured so far.
type progress struct {
	sum   float64 // of latencies, in seconds
	count uint64
}

// progress asks all generators; ok is false until all of them answer.
func (t *trial) progress(ctx context.Context, clients []inventory.Node) (p progress, ok bool) {
	var (
		sum progress
		mu  sync.Mutex
		all group
	)
	line := fmt.Sprintf(`exec python3 -c 'import sys, urllib.request as u; sys.stdout.buffer.write(u.urlopen("http://[::1]:%d/metrics", timeout=2).read())' 2>/dev/null`, settlePort)
	for _, n := range clients {
		all.do(func() error {
			out, err := t.Nodes.Shell(ctx, n.Name, line, nil)
			if err != nil {
				return err // it is starting
			}
			p := parseProgress(out)
			mu.Lock()
			defer mu.Unlock()
			sum.sum, sum.count = sum.sum+p.sum, sum.count+p.count
			return nil
		})
	}
	err := all.wait()
	return sum, err == nil
}

// parseProgress reads the histogram of latencies in Prometheus' text format.
func parseProgress(out []byte) (p progress) {
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		switch name {
		case "loadgen_latency_seconds_sum":
			p.sum, _ = strconv.ParseFloat(value, 64)
		case "loadgen_latency_seconds_count":
			n, _ := strconv.ParseFloat(value, 64)
			p.count = uint64(n)
		}
	}
	return p
}
