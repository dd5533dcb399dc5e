// SPDX-License-Identifier: Apache-2.0

package system

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
)

// timersWords says what the levels of the factor timers are; without it the heartbeat is the inventory's.
func timersWords(level, heartbeat string) string {
	words := map[string]string{
		timersShort: "kubelets report every 2 s, a node is dead after 8 s of silence",
		timersStock: "as Kubernetes comes: kubelets report every 10 s, a node is dead after 50 s of silence",
	}[cmp.Or(level, heartbeat)]
	if level == timersStock {
		return words + "; readiness is probed every 10 s and lost after three failures"
	}
	return words + "; readiness is probed every second and lost after three failures"
}

// The lines of the programs' configuration by which a dead node is noticed soon, as the Ansible roles write them too.
const (
	shortKubelet = "nodeStatusUpdateFrequency: 2s\nnodeLeaseDurationSeconds: 4\n"
	shortManager = "--node-monitor-period=1s --node-monitor-grace-period=8s"
)

// timers has Kubernetes notice dead nodes and pods by these timers: a drop-in for each unit in place of what the
// inventory says, none for the empty level. Programs whose configuration changes are restarted; pods stay.
func (s site) timers(ctx context.Context, level string) error {
	own := level == "" || level == s.Inventory.Kubernetes.Heartbeat // then no drop-in
	nodes := append(s.member.Group(inventory.Worker), s.member.ControlPlane())
	errs := make([]error, len(nodes))
	var wait sync.WaitGroup
	for i, n := range nodes {
		line := kubeletTimers(level, own)
		if i == len(nodes)-1 { // the control plane's
			line = managerTimers(level, own)
		}
		wait.Go(func() {
			if _, err := s.Shell.Shell(ctx, n.Name, line, nil); err != nil {
				errs[i] = fmt.Errorf("setting Kubernetes' timers on %s: %w", n.Name, err)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// dropIn writes the drop-in of a unit, or removes it for no text, and restarts the unit if that changed anything.
func dropIn(unit, text string) string {
	return fmt.Sprintf(`dir=/etc/systemd/system/%[1]s.service.d; file=$dir/timers.conf; want=$(mktemp)
%[2]s
if [ -s "$want" ] && ! cmp -s "$want" "$file"; then
    mkdir -p "$dir"; mv "$want" "$file"; chmod 644 "$file"
elif [ ! -s "$want" ] && [ -e "$file" ]; then
    rm -f "$file" "$want"
else
    rm -f "$want"; exit 0
fi
systemctl daemon-reload && systemctl restart %[1]s
`, unit, text)
}

// execLine prints the unit's own command as one line, without drop-ins.
const execLine = `sed -n '/^ExecStart=/,/[^\\]$/p' /etc/systemd/system/%s.service | sed 's/^ExecStart=//' | tr -d '\\\n'`

// kubeletTimers is the command line for a worker. The configuration's name has a hash of its content in the drop-in, so that
// another content is another drop-in.
func kubeletTimers(level string, own bool) string {
	if own {
		return "set -e\n" + dropIn("kubelet", "")
	}
	more := ""
	if level == timersShort {
		more = shortKubelet
	}
	return "set -e\n" + fmt.Sprintf(`config=/etc/kubernetes/kubelet-timers.yaml
{ grep -v '^node\(StatusUpdateFrequency\|LeaseDurationSeconds\):' /etc/kubernetes/kubelet.yaml; printf %s; } >"$config"
`, kubectl.Quote(strings.ReplaceAll(more, "\n", `\n`))) + dropIn("kubelet", fmt.Sprintf(
		`printf '# %%s\n[Service]\nExecStart=\nExecStart=%%s\n' "$(sha256sum <"$config")" "$(%s | sed "s#--config=[^ ]*#--config=$config#")" >"$want"`,
		fmt.Sprintf(execLine, "kubelet")))
}

// managerTimers is the command line for the control plane's node.
func managerTimers(level string, own bool) string {
	const unit = "kube-controller-manager"
	if own {
		return "set -e\n" + dropIn(unit, "")
	}
	more := ""
	if level == timersShort {
		more = " " + shortManager
	}
	return "set -e\n" + dropIn(unit, fmt.Sprintf(`printf '[Service]\nExecStart=\nExecStart=%%s%s\n' "$(%s | sed 's/--node-monitor-[a-z-]*=[^ ]*//g')" >"$want"`,
		more, fmt.Sprintf(execLine, unit)))
}

// probePeriod is how often the backend's readiness is asked for, in seconds: deploy/backend has it every second.
func probePeriod(level string) int {
	if level == timersStock {
		return 10 // Kubernetes' default
	}
	return 1
}
