// SPDX-License-Identifier: Apache-2.0

// Command load holds loadgen beside vegeta, fortio, hey, wrk and dnsperf: on the same server, in the same run, rounds
// interleaved. It answers who reports wrong latencies, by how much, and what a request costs. See docs/load.md.
//
//	load truth [-rounds 5] [-duration 10s] [-rate 500]    percentiles reported beside those that must come out
//	load cost  [-rounds 5] [-duration 5s]                 CPU time a request, and send lag as the server sees it
//	load dns   [-rounds 5] [-duration 5s]                 CPU time a query beside dnsperf, on one dnsingress
//	load serve ADDR / load vegeta …                       parts of the above
//
// Programs are looked for in PATH; one that is not there is left out, and said so.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// settings of a comparison.
type settings struct {
	rounds   int
	duration time.Duration
	rate     float64
	raw      string // file for every measurement, one JSON object a line
	wait     *patience
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("what to do is missing (hint: truth, cost or dns)")
	}
	switch args[0] {
	case "serve":
		return serve(args[1:])
	case "vegeta":
		return attack(args[1:])
	case "spin":
		spin()
	}
	var s settings
	fs := flag.NewFlagSet(args[0], flag.ContinueOnError)
	fs.IntVar(&s.rounds, "rounds", 5, "rounds, each with every program once")
	fs.DurationVar(&s.duration, "duration", 10*time.Second, "length of each measurement")
	fs.Float64Var(&s.rate, "rate", 500, "truth: requests a second")
	s.wait = new(patience)
	fs.DurationVar(&s.wait.left, "patience", 5*time.Minute, "how long to wait in all while others have the processors")
	fs.StringVar(&s.raw, "raw", "", "file to append every measurement to, as JSON lines")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] {
	case "truth":
		return s.truth()
	case "cost":
		return s.cost()
	case "dns":
		return s.dns()
	}
	return fmt.Errorf("%q is nothing to do (hint: truth, cost or dns)", args[0])
}

// keep appends a measurement to the raw file.
func (s *settings) keep(v any) error {
	if s.raw == "" {
		return nil
	}
	f, err := os.OpenFile(s.raw, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("keeping a measurement: %w", err)
	}
	defer f.Close()
	return json.NewEncoder(f).Encode(v)
}
