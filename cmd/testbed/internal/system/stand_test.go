// SPDX-License-Identifier: Apache-2.0

package system_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/system"
)

// fleet runs command lines on a standing cluster's nodes.
type fleet struct{ *remote.Fleet }

func (f fleet) Shell(ctx context.Context, node, line string, stdin io.Reader) ([]byte, error) {
	var out bytes.Buffer
	_, err := f.Run(ctx, node, remote.Command{Line: line, Stdin: stdin, Stdout: &out})
	return out.Bytes(), err
}

// TestSystemsStand puts every system, in every setup that its factors allow, on the cluster of $DNSINGRESS_SYSTEMS (an
// inventory; `testbed up` was run), and asks through each of its addresses. $DNSINGRESS_ONLY is a pattern of forms.
func TestSystemsStand(t *testing.T) {
	file := os.Getenv("DNSINGRESS_SYSTEMS")
	if file == "" {
		t.Skip("NOT RUN: it needs a standing cluster (hint: DNSINGRESS_SYSTEMS=INVENTORY, or make systems)")
	}
	inv, err := inventory.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Open(t.Context(), inv, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := &system.Bench{Repo: "../../../..", Inventory: inv, Shell: fleet{c.Fleet}}
	ctx := context.WithoutCancel(t.Context())
	systems := slices.DeleteFunc(system.All(), func(s system.System) bool { return s.Name == "dnsingress-peers" && len(inv.Clusters()) == 1 })
	if err := b.Prepare(ctx, scenario.Backend{Replicas: 4, ResponseBytes: 1024}, systems); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.CleanUp(ctx); err != nil {
			t.Error(err)
		}
	}()
	only := os.Getenv("DNSINGRESS_ONLY")
	for _, s := range systems {
		seen := map[string]bool{}
		for _, u := range setups() {
			name := s.Form(u) + variant(u)
			if s.Check(b.Repo, u) != nil || seen[name] || u.DynamicTTL && s.Product() != "dnsingress" {
				continue
			}
			if ok, err := path.Match(only, name); err != nil {
				t.Fatal(err)
			} else if only != "" && !ok {
				continue
			}
			if u.Workers > 0 && len(inv.Clusters()) > 1 {
				continue
			}
			seen[name] = true
			t.Run(name, func(t *testing.T) {
				if err := b.Present(ctx, []system.System{s}); err != nil {
					t.Skip("NOT RUN: ", err)
				}
				begin := time.Now()
				err := b.Deploy(ctx, s, u)
				stood := time.Since(begin)
				if err != nil {
					t.Error(err)
				}
				if err := b.Remove(ctx, s); err != nil {
					t.Error(err)
				}
				t.Logf("stood after %s, gone after %s", stood.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
			})
		}
	}
}

// variant names what a setup changes beside the system.
func variant(u scenario.Setup) string {
	var names []string
	for name, is := range map[string]bool{
		"workers": u.Workers > 0, "pods": u.Pods > 0, "timers-" + u.Timers: u.Timers != "", "tls": u.TLS, "ttl": u.TTL > 0, "services": u.Services > 1, "cluster-dns": u.ClusterDNS,
	} {
		if is {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return ""
	}
	return "+" + strings.Join(names, "+")
}

func setups() []scenario.Setup {
	return []scenario.Setup{
		{},
		{Pack: "tuned"},
		{TLS: true},
		{Retry: "none"},
		{Retry: "both"},
		{Retry: "proxy", TLS: true, Pack: "tuned"},
		{Front: "keepalived"},
		{Services: 10, TLS: true},
		{Services: 10},
		{TTL: 30 * time.Second},
		{DynamicTTL: true},
		{Workers: 1, Pods: 3},
		{Timers: "stock"},
		{Timers: "short"},
		{ClusterDNS: true},
	}
}
