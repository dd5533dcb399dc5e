// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/internal/results"
)

// toldNodes answers each node's commands by what they contain.
type toldNodes map[string]string

func (n toldNodes) Shell(_ context.Context, _, line string, _ io.Reader) ([]byte, error) {
	for part, out := range n {
		if strings.Contains(line, part) {
			return []byte(out), nil
		}
	}
	return nil, errors.New("connection refused")
}
func (toldNodes) Put(context.Context, string, io.Reader, string, fs.FileMode) error { return nil }
func (toldNodes) Get(context.Context, string, string, io.Writer) error              { return nil }
func (toldNodes) ClockOffset(context.Context, string) (offset, rtt time.Duration, err error) {
	return 0, 0, nil
}

const oneNode = `version: 1
cluster: poison
substrate: twin
network: {nodes: "fd6e:7369:0:1::/64", services: "fd6e:7369:0:f::/112"}
zone: apps.test.
nodes:
  - {name: control-1, groups: [control, client], address: "fd6e:7369:0:1::1"}
  - {name: worker-1, groups: [worker], address: "fd6e:7369:0:1::11", pods: "fd6e:7369:0:11::/64"}
`

func poisoned(t *testing.T, nodes Nodes) *trial {
	t.Helper()
	inv, err := inventory.Parse("inventory.yaml", []byte(oneNode))
	if err != nil {
		t.Fatal(err)
	}
	r := &Runner{Inventory: inv, Nodes: nodes, Scenario: &scenario.Scenario{}, Log: slog.New(slog.DiscardHandler)}
	return &trial{Runner: r, cell: scenario.Cell{Trials: &scenario.Trials{}}, out: results.Trial{WindowStartNs: 100e9, WindowEndNs: 120e9}}
}

const activeTargets = `{"status":"success","data":{"activeTargets":[
	{"labels":{"job":"kubelet","instance":"[fd6e:7369:0:1::11]:10250"},"scrapeInterval":"5s"},
	{"labels":{"job":"pods","instance":"[fd6e:7369:0:11::7]:9100"},"scrapeInterval":"1s"}]}}`

// ups is Prometheus' answer about up: of the kubelet whole, of the pod as the values say.
func ups(pod string) string {
	return `{"status":"success","data":{"resultType":"matrix","result":[
	{"metric":{"job":"kubelet","instance":"[fd6e:7369:0:1::11]:10250"},"values":[[101,"1"],[106,"1"],[111,"1"],[116,"1"]]},
	{"metric":{"job":"pods","instance":"[fd6e:7369:0:11::7]:9100"},"values":[` + pod + `]}]}}`
}

// beats are scrapes from the instant from to the instant to, each second, but for those that skip says.
func beats(from, to int, value string, skip func(at int) bool) string {
	var b strings.Builder
	for at := from; at < to; at++ {
		if skip != nil && skip(at) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `[%d.4,%q]`, at, value)
	}
	return b.String()
}

