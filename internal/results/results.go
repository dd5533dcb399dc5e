// SPDX-License-Identifier: Apache-2.0

package results

import (
	"fmt"
	"time"
)

// SchemaVersion is the version that this package writes.
const SchemaVersion = 1

// Names of the files in a run directory and in a trial directory.
const (
	ManifestFile  = "manifest.json"
	ScenarioFile  = "scenario.yaml"
	TrialsDir     = "trials"
	TrialFile     = "trial.json"
	VerdictFile   = "verdict.json"
	SamplesFile   = "samples.parquet"
	HistogramFile = "histogram.hlog"
	PhasesFile    = "phases.hlog" // a generator's; not part of a trial
	ResourcesFile = "resources.parquet"
	EventsFile    = "events.jsonl"
	AccuracyFile  = "accuracy.jsonl"

	AccuracySecondsFile = "accuracy-seconds.jsonl"

	LogsDir = "logs"
)

// Manifest says what a run was: enough to run it again and to judge it.
type Manifest struct {
	SchemaVersion int       `json:"schema_version"`
	Experiment    string    `json:"experiment"`
	RunID         string    `json:"run_id"`
	Question      string    `json:"question"`
	Hypothesis    string    `json:"hypothesis"`
	Substrate     string    `json:"substrate"` // twin | pi | sim
	Started       time.Time `json:"started"`
	Finished      time.Time `json:"finished,omitzero"`
	Seed          uint64    `json:"seed"`

	// Factors maps each factor to its levels, e.g. "system": ["direct", "nginx"].
	Factors map[string][]string `json:"factors"`

	Source Source `json:"source"`
	// Resumed are the later times at which the run was gone on with, after it had been interrupted.
	Resumed  []Resumption      `json:"resumed,omitempty"`
	Versions map[string]string `json:"versions"` // program or image → version
	// Settings that decide figures: heartbeat timers, TTLs, replica counts, how clients reach a proxy.
	Settings map[string]string `json:"settings"`
	// Differences says, by system, where it differs from what its name promises on other substrates.
	Differences map[string]string `json:"differences,omitempty"`

	Hosts []Host `json:"hosts"`
	// Thinning is empty when samples.parquet holds every attempt, else says what was left out.
	Thinning string `json:"thinning,omitempty"`
}

// Source is the state of the repository that the run's programs were built from.
type Source struct {
	Commit string `json:"commit"`
	Dirty  bool   `json:"dirty"`
}

// String is the commit in short, and that there were changes.
func (s Source) String() string {
	if s.Dirty {
		return fmt.Sprintf("%.12s with changes", s.Commit)
	}
	return fmt.Sprintf("%.12s", s.Commit)
}

// Resumption is where a run that had been interrupted goes on.
type Resumption struct {
	At     time.Time `json:"at"` // UTC
	Source Source    `json:"source"`
}

// Host describes one node of the cluster.
type Host struct {
	Name   string   `json:"name"`
	Groups []string `json:"groups"`
	Kernel string   `json:"kernel"`
	CPU    string   `json:"cpu"`
	CPUs   int      `json:"cpus"`
	Memory int64    `json:"memory_bytes"`
	BootID string   `json:"boot_id"` // equal for nodes that share a kernel
	// ClockOffsetNs is the host's clock minus the orchestrator's; its bound is half of ClockRTTNs.
	ClockOffsetNs int64 `json:"clock_offset_ns"`
	ClockRTTNs    int64 `json:"clock_rtt_ns"`
}

// Kinds of trial.
const (
	KindSteady  = "steady"
	KindFault   = "fault"
	KindChurn   = "churn"    // pods of the backend were replaced
	KindFindMax = "find-max" // the highest rate was searched; the window is that of the run that confirmed it
	KindIdle    = "idle"     // nobody asked
)

// Trial is one cell of the matrix, executed once: the unit of statistics.
type Trial struct {
	SchemaVersion int    `json:"schema_version"`
	ID            string `json:"id"`
	Index         int    `json:"index"`
	System        string `json:"system"`
	Kind          string `json:"kind"` // steady | fault | churn | find-max | idle
	// Factors are the trial's levels of every factor; "system" is among them.
	Factors map[string]string `json:"factors"`
	Rate    float64           `json:"rate_per_second"` // requests a second, all clients together

	StartedUnixNs  int64 `json:"started_unix_ns"`
	WindowStartNs  int64 `json:"window_start_unix_ns"` // first intended send that counts
	WindowEndNs    int64 `json:"window_end_unix_ns"`   // no intended send counts from here on
	FinishedUnixNs int64 `json:"finished_unix_ns"`

	Fault *Fault `json:"fault,omitempty"`
	// Generators holds what each load generator says of itself, by client node.
	Generators map[string]Generator `json:"generators"`
	// Measures are figures of this trial that are no rows of a file, by name; the name's last word is the
	// unit, as in "gone_servers_s" or "queries_root". What was not found is not among them.
	Measures map[string]float64 `json:"measures,omitempty"`
}

