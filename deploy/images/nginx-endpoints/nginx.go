// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a running nginx master.
type process struct {
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the master has ended
	err    error         // how, once ended is closed
	client *http.Client  // to the control socket
}

// start runs nginx with the configuration that is written already.
func start(program string, s settings, stderr io.Writer) (*process, error) {
	// Left behind by a master that was killed, it would keep nginx from listening.
	if err := os.Remove(s.socket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing the old control socket: %w", err)
	}
	p := &process{
		cmd:   exec.Command(program, "-c", s.file(), "-e", "stderr"),
		ended: make(chan struct{}),
		client: &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", s.socket())
			},
			DisableKeepAlives: true, // a kept connection would stay with a worker of the old configuration
		}},
	}
	p.cmd.Stdout, p.cmd.Stderr = stderr, stderr
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting nginx: %w", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// reload makes the master read its configuration again; workers of the old one finish their requests.
func (p *process) reload() error {
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return fmt.Errorf("reloading nginx: %w", err)
	}
	return nil
}

// serving returns when a worker answers with the version, or with ctx's error, or when nginx ended.
func (p *process) serving(ctx context.Context, version int) error {
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		body, err := p.get(ctx, "/version")
		if err == nil && body == strconv.Itoa(version) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for configuration %d to be served: %w (hint: see nginx's messages above)", version, ctx.Err())
		case <-p.ended:
			return fmt.Errorf("nginx ended: %w", p.err)
		case <-retry.C:
		}
	}
}

func (p *process) get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://nginx"+path, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("nginx answered %s", resp.Status)
	}
	return strings.TrimSpace(string(body)), err
}

// stop lets open requests end, for as long as drain, then ends nginx and waits for it.
func (p *process) stop(drain time.Duration) error {
	timer := time.NewTimer(drain)
	defer timer.Stop()
	for _, sig := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGTERM} {
		if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stopping nginx: %w", err)
		}
		select {
		case <-p.ended:
			return nil
		case <-timer.C:
		}
	}
	<-p.ended
	return nil
}
