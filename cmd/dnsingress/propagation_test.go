// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// BenchmarkPropagation is the time from the writing of an EndpointSlice to the API server until a query over UDP
// sees it, with 1,000 Services of 10 endpoints. It reports the median and the 99th percentile in ms, from the
// beginning of the write and from its end, when the API server has acknowledged it.
func BenchmarkPropagation(b *testing.B) {
	const services, endpoints = 1000, 10
	c := startCluster(b)
	ns := c.namespace(b)
	slicesOf := make([]*discoveryv1.EndpointSlice, services)
	for i := range services {
		name := fmt.Sprintf("s%d", i)
		c.create(b, service(ns, name, hostnameKey, name+".apps.test"))
		var addresses []string
		for j := range endpoints {
			addresses = append(addresses, fmt.Sprintf("fd00::%x:%x", i+1, j+1))
		}
		slicesOf[i] = slice(ns, name, name, discoveryv1.AddressTypeIPv6, addresses...)
		c.create(b, slicesOf[i])
	}
	i := c.run(b, "")
	client := dns.Client{Timeout: 5 * time.Second}
	conn, err := client.Dial(i.dns.Addrs()[0].String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	answers := func(name string) int {
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeAAAA)
		m.SetEdns0(1232, false)
		r, _, err := client.ExchangeWithConn(m, conn)
		if err != nil {
			b.Fatal(err)
		}
		return len(r.Answer)
	}
	var whole, acknowledged []float64
	n := 0
	for b.Loop() {
		s := slicesOf[n*7919%services]
		n++
		ready := *s.Endpoints[0].Conditions.Ready
		s.Endpoints[0].Conditions.Ready = ptr(!ready)
		want := endpoints
		if ready {
			want--
		}
		began := time.Now()
		c.update(b, s)
		written := time.Now()
		for answers(s.Name+".apps.test.") != want {
			if time.Since(written) > time.Minute {
				b.Fatalf("%s is not answered with %d addresses after a minute", s.Name, want)
			}
		}
		seen := time.Now()
		whole = append(whole, seen.Sub(began).Seconds()*1000)
		acknowledged = append(acknowledged, seen.Sub(written).Seconds()*1000)
	}
	for name, values := range map[string][]float64{"write": whole, "ack": acknowledged} {
		slices.Sort(values)
		b.ReportMetric(values[len(values)/2], name+"-p50-ms")
		b.ReportMetric(values[len(values)*99/100], name+"-p99-ms")
	}
}