// Fault is what was broken in a trial, with the instants seen by the node that it was done on.
type Fault struct {
	Kind    string `json:"kind"` // e.g. pod-sigkill, pod-slow, node-power-cut
	Node    string `json:"node"`
	Target  string `json:"target"`
	BeginNs int64  `json:"begin_unix_ns"`
	EndNs   int64  `json:"end_unix_ns"`
}

// Generator is a load generator's account of its own honesty over the measured window.
type Generator struct {
	Requests  uint64 `json:"requests"` // intended sends in the window
	Dropped   uint64 `json:"dropped"`  // intended, never sent
	Late      uint64 `json:"late"`     // sent more than 1 ms after intended
	LagP50Ns  int64  `json:"lag_p50_ns"`
	LagP99Ns  int64  `json:"lag_p99_ns"`
	LagMaxNs  int64  `json:"lag_max_ns"`
	CPUNs     int64  `json:"cpu_ns"`     // user and system time in the window
	ElapsedNs int64  `json:"elapsed_ns"` // length of the window
}

// Verdict says whether a trial may be used. An invalid trial is kept, and never used.
type Verdict struct {
	Valid   bool     `json:"valid"`
	Reasons []string `json:"reasons"`
}

// Error classes of a Sample; the empty class is success.
const (
	ErrDNSTimeout     = "dns-timeout"
	ErrDNSServfail    = "dns-servfail"
	ErrDNSNXDomain    = "dns-nxdomain"
	ErrDNSNoData      = "dns-nodata"
	ErrDNSOther       = "dns-other"
	ErrConnectRefused = "connect-refused"
	ErrConnectTimeout = "connect-timeout"
	ErrConnectOther   = "connect-other"
	ErrTLS            = "tls"
	ErrReset          = "reset"
	ErrTimeout        = "timeout" // after the connection stood
	ErrHTTP           = "http"    // a reply that is no valid HTTP, or ends early
	ErrStatus         = "status"  // a valid reply with a status of 400 or above
	ErrDropped        = "dropped" // never sent: the generator had no worker free
	ErrLost           = "lost"    // an object of a stream that did not come to a subscriber
	ErrOther          = "other"
)

// Sample is one attempt of one request: a row of samples.parquet.
type Sample struct {
	Client      string `parquet:"client,dict"` // node of the load generator
	User        int32  `parquet:"user"`        // simulated client on that node
	Seq         uint64 `parquet:"seq,delta"`   // request number on that node
	Attempt     int32  `parquet:"attempt"`
	IntendedNs  int64  `parquet:"intended_ns,delta"`
	SentNs      int64  `parquet:"sent_ns,delta"` // 0 when never sent
	DNSNs       int64  `parquet:"dns_ns"`
	ConnectNs   int64  `parquet:"connect_ns"`
	TLSNs       int64  `parquet:"tls_ns"`
	FirstByteNs int64  `parquet:"first_byte_ns"`
	TotalNs     int64  `parquet:"total_ns"`
	DNSCached   bool   `parquet:"dns_cached"`
	Reused      bool   `parquet:"reused"` // the connection stood already
	Status      int32  `parquet:"status"` // HTTP status, 0 for none
	Error       string `parquet:"error,dict"`
	Peer        string `parquet:"peer,dict"`    // address that the connection went to
	Bytes       int64  `parquet:"bytes"`        // body bytes read
	Backend     string `parquet:"backend,dict"` // pod that answered, as its header X-Backend says; empty where none does

	Protocol    string `parquet:"protocol,dict"` // http/1.1, h2 or h3, once it is decided; else empty
	Request     string `parquet:"request,dict"`  // name of the request in a mix of several
	DNSQueries  int32  `parquet:"dns_queries"`   // sent for this attempt until its lookup ended; 0 when it was cached or joined another's
	DNSLateNs   int64  `parquet:"dns_late_ns"`   // from the lookup's begin to an answer that came after its deadline; 0 for none
	Connects    int32  `parquet:"connects"`      // connections begun; more than one where addresses were raced
	RetryDenied bool   `parquet:"retry_denied"`  // a further attempt was allowed by number and denied by the budget
}

