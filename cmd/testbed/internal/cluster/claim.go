// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
)

// claimScript holds a lock on the control node for as long as somebody holds its standard input open: when an orchestrator
// dies, or the network to it, the kernel or sshd closes that. A second one waits long enough for that, and is told who is first.
const claimScript = `
lock=%s
exec 9>>"$lock"
flock --wait 3 9 || { echo "held $(cat "$lock.owner" 2>/dev/null)"; exit 0; }
printf '%%s\n' %s >"$lock.owner"
echo mine
cat >/dev/null
rm -f "$lock.owner"
`

// claimPath is the lock on the control node; a reboot forgets it.
const claimPath = "/run/testbed-lock"

// claimTimeout bounds what the control node may take to give the lock.
const claimTimeout = 30 * time.Second

// claim takes the boards for this orchestrator among all that reach them; that another has them is a *HeldError.
func (b *boards) claim(ctx context.Context, command string) (release func(), err error) {
	return b.claimAt(ctx, command, claimPath)
}

func (b *boards) claimAt(ctx context.Context, command, path string) (release func(), err error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("claiming the boards: %w", err)
	}
	owner, err := json.Marshal(Owner{command, os.Getpid(), host, time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return nil, fmt.Errorf("claiming the boards: %w", err)
	}
	node := b.Inventory.ControlPlane().Name
	held, hold := io.Pipe()
	answers, answer := io.Pipe()
	ended := make(chan struct{})
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(ended)
		line := fmt.Sprintf(claimScript, kubectl.Quote(path), kubectl.Quote(string(owner)))
		_, err := b.Fleet.Run(running, node, remote.Command{Line: line, Stdin: held, Stdout: answer})
		answer.CloseWithError(cmpErr(err, io.EOF))
		held.Close()
	}()
	release = func() {
		hold.Close()
		select {
		case <-ended:
		case <-time.After(claimTimeout): // the node may have died meanwhile
		}
		cancel()
	}
	late := time.AfterFunc(claimTimeout, cancel)
	line, err := bufio.NewReader(answers).ReadString('\n')
	late.Stop()
	switch {
	case err != nil:
		release()
		return nil, fmt.Errorf("claiming the boards on %s: %w", node, err)
	case line != "mine\n":
		release()
		var other Owner
		_ = json.Unmarshal([]byte(strings.TrimPrefix(line, "held ")), &other) // without it the error says less
		return nil, &HeldError{b.Inventory.Cluster, other}
	}
	return release, nil
}

func cmpErr(err, otherwise error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return otherwise
	}
	return err
}
