// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Status is what is known of one zone. It is what /forwards gives as JSON.
type Status struct {
	Zone       string            `json:"zone"`
	Policy     Policy            `json:"policy"`
	ServeStale float64           `json:"serve_stale_seconds"`
	Servers    []ServerStatus    `json:"servers"`
	Cache      CacheStatus       `json:"cache"`
	Answers    map[string]uint64 `json:"answers"`   // by what they come from: cached, asked, stale, failed, loop
	UnderWay   int               `json:"under_way"` // questions to servers
}

// ServerStatus is what is known of one server.
type ServerStatus struct {
	Address   string    `json:"address"`
	State     State     `json:"state"`
	Reason    string    `json:"reason,omitempty"` // why it is not up
	Since     time.Time `json:"since"`
	RoundTrip float64   `json:"round_trip_seconds,omitempty"` // smoothed; absent: it has never answered
	Asked     uint64    `json:"asked"`                        // questions, probes among them
	Failed    uint64    `json:"failed"`
	Loops     uint64    `json:"loops"`     // questions and probes that came back
	Strangers uint64    `json:"strangers"` // messages that came in place of a reply
}

// Status returns what is known of all zones, in their order in the configuration.
func (s *Service) Status() []Status {
	list := make([]Status, 0, len(s.relays))
	for _, r := range s.relays {
		x := Status{
			Zone: r.zone.Name, Policy: r.zone.Policy, ServeStale: r.zone.ServeStale.Seconds(), Cache: r.cache.status(),
			Answers: map[string]uint64{}, UnderWay: len(r.open),
		}
		for k := range results {
			x.Answers[k.String()] = r.counts[k].Load()
		}
		for _, u := range r.servers {
			x.Servers = append(x.Servers, u.status())
		}
		list = append(list, x)
	}
	return list
}

func (u *upstream) status() ServerStatus {
	u.mu.Lock()
	defer u.mu.Unlock()
	return ServerStatus{
		Address: u.to.String(), State: u.state, Reason: u.reason, Since: u.since, RoundTrip: u.srtt.Seconds(),
		Asked: u.asked.Load(), Failed: u.failed.Load(), Loops: u.loops.Load(), Strangers: u.strangers.Load(),
	}
}

var (
	descAnswers   = prometheus.NewDesc("dnsingress_forward_answers_total", "Questions for zones that are forwarded, by what they were answered from: cached, asked, stale, failed (SERVFAIL), loop (REFUSED).", []string{"zone", "result"}, nil)
	descUnderWay  = prometheus.NewDesc("dnsingress_forward_under_way", "Questions to servers of a zone that is forwarded, under way.", []string{"zone"}, nil)
	descEntries   = prometheus.NewDesc("dnsingress_forward_cache_entries", "Answers that are remembered.", []string{"zone"}, nil)
	descOctets    = prometheus.NewDesc("dnsingress_forward_cache_bytes", "What the answers that are remembered take.", []string{"zone"}, nil)
	descEvicted   = prometheus.NewDesc("dnsingress_forward_cache_evicted_total", "Answers forgotten before their time to make room.", []string{"zone"}, nil)
	descUp        = prometheus.NewDesc("dnsingress_forward_server_up", "1 where a server of a zone that is forwarded is up.", []string{"zone", "server"}, nil)
	descRoundTrip = prometheus.NewDesc("dnsingress_forward_server_round_trip_seconds", "Smoothed round-trip time to a server.", []string{"zone", "server"}, nil)
	descAsked     = prometheus.NewDesc("dnsingress_forward_server_questions_total", "Questions to a server, probes among them.", []string{"zone", "server"}, nil)
	descFailed    = prometheus.NewDesc("dnsingress_forward_server_failures_total", "Questions that a server did not answer, or not with anything of use.", []string{"zone", "server"}, nil)
	descLoops     = prometheus.NewDesc("dnsingress_forward_server_loops_total", "Questions and probes for a server that came back here.", []string{"zone", "server"}, nil)
	descStrangers = prometheus.NewDesc("dnsingress_forward_server_strangers_total", "Messages in place of a server's reply whose ID or question is another.", []string{"zone", "server"}, nil)
)

// Describe implements prometheus.Collector.
func (s *Service) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descAnswers, descUnderWay, descEntries, descOctets, descEvicted, descUp, descRoundTrip, descAsked, descFailed, descLoops, descStrangers,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *Service) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for _, z := range s.Status() {
		for result, n := range z.Answers {
			counter(descAnswers, n, z.Zone, result)
		}
		gauge(descUnderWay, float64(z.UnderWay), z.Zone)
		gauge(descEntries, float64(z.Cache.Entries), z.Zone)
		gauge(descOctets, float64(z.Cache.Octets), z.Zone)
		counter(descEvicted, z.Cache.Evicted, z.Zone)
		for _, u := range z.Servers {
			up := 0.0
			if u.State == Up {
				up = 1
			}
			gauge(descUp, up, z.Zone, u.Address)
			gauge(descRoundTrip, u.RoundTrip, z.Zone, u.Address)
			counter(descAsked, u.Asked, z.Zone, u.Address)
			counter(descFailed, u.Failed, z.Zone, u.Address)
			counter(descLoops, u.Loops, z.Zone, u.Address)
			counter(descStrangers, u.Strangers, z.Zone, u.Address)
		}
	}
}