// Scrapes that failed, that did not happen, and a Prometheus that is gone: each is seen.
func TestScrapesThatAreMissing(t *testing.T) {
	for name, test := range map[string]struct {
		pod     string
		missing int
	}{
		"none":                      {beats(100, 120, "1", nil), 0},
		"a pod that came later":     {beats(110, 120, "1", nil), 0},
		"three failed":              {beats(100, 117, "1", nil) + "," + beats(117, 120, "0", nil), 3},
		"a gap of four":             {beats(100, 120, "1", func(at int) bool { return at > 104 && at < 109 }), 4},
		"none since the half":       {beats(100, 110, "1", nil), 10},
		"none at all":               {"", 20},
		"one that is a little late": {beats(100, 110, "1", nil) + `,[110.8,"1"],` + beats(111, 120, "1", nil), 0},
	} {
		t.Run(name, func(t *testing.T) {
			trial := poisoned(t, toldNodes{"api/v1/targets": activeTargets, "api/v1/query": ups(test.pod)})
			if err := trial.scraped(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := trial.facts.scrapes; got.missing != test.missing || got.expected != 24 || len(trial.facts.missing) != 0 {
				t.Errorf("%+v, %v; want %d missing of 24", got, trial.facts.missing, test.missing)
			}
		})
	}
	t.Run("Prometheus is gone", func(t *testing.T) {
		trial := poisoned(t, toldNodes{})
		if err := trial.scraped(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := []string{"Prometheus on control-1: listing targets: connection refused"}; !cmp.Equal(want, trial.facts.missing) {
			t.Error(trial.facts.missing)
		}
	})
	t.Run("pods that are replaced on purpose", func(t *testing.T) {
		trial := poisoned(t, toldNodes{"api/v1/targets": activeTargets, "api/v1/query": ups("")})
		trial.cell.Trials.Churn = &scenario.Churn{Pods: 1}
		if err := trial.scraped(t.Context()); err != nil || trial.facts.scrapes.missing != 0 || trial.facts.scrapes.expected != 4 {
			t.Errorf("%+v, %v", trial.facts.scrapes, err)
		}
	})
}

// What a fault or a killed run left on a node is found, whatever stood there from the beginning.
func TestLeftoversOnNodes(t *testing.T) {
	before := map[string][]string{"worker-1": {"table inet filter"}}
	for left, want := range map[string]string{
		"queueing discipline netem on eth0": "worker-1: queueing discipline netem on eth0",
		"table ip6 testbed":                 "worker-1: table ip6 testbed",
		"stopped process (backend)":         "worker-1: stopped process (backend)",
		"kept from restarting: abc":         "worker-1: kept from restarting: abc",
		"a load generator":                  "worker-1: a load generator",
	} {
		now := map[string][]string{"worker-1": parseStanding("table inet filter\n" + left + "\n" + left + "\n")}
		if got := newOn(before, now); !cmp.Equal(got, []string{want}) {
			t.Errorf("%s: found %q", left, got)
		}
	}
	if got := newOn(before, map[string][]string{"worker-1": parseStanding("table inet filter\n")}); got != nil {
		t.Errorf("nothing was left, and found %q", got)
	}
}

// The script sees what is really there: a process of this test that is stopped.
func TestStandingScriptSeesAStoppedProcess(t *testing.T) {
	run := func() []string {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", standingScript).Output()
		if err != nil {
			t.Fatal(err)
		}
		return parseStanding(string(out))
	}
	shell, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), shell, "600")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	if out, err := exec.CommandContext(t.Context(), "kill", "-STOP", strconv.Itoa(c.Process.Pid)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		for _, l := range run() {
			if l == "stopped process (sleep)" {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("not seen within a minute")
		}
	}
}

// Each way in which a node's CPUs may be throttled is seen in the window, and what was before it is not.
func TestThrottled(t *testing.T) {
	read := func(lines string) *reading {
		r, err := parseReading([]byte("@stat 1\ncpu  1 0 1 1 0 0 0 0 0 0\n@throttle\n" + lines + "@end\n"))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	const heat = "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count:"
	for name, test := range map[string]struct{ start, end, want string }{
		"nobody says":             {"", "", ""},
		"not at all":              {"throttled=0x0\n", "throttled=0x0\n", ""},
		"long ago":                {"throttled=0x50000\n", "throttled=0x50000\n", ""},
		"in the window":           {"throttled=0x0\n", "throttled=0x50000\n", "under-voltage, throttled"},
		"now":                     {"throttled=0x50000\n", "throttled=0x50005\n", "under-voltage, throttled"},
		"at the begin alone":      {"throttled=0x80008\n", "throttled=0x80000\n", "soft temperature limit"},
		"frequency":               {"throttled=0x0\n", "throttled=0x20000\n", "frequency capped"},
		"heat, on other machines": {heat + "7\n", heat + "9\n", "throttled by heat 2 times"},
		"heat before":             {heat + "7\n", heat + "7\n", ""},
	} {
		if got := throttled(read(test.start), read(test.end)); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestTrafficOfALink(t *testing.T) {
	at := func(bytes, packets, opened string) *reading {
		return mustParse(t, "@stat %d\ncpu  1 0 1 1 0 0 0 0 0 0\n@net\n  eth0: %s %s 0 0 0 0 0 0 %s %s 0 0 0 0 0 0\n@tcp\n"+
			"Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails\nTcp: 1 200 120000 -1 %s 3 0\n@end\n", 1, bytes, packets, bytes, packets, opened)
	}
	u := usage{"w", at("100", "10", "5"), at("1100", "30", "9")}
	want := results.Resource{
		Node: "w", Component: results.ComponentLink, Unit: "w", StartNs: 1, EndNs: 1, RxBytes: 1000, TxBytes: 1000, RxPackets: 20, TxPackets: 20, Connections: 4,
	}
	if d := cmp.Diff(want, u.linkRow()); d != "" {
		t.Error(d)
	}
}

// TestUnwanted: the tables that route to Services are left over where no cluster's DNS is asked, and no others are ever wanted.
func TestUnwanted(t *testing.T) {
	found := []string{"client-1: table inet testbed-x", "client-1: table ip6 kube-proxy"}
	for _, test := range []struct {
		setup scenario.Setup
		want  []string
	}{
		{scenario.Setup{}, found},
		{scenario.Setup{ClusterDNS: true}, found[:1]},
	} {
		if got := unwanted(slices.Clone(found), test.setup); !slices.Equal(got, test.want) {
			t.Errorf("%+v: %q, want %q", test.setup, got, test.want)
		}
	}
}
