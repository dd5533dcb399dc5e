// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/internal/results"
)

// records are the names of workload dns: DNSEndpoints of external-dns in the cluster, which every system that answers by DNS
// publishes. What they hold is changed in the window, and told to the generators, which hold answers against it.
type records struct {
	trial *trial
	data  []netip.Addr // of each name

	mu      sync.Mutex
	readers []*io.PipeWriter // of the generators that follow
}

// recordsLabel marks the objects.
const recordsLabel = "testbed.dnsingress.dev/records"

func newRecords(t *trial) *records {
	r := &records{trial: t, data: make([]netip.Addr, t.offered.Names)}
	for i := range r.data {
		r.data[i] = r.address(i, 0)
	}
	return r
}

// address is what a name holds in its n-th version: of the documentation prefix (RFC 3849), since nobody connects to it.
func (r *records) address(name, version int) netip.Addr {
	a := netip.MustParseAddr("2001:db8::").As16()
	a[4], a[5] = byte(name>>8), byte(name)
	a[13], a[14], a[15] = byte(version>>16), byte(version>>8), byte(version)+1
	return netip.AddrFrom16(a)
}

// name of the i-th record. Each cluster has names of its own, which the others are asked for too.
func (r *records) name(i int) string {
	zone := strings.TrimSuffix(r.trial.Inventory.Zone, ".")
	if clusters := r.trial.Inventory.Clusters(); clusters[0].Member != "" {
		return fmt.Sprintf("r-%d-%s.%s", i, r.cluster(i).Member, zone)
	}
	return fmt.Sprintf("r-%d.%s", i, zone)
}

// cluster holds the i-th record.
func (r *records) cluster(i int) *inventory.Inventory {
	clusters := r.trial.Inventory.Clusters()
	return clusters[i%len(clusters)]
}

// manifest is the i-th record as an object.
func (r *records) manifest(i int) string {
	ttl := cmp.Or(r.trial.setup.TTL, scenario.DefaultTTL)
	return fmt.Sprintf(`apiVersion: externaldns.k8s.io/v1alpha1
kind: DNSEndpoint
metadata:
  name: r-%d
  namespace: bench
  labels: {%s: "true"}
spec:
  endpoints:
    - {dnsName: %s, recordType: AAAA, recordTTL: %d, targets: ["%s"]}
`, i, recordsLabel, r.name(i), int(ttl.Seconds()), r.data[i])
}

// make creates all names, and returns when every server answers with them.
func (r *records) make(ctx context.Context) error {
	for _, cluster := range r.trial.Inventory.Clusters() {
		var all []string
		for i := range r.data {
			if r.cluster(i).Member == cluster.Member {
				all = append(all, r.manifest(i))
			}
		}
		if err := r.apply(ctx, cluster, strings.Join(all, "---\n")); err != nil {
			return fmt.Errorf("making %d names: %w", len(all), err)
		}
	}
	return r.await(ctx)
}

func (r *records) apply(ctx context.Context, cluster *inventory.Inventory, text string) error {
	_, err := r.trial.Nodes.Shell(ctx, cluster.ControlPlane().Name, "kubectl apply --server-side --force-conflicts -f - >&2", strings.NewReader(text))
	return err
}

// published bounds how long systems may take to answer with names that were made.
const published = 2 * time.Minute

//go:embed names.py
var namesProgram string

// naming is what names.py is asked.
type naming struct {
	Servers []string `json:"servers"`
	Names   []string `json:"names"`
	Seconds float64  `json:"seconds"`
}

// await asks, from every client, each of the servers for each name until all are there.
func (r *records) await(ctx context.Context) error {
	n := naming{Seconds: published.Seconds()}
	for _, s := range r.trial.asked() {
		n.Servers = append(n.Servers, s.Addr().String())
	}
	for i := range r.data {
		n.Names = append(n.Names, r.name(i))
	}
	asked, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("encoding what is waited for: %w", err)
	}
	return each(ctx, r.trial.clients(), func(ctx context.Context, n inventory.Node) error {
		if _, err := r.trial.Nodes.Shell(ctx, n.Name, "python3 - "+kubectl.Quote(string(asked)), strings.NewReader(namesProgram)); err != nil {
			return fmt.Errorf("waiting for names on %s: %w", n.Name, err)
		}
		return nil
	})
}

