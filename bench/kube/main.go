// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/dnsingress/dnsingress/internal/cli"
)

func main() { os.Exit(cli.Main(command)) }

func command(_ io.Reader, stdout, stderr io.Writer) *cobra.Command {
	var (
		bin, peers, dnsingress, keep string
		services                     []int
		only, worlds                 []string
		p                            plan
		asJSON                       bool
	)
	c := &cobra.Command{
		Use:   "kube",
		Short: "Measure how soon DNS answers what changed in Kubernetes",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctrl.SetLogger(logr.Discard()) // what starts the API server logs through a global one
			dir := keep
			if dir == "" {
				var err error
				if dir, err = os.MkdirTemp("", "bench-kube-"); err != nil {
					return err
				}
				defer os.RemoveAll(dir)
			}
			var all []*figures
			write := func() error {
				if asJSON {
					return json.NewEncoder(stdout).Encode(all)
				}
				return writeTable(stdout, all)
			}
			for _, n := range services {
				for _, name := range worlds {
					chosen := slices.DeleteFunc(systems(dnsingress, peers), func(s *system) bool {
						return s.world != name || len(only) > 0 && !slices.Contains(only, s.name)
					})
					if len(chosen) == 0 {
						continue
					}
					found, err := measureWorld(c.Context(), name, chosen, n, bin, dir, p, stderr)
					all = append(all, found...)
					if err != nil {
						return errors.Join(write(), err) // what has been measured is not lost
					}
				}
			}
			return write()
		},
	}
	f := c.Flags()
	f.StringVar(&bin, "kube-bin", "", "`DIR` with etcd and kube-apiserver")
	f.StringVar(&peers, "peers", "build/bench-kube", "`DIR` with coredns and external-dns")
	f.StringVar(&dnsingress, "dnsingress", "bin/dnsingress", "the `PROGRAM` dnsingress")
	f.StringVar(&keep, "keep", "", "`DIR` that configurations and logs are left in")
	f.IntSliceVar(&services, "services", []int{100, 1000, 10000}, "numbers of Services")
	f.StringSliceVar(&only, "only", nil, "systems, by name; default: all")
	f.StringSliceVar(&worlds, "world", []string{"pods", "status"}, "what is in the cluster: pods, whose readiness changes, or status, where load balancers move")
	f.IntVar(&p.changes, "changes", 300, "changes a system")
	f.DurationVar(&p.pace, "pace", 50*time.Millisecond, "time between two changes")
	f.DurationVar(&p.poll, "poll", 0, "time between two questions for one change; a timer of less than a millisecond would take one")
	f.DurationVar(&p.patience, "patience", 3*time.Minute, "how long a change is waited for")
	f.Uint64Var(&p.seed, "seed", 1, "of the order in which Services are changed")
	f.BoolVar(&asJSON, "json", false, "print all figures")
	return c
}

// systems are all that is compared, in the order of their turns.
func systems(dnsingress, peers string) []*system {
	coredns, externalDNS := filepath.Join(peers, "coredns"), filepath.Join(peers, "external-dns")
	return []*system{
		{name: "dnsingress", world: "pods", note: "defaults", binary: dnsingress, start: startDNSIngress("")},
		{
			name: "coredns", world: "pods", note: "plugin kubernetes, headless Services", binary: coredns,
			start: startCoreDNS("kubernetes cluster.local {\n    kubeconfig %s\n  }", func(i int) string {
				return serviceName(i) + "." + namespace(i) + ".svc.cluster.local."
			}),
		},
		{
			name: "external-dns", world: "pods", note: "defaults: every minute", binary: externalDNS, start: startExternalDNS(),
			changes: 20, pace: 3 * time.Second,
		},
		{
			name: "external-dns-fast", world: "pods", note: "--interval=1s --events --listen-endpoint-events --min-event-sync-interval=1ms", binary: externalDNS,
			start:   startExternalDNS("--interval=1s", "--events", "--listen-endpoint-events", "--min-event-sync-interval=1ms"),
			changes: 20, pace: time.Second,
		},
		{name: "dnsingress", world: "status", note: "serviceTarget: status", binary: dnsingress, start: startDNSIngress(", serviceTarget: status")},
		{
			name: "k8s_gateway", world: "status", note: "CoreDNS with plugin k8s_gateway", binary: coredns,
			start: startCoreDNS("k8s_gateway apps.test {\n    kubeconfig %s\n    resources Service\n  }", hostName),
		},
	}
}

// measureWorld fills an API server of its own and gives each system its turn.
func measureWorld(ctx context.Context, name string, chosen []*system, services int, bin, dir string, p plan, stderr io.Writer) (all []*figures, err error) {
	api, err := startAPIServer(bin, dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if stopErr := api.stop(); err == nil && stopErr != nil {
			err = fmt.Errorf("stopping the API server: %w", stopErr)
		}
	}()
	var w world = &status{}
	if name == "pods" {
		w = &pods{withPods: slices.ContainsFunc(chosen, func(s *system) bool { return s.pace > 0 })}
	}
	say := func(format string, a ...any) {
		fmt.Fprintf(stderr, "%s "+format+"\n", append([]any{time.Now().UTC().Format(time.TimeOnly)}, a...)...)
	}
	began := time.Now()
	if err := populate(ctx, api.client, w, services, func(done int) { say("%s: %d of %d Services made", name, done, services) }); err != nil {
		return nil, err
	}
	say("%s: %d Services made in %v", name, services, time.Since(began).Round(time.Second))
	for _, s := range chosen {
		own := p
		if s.changes > 0 {
			own.changes, own.pace, own.poll = min(s.changes, p.changes), s.pace, 5*time.Millisecond
		}
		f, err := measure(ctx, s, w, api, services, dir, own)
		if err != nil {
			return all, err
		}
		say("%s: %s with %d Services: ready after %v, %d changes", name, s.name, services, f.Ready.Round(time.Millisecond), len(f.Delays))
		all = append(all, f)
	}
	return all, nil
}
