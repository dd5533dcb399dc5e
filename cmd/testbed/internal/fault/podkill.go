// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
)

// podKill kills the processes of one backend pod's containers by SIGKILL. The pod's cgroup is
// given a pids.max of 0 first: the runtime cannot fork a new container in it, so the kubelet's
// restarts fail until the limit is lifted. The sandbox lives on, and with it the pod's address:
// connections to it are refused, as from a crashed process on a live machine.
type podKill struct {
	env    Env
	pod    kubectl.Pod
	cgroup string // the pod's directory in the hierarchy that has the pids controller
	// sandbox names the directories below it that are not the containers': they are left alone.
	sandbox []string
	begun   bool
	ended   bool
}

func (f *podKill) Aim(ctx context.Context, rng *rand.Rand) (Target, error) {
	ready, err := readyBackends(ctx, f.env, PodSIGKILL)
	if err != nil {
		return Target{}, err
	}
	f.pod = ready[rng.IntN(len(ready))]
	return Target{Node: f.pod.Node, Name: f.pod.FullName()}, f.find(ctx)
}

// find finds the pod's cgroup, and what in it is to be left alone.
func (f *podKill) find(ctx context.Context) error {
	// cgroup v1 has the controller in a hierarchy of its own. The systemd driver writes the UID with underscores.
	out, err := f.env.Shell.Shell(ctx, f.pod.Node, fmt.Sprintf(
		`for root in /sys/fs/cgroup/pids /sys/fs/cgroup; do [ -d "$root" ] && find "$root" -maxdepth 8 -type d '(' -name '*pod%s*' -o -name '*pod%s*' ')' -prune -print; done | head -n 1 | while read -r d; do echo "$d"; ls -F "$d" | sed -n 's,/$,,p'; done`,
		f.pod.UID, strings.ReplaceAll(f.pod.UID, "-", "_")), nil)
	if err != nil {
		return fmt.Errorf("finding the cgroup of %s: %w", f.pod.FullName(), err)
	}
	found := strings.Fields(string(out))
	if len(found) == 0 {
		return fmt.Errorf("finding the cgroup of %s: %s has none with the pids controller", f.pod.FullName(), f.pod.Node)
	}
	f.cgroup = found[0]
	for _, child := range found[1:] {
		isContainer := func(c kubectl.Container) bool { return c.ID != "" && strings.Contains(child, c.ID) }
		if !slices.ContainsFunc(f.pod.Containers, isContainer) {
			f.sandbox = append(f.sandbox, child)
		}
	}
	return nil
}

// killScript kills every process of the containers named in "$@" below the pod's cgroup $pod at
// the instant $at, and prints the instants before and after.
const killScript = `
d=$((at - $(date +%s%N))); [ $d -gt 0 ] && sleep "$((d / 1000000000)).$(printf %09d $((d % 1000000000)))"
mkdir -p "$held"
printf '%s %s\n' "$pod/pids.max" "$(cat "$pod/pids.max")" > "$held/$uid"
echo 0 > "$pod/pids.max"
procs() { for id in "$@"; do cat "$pod"/*"$id"*/cgroup.procs 2>/dev/null; done; }
killed=$(procs "$@")
[ -n "$killed" ] || { echo "no process of the pod's containers is alive" >&2; exit 1; }
before=$(date +%s%N)
kill -KILL $killed
after=$(date +%s%N)
i=0
while [ -n "$(procs "$@")" ]; do
	i=$((i + 1)); [ $i -lt 200 ] || { echo "processes outlived SIGKILL: $(procs "$@")" >&2; exit 1; }
	sleep 0.01
done
echo "$before $after"
`

func (f *podKill) Begin(ctx context.Context, at time.Time) (Instant, error) {
	f.begun = true
	var ids []string
	for _, c := range f.pod.Containers {
		ids = append(ids, kubectl.Quote(c.ID))
	}
	line := fmt.Sprintf("at=%d pod=%s held=%s uid=%s; set -- %s\n%s",
		at.UnixNano(), kubectl.Quote(f.cgroup), kubectl.Quote(f.env.held()), kubectl.Quote(f.pod.UID), strings.Join(ids, " "), killScript)
	out, err := f.env.Shell.Shell(ctx, f.pod.Node, line, nil)
	if err != nil {
		return Instant{}, fmt.Errorf("killing %s: %w", f.pod.FullName(), err)
	}
	return parseInstant(out, f.pod.Node)
}