// OK reports whether the attempt succeeded.
func (s *Sample) OK() bool { return s.Error == "" }

// Components that Resource rows are attributed to.
const (
	ComponentProxy        = "proxy"         // data plane of nginx, traefik, envoy
	ComponentController   = "controller"    // control plane of a proxy, where it is a process of its own
	ComponentDNSIngress   = "dnsingress"    // our server
	ComponentResolver     = "resolver"      // recursive resolvers of the clients
	ComponentBackend      = "backend"       // the service itself
	ComponentGenerator    = "generator"     // loadgen
	ComponentPrometheus   = "prometheus"    //
	ComponentControlPlane = "control-plane" // etcd, API server, controller manager, scheduler
	ComponentNodeAgent    = "node-agent"    // kubelet, containerd, shims
	ComponentHost         = "host"          // one row a kernel, from /proc/stat
	ComponentLink         = "link"          // one row a node: what went over its own interfaces
)

// Resource is what one unit used between the edges of the measured window: a row of resources.parquet.
type Resource struct {
	Node      string `parquet:"node,dict"`
	Component string `parquet:"component,dict"`
	Unit      string `parquet:"unit"` // namespace/pod/container, systemd unit, or boot id
	StartNs   int64  `parquet:"start_ns"`
	EndNs     int64  `parquet:"end_ns"`
	CPUNs     int64  `parquet:"cpu_ns"`     // host: busy (all but idle and iowait)
	SoftirqNs int64  `parquet:"softirq_ns"` // host only
	TotalNs   int64  `parquet:"total_ns"`   // host only: all CPUs' time, idle included
	RSSBytes  int64  `parquet:"rss_bytes"`  // at the end of the window
	RxBytes   int64  `parquet:"rx_bytes"`
	TxBytes   int64  `parquet:"tx_bytes"`

	RxPackets   int64 `parquet:"rx_packets"`  // host and link
	TxPackets   int64 `parquet:"tx_packets"`  // host and link
	Connections int64 `parquet:"connections"` // link only: TCP connections that the node itself opened or accepted
	Energy      int64 `parquet:"energy_uj"`   // link only: microjoules at the switch's port, where there is one that tells; else 0
}

// Event kinds.
const (
	EventPhase = "phase"
	EventFault = "fault"
	EventPool  = "pool"
	// EventClient is something that a user met: Target is the user's number. Of LastTry, Detail has after_ns.
	EventClient = "client"
	EventClock  = "clock" // of a node, against the orchestrator's: Detail has offset_ns and rtt_ns
	// EventAnswer is that the server Target began to answer Node with something else: Name is addresses (in Detail), silent, or
	// a response code; Detail has until_ns, the instant of its last such answer.
	EventAnswer = "answer"
	// EventMark is a mark of a scenario's chaos: where a figure begins or ends to count.
	EventMark = "mark"
	// EventChurn is that a pod of the backend was deleted on purpose: Target is the pod, Detail has its address.
	EventChurn = "churn"
	// EventRecord is that a DNS record was changed: Target is the name, Detail has its data.
	EventRecord = "record"
)

// Accuracy is what was answered to the queries of one second: a line of accuracy-seconds.jsonl. Right, stale, missing and wrong
// add up to answers; a query that got none counts as missing.
type Accuracy struct {
	UnixNs  int64  `json:"unix_ns"` // begin of the second
	Answers uint64 `json:"answers"`
	Right   uint64 `json:"right"`
	Stale   uint64 `json:"stale"`
	Missing uint64 `json:"missing"`
	Wrong   uint64 `json:"wrong"`
}

// LastTry is the name of the event that a user tried a removed address for the last time, after_ns nanoseconds after the
// removal: 0, and the removal's instant, of a user who never did.
const LastTry = "last-try"

// Event is something that happened at an instant: a line of events.jsonl.
type Event struct {
	UnixNs int64             `json:"unix_ns"`
	Kind   string            `json:"kind"`
	Name   string            `json:"name"`
	Node   string            `json:"node,omitempty"`
	Target string            `json:"target,omitempty"`
	Detail map[string]string `json:"detail,omitempty"`
}