// remove deletes all names.
func (r *records) remove(ctx context.Context) error {
	var errs []error
	for _, cluster := range r.trial.Inventory.Clusters() {
		k := kubectl.Client{Shell: r.trial.Nodes, Node: cluster.ControlPlane().Name}
		if _, err := k.Run(ctx, "delete", "dnsendpoints.externaldns.k8s.io", "-n", "bench", "-l", recordsLabel, "--ignore-not-found"); err != nil {
			errs = append(errs, fmt.Errorf("removing the names: %w", err))
		}
	}
	return errors.Join(errs...)
}

// told is a change as the generators read it (docs/load.md).
type told struct {
	UnixNs int64    `json:"unix_ns"`
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Data   []string `json:"data"`
}

func (r *records) line(i int, at time.Time) []byte {
	b, err := json.Marshal(told{at.UnixNano(), r.name(i) + ".", "AAAA", []string{r.data[i].String()}})
	if err != nil {
		panic(err) // texts and a number always encode
	}
	return append(b, '\n')
}

// follow is the truth for one generator: what holds, an empty line, and each change as it is made, until after the instant.
func (r *records) follow(end time.Time) io.Reader {
	var begin bytes.Buffer
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for i := range r.data {
		begin.Write(r.line(i, now))
	}
	begin.WriteByte('\n')
	out, in := io.Pipe()
	r.readers = append(r.readers, in)
	time.AfterFunc(time.Until(end.Add(eventDelay)), func() { in.Close() })
	return io.MultiReader(&begin, out)
}

// eventDelay is how late generators may hear of a change, and by how much later they judge.
const eventDelay = 2 * time.Second