// liftScript checks that no container came back, lifts the limit of the pod's cgroup at the instant
// $at and prints the instants before and after. The sandbox is what the kill left alone. A runtime
// that tries to start a container has a process in the cgroup for moments, so it is looked at more than once.
const liftScript = `
d=$((at - $(date +%s%N))); [ $d -gt 0 ] && sleep "$((d / 1000000000)).$(printf %09d $((d % 1000000000)))"
started() { for c in "$pod"/*/; do case " $sandbox " in *" $(basename "$c") "*) ;; *) cat "$c/cgroup.procs" 2>/dev/null;; esac; done; }
back=
for i in 1 2 3; do back=$(started); [ -n "$back" ] || break; sleep 0.05; done
before=$(date +%s%N)
if read -r file value < "$held/$uid"; then [ ! -e "$file" ] || echo "$value" > "$file"; fi
after=$(date +%s%N)
rm -f "$held/$uid"
[ -z "$back" ] || { echo "the pod was not held: processes $back" >&2; exit 1; }
echo "$before $after"
`

func (f *podKill) End(ctx context.Context, at time.Time) (Instant, error) {
	if !f.begun || f.ended {
		return Instant{}, nil
	}
	line := fmt.Sprintf("at=%d pod=%s held=%s uid=%s sandbox=%s\n%s",
		at.UnixNano(), kubectl.Quote(f.cgroup), kubectl.Quote(f.env.held()), kubectl.Quote(f.pod.UID), kubectl.Quote(strings.Join(f.sandbox, " ")), liftScript)
	out, err := f.env.Shell.Shell(ctx, f.pod.Node, line, nil)
	if err != nil {
		return Instant{}, fmt.Errorf("letting %s restart: %w", f.pod.FullName(), err)
	}
	f.ended = true
	return parseInstant(out, f.pod.Node)
}

// Recover replaces the pod: its kubelet backs off for up to minutes before it tries again.
func (f *podKill) Recover(ctx context.Context) error {
	if !f.begun {
		return nil
	}
	if err := f.replace(ctx); err != nil {
		return err
	}
	return f.env.Healthy(ctx)
}

// replace lets the pod go, and has its owner make another.
func (f *podKill) replace(ctx context.Context) error {
	if _, err := releasePods(ctx, f.env, f.pod.Node); err != nil {
		return err
	}
	if _, err := f.env.kubectl(f.pod.Node).Run(ctx, "delete", "pod", "-n", f.pod.Namespace, f.pod.Name, "--grace-period=1", "--ignore-not-found", "--timeout=60s"); err != nil {
		return fmt.Errorf("replacing %s: %w", f.pod.FullName(), err)
	}
	return nil
}

// releasePods lifts every limit that a pod kill set on node and did not lift.
func releasePods(ctx context.Context, e Env, node string) (bool, error) {
	out, err := e.Shell.Shell(ctx, node, fmt.Sprintf(
		`for f in %s; do [ -e "$f" ] || continue; read -r file value < "$f"; [ ! -e "$file" ] || echo "$value" > "$file"; rm -f "$f"; echo released; done`,
		path.Join(e.held(), "*")), nil)
	if err != nil {
		return false, fmt.Errorf("letting pods of %s restart: %w", node, err)
	}
	return len(out) > 0, nil
}

// parseInstant reads "before after" in nanoseconds since the epoch.
func parseInstant(out []byte, clock string) (Instant, error) {
	fields := strings.Fields(string(out))
	if len(fields) != 2 {
		return Instant{}, fmt.Errorf("reading the instant of the fault: got %q", out)
	}
	before, err1 := strconv.ParseInt(fields[0], 10, 64)
	after, err2 := strconv.ParseInt(fields[1], 10, 64)
	if err1 != nil || err2 != nil {
		return Instant{}, fmt.Errorf("reading the instant of the fault: got %q", out)
	}
	return Instant{time.Unix(0, before), time.Unix(0, after), clock}, nil
}
