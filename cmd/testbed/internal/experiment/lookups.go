// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"archive/tar"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/resolver"
	"github.com/dnsingress/dnsingress/internal/results"
)

//go:embed lookups.py
var lookupsProgram string

// lookupDir is where the load generator leaves resolutions on a client node: <trial>/<number>/.
const lookupDir = "/run/testbed/lookups"

// lookupPlan is what lookups.py is asked.
type lookupPlan struct {
	Unit    string            `json:"unit"` // of the resolver that is started anew before each cold resolution; empty for none
	Server  string            `json:"server"`
	Hosts   map[string]string `json:"hosts"` // name to resolve by trial
	Cold    int               `json:"cold"`
	Loadgen string            `json:"loadgen"`
	Client  string            `json:"client"`
	Out     string            `json:"out"`
}

// coldAtOnce is on how many nodes cold resolutions are measured at the same time: on a machine that all nodes share, more
// would measure how long a resolver waits for a CPU.
const coldAtOnce = 2

// lookups resolves each trial's name by its resolver, cold and warm, before there is any load.
func (r *round) lookups(ctx context.Context) error {
	turn := make(chan struct{}, coldAtOnce)
	return each(ctx, r.nodes, func(ctx context.Context, n inventory.Node) error {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		defer func() { <-turn }()
		return r.lookupsOn(ctx, n)
	})
}

func (r *round) lookupsOn(ctx context.Context, n inventory.Node) error {
	trials := r.on(n)
	plan := lookupPlan{
		Unit: resolver.Unit, Server: trials[0].resolverAddress(), Hosts: map[string]string{}, Cold: r.Scenario.DNS.Cold,
		Loadgen: loadgenPath, Client: n.Name, Out: lookupDir,
	}
	if trials[0].form.Resolver == resolver.None {
		plan.Unit = ""
	}
	for _, t := range trials {
		plan.Hosts[t.out.ID] = t.tree.Host()
	}
	asked, err := json.Marshal(plan)
	if err != nil {
		return fmt.Errorf("encoding lookups: %w", err)
	}
	line := fmt.Sprintf("rm -rf %[1]s && python3 - %[2]s >&2 && tar -C %[1]s -c .", lookupDir, kubectl.Quote(string(asked)))
	archive, err := r.Nodes.Shell(ctx, n.Name, line, strings.NewReader(lookupsProgram))
	if err != nil {
		return fmt.Errorf("resolving by %s on %s: %w", trials[0].form, n.Name, err)
	}
	parts, err := os.MkdirTemp(r.run.Dir, ".lookups-")
	if err != nil {
		return fmt.Errorf("making a directory for lookups: %w", err)
	}
	defer os.RemoveAll(parts)
	files, err := unpackSamples(archive, parts)
	if err != nil {
		return fmt.Errorf("unpacking the lookups of %s: %w", n.Name, err)
	}
	for _, t := range trials {
		if err := writeLookups(filepath.Join(t.dir, results.LookupsFile), files[t.out.ID]); err != nil {
			return err
		}
	}
	return nil
}

// unpackSamples writes the samples in an archive of <trial>/<number>/… into dir, and returns their paths by trial, in the
// order of their numbers.
func unpackSamples(archive []byte, dir string) (map[string][]string, error) {
	files := map[string][]string{}
	for in := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		parts := strings.Split(path.Clean(h.Name), "/")
		if len(parts) != 3 || parts[2] != results.SamplesFile {
			continue
		}
		to := filepath.Join(dir, parts[0]+"-"+parts[1])
		b, err := io.ReadAll(in)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(to, b, 0o644); err != nil {
			return nil, err
		}
		files[parts[0]] = append(files[parts[0]], to)
	}
}

// writeLookups writes one file out of several, of each of which the first request was cold.
func writeLookups(to string, from []string) (err error) {
	w, err := results.CreateRows[results.Sample](to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for _, path := range from {
		var rows []results.Sample
		if err := results.ReadRows(path, func(part []results.Sample) error {
			rows = append(rows, part...)
			return nil
		}); err != nil {
			return err
		}
		if err := w.Write(labelLookups(rows)...); err != nil {
			return err
		}
	}
	return nil
}

// labelLookups says what each resolution was: the first asked was cold, and what was asked before its answer waited with it.
// Rows come in the order in which they ended.
func labelLookups(rows []results.Sample) []results.Sample {
	cold := 0
	for i := range rows {
		if rows[i].Seq < rows[cold].Seq {
			cold = i
		}
	}
	for i := range rows {
		switch {
		case i == cold:
			rows[i].Request = results.LookupCold
		case rows[i].IntendedNs < rows[cold].IntendedNs+rows[cold].TotalNs:
			rows[i].Request = results.LookupJoined
		default:
			rows[i].Request = results.LookupWarm
		}
	}
	return rows
}