// change changes a name at each beat of the window, one drawn after the other.
func (r *records) change(ctx context.Context, open, shut time.Time) error {
	every := r.trial.offered.UpdateEvery
	rng := rand.New(rand.NewPCG(r.trial.Scenario.Seed, uint64(r.trial.out.Index)))
	version := 0
	for at := open.Add(every / 2); at.Before(shut); at = at.Add(every) {
		if err := until(ctx, at); err != nil {
			return err
		}
		i := rng.IntN(len(r.data))
		version++
		r.mu.Lock()
		r.data[i] = r.address(i, version)
		r.mu.Unlock()
		if err := r.publish(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// publish makes a change known to the cluster, and to the generators, as of the instant before it could have been heard of. A
// cluster that chaos keeps from taking it is told again until it does: that, too, is time until the record is right.
func (r *records) publish(ctx context.Context, i int) error {
	begun := time.Now()
	line := r.line(i, begun)
	r.mu.Lock()
	for _, w := range r.readers {
		go func() { _, _ = w.Write(line) }() // one that has ended reads no more
	}
	r.mu.Unlock()
	r.trial.event(results.Event{
		UnixNs: begun.UnixNano(), Kind: results.EventRecord, Name: "changed", Target: r.name(i), Detail: map[string]string{"data": r.data[i].String()},
	})
	for {
		err := r.apply(ctx, r.cluster(i), r.manifest(i))
		if err == nil || len(r.trial.struck) == 0 {
			return err
		}
		r.trial.Log.Debug("changing a name", "name", r.name(i), "error", err)
		if err := until(ctx, time.Now().Add(time.Second)); err != nil {
			return err
		}
	}
}

// flags are those of loadgen dns.
func (r *records) flags(servers []netip.AddrPort) []string {
	var args []string
	for _, s := range servers {
		args = append(args, s.String())
	}
	args = append(args, "--accuracy", "events:-", "--event-delay", eventDelay.String())
	if r.trial.cell.Levels[scenario.Cached] != "no" {
		args = append(args, "--recursion")
	}
	return args
}

// asked are the servers that the names are asked of: the client's own resolver, those that stand behind it, or the cluster's.
func (t *trial) asked() []netip.AddrPort {
	switch t.cell.Levels[scenario.Cached] {
	case "no":
		return t.bench.Servers(t.system, t.setup)
	case scenario.ByCluster:
		return []netip.AddrPort{netip.AddrPortFrom(t.Inventory.Clusters()[0].ClusterDNS(), 53)}
	}
	return []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr(ownResolver), 53)}
}

// accuracySummary is what is read of a generator's account of answers.
type accuracySummary struct {
	Answers uint64 `json:"answers"`
	Right   uint64 `json:"right"`
	Stale   uint64 `json:"stale"`
	Missing uint64 `json:"missing"`
	Wrong   uint64 `json:"wrong"`
	Changes int    `json:"changes"`
	Seconds []struct {
		UnixS int64 `json:"unix_s"`
		results.Accuracy
	} `json:"seconds"`
	Propagation struct {
		FirstRight struct {
			Count int64 `json:"count"`
			P50   int64 `json:"p50_ns"`
			Max   int64 `json:"max_ns"`
		} `json:"first_right"`
		LastWrong struct {
			Count int64 `json:"count"`
			P50   int64 `json:"p50_ns"`
			Max   int64 `json:"max_ns"`
		} `json:"last_wrong"`
		Never uint64 `json:"never"`
	} `json:"propagation"`
}

// bySecond adds the generators' answers up by the second in which they were asked for.
func bySecond(all []summary) []results.Accuracy {
	sums := map[int64]results.Accuracy{}
	for _, s := range all {
		if s.Accuracy == nil {
			continue
		}
		for _, second := range s.Accuracy.Seconds {
			sum := sums[second.UnixS]
			sum.Answers, sum.Right, sum.Stale = sum.Answers+second.Answers, sum.Right+second.Right, sum.Stale+second.Stale
			sum.Missing, sum.Wrong = sum.Missing+second.Missing, sum.Wrong+second.Wrong
			sums[second.UnixS] = sum
		}
	}
	var out []results.Accuracy
	for _, at := range slices.Sorted(maps.Keys(sums)) {
		a := sums[at]
		a.UnixNs = at * 1e9
		out = append(out, a)
	}
	return out
}

// accuracyMeasures puts the generators' accounts together. Of medians the largest is told: none of the clients saw more.
func accuracyMeasures(all []summary) map[string]float64 {
	m := map[string]float64{}
	var sum accuracySummary
	for _, s := range all {
		a := s.Accuracy
		if a == nil {
			continue
		}
		sum.Answers, sum.Right, sum.Stale = sum.Answers+a.Answers, sum.Right+a.Right, sum.Stale+a.Stale
		sum.Missing, sum.Wrong = sum.Missing+a.Missing, sum.Wrong+a.Wrong
		m["changes_records"] = max(m["changes_records"], float64(a.Changes))
		m["never_right_records"] += float64(a.Propagation.Never)
		if p := a.Propagation.FirstRight; p.Count > 0 {
			m["change_to_right_s"] = max(m["change_to_right_s"], seconds(p.P50))
			m["change_to_right_max_s"] = max(m["change_to_right_max_s"], seconds(p.Max))
		}
		if p := a.Propagation.LastWrong; p.Count > 0 {
			m["change_to_last_wrong_s"] = max(m["change_to_last_wrong_s"], seconds(p.P50))
			m["change_to_last_wrong_max_s"] = max(m["change_to_last_wrong_max_s"], seconds(p.Max))
		}
	}
	if sum.Answers > 0 {
		for name, n := range map[string]uint64{"right": sum.Right, "stale": sum.Stale, "missing": sum.Missing, "wrong": sum.Wrong} {
			m[name+"_share"] = float64(n) / float64(sum.Answers)
		}
	}
	return m
}
