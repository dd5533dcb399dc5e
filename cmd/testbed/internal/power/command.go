// SPDX-License-Identifier: Apache-2.0

package power

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"time"
)

// command is a switch by way of a program of the operator's. Behind its first arguments it gets
//
//	ports            it writes a JSON list of Port: [{"index": 3, "power": "on", "enabled": true, "watts": 3.2}]
//	on N, off N      it gives the order and need not wait for its effect
//
// and ends with 0, or with anything else and a line on its standard error that says why.
type command struct{ words []string }

// commandTimeout bounds a run of the program; commandGrace is what it gets to end by itself after that.
const (
	commandTimeout = 30 * time.Second
	commandGrace   = 2 * time.Second
)

func (c *command) run(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, commandTimeout, fmt.Errorf("no end within %s", commandTimeout))
	defer cancel()
	words := slices.Concat(c.words, args)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &said, commandGrace
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if text := bytes.TrimSpace(said.Bytes()); len(text) > 0 {
			err = fmt.Errorf("%w: %s", err, text[max(0, len(text)-500):])
		}
		return nil, fmt.Errorf("running %s: %w", words, err)
	}
	return out.Bytes(), nil
}

// Ports asks the program.
func (c *command) Ports(ctx context.Context) ([]Port, error) {
	out, err := c.run(ctx, "ports")
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	dec.DisallowUnknownFields()
	var ports []Port
	if err := dec.Decode(&ports); err != nil {
		return nil, fmt.Errorf("reading the output of %s ports: %w", c.words[0], err)
	}
	for i, p := range ports {
		if p.Index < 1 || slices.ContainsFunc(ports[:i], func(q Port) bool { return q.Index == p.Index }) {
			return nil, errors.New("reading the output of " + c.words[0] + " ports: index " + strconv.Itoa(p.Index) + " is there twice or is none")
		}
	}
	return ports, nil
}

// Set tells the program.
func (c *command) Set(ctx context.Context, port int, on bool) error {
	word := "off"
	if on {
		word = "on"
	}
	_, err := c.run(ctx, word, strconv.Itoa(port))
	return err
}

// Close has nothing to end.
func (c *command) Close() error { return nil }
