// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/spf13/pflag"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/accuracy"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/openloop"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/query"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
)

// accuracyFile is the name of the changes among the results: how each came to each server.
const accuracyFile = "accuracy.jsonl"

// truthFlags say how the truth is known.
type truthFlags struct {
	how          string
	zone         string
	count        int
	records      int
	changes      float64
	deletes      float64
	ttl          uint32
	updateServer string
	tsig         string
	after        string
	subset       bool
	settle       time.Duration
	eventDelay   time.Duration
}

func (f *truthFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.how, "accuracy", "", "judge answers; the truth is made or told by: update, zonefile:PATH, dnsendpoint:PATH, events:PATH")
	fs.StringVar(&f.zone, "zone", "", "accuracy: zone in which names are made")
	fs.IntVar(&f.count, "names", 20, "accuracy: how many names are made")
	fs.IntVar(&f.records, "records", 2, "accuracy: records a name")
	fs.Float64Var(&f.changes, "changes", 1, "accuracy: changes a second, over all names")
	fs.Float64Var(&f.deletes, "deletes", 0.2, "accuracy: share of changes that remove a name, which the next change of it makes anew")
	fs.Uint32Var(&f.ttl, "record-ttl", 5, "accuracy: TTL of what is made, in seconds")
	fs.StringVar(&f.updateServer, "update-server", "", "accuracy: server that takes the updates (default: the first SERVER)")
	fs.StringVar(&f.tsig, "tsig", "", "accuracy: key that signs updates, as hmac-sha256:NAME:SECRET")
	fs.StringVar(&f.after, "after", "", "accuracy: command that is run when the file is written, by sh -c")
	fs.BoolVar(&f.subset, "subset", false, "accuracy: an answer that holds a part of a name's records is right")
	fs.DurationVar(&f.settle, "settle", 10*time.Second, "accuracy: how long servers may take to show what was made at the beginning, and a change before the name is changed again")
	fs.DurationVar(&f.eventDelay, "event-delay", time.Second, "accuracy: how late events may come; answers are judged that much later")
}

// truthSource is what judges answers, and what changes the truth meanwhile.
type truthSource struct {
	truth     *accuracy.Truth
	questions []query.Question
	take      func(accuracy.Answer)

	driver   *accuracy.Driver
	stream   *accuracy.Stream
	deferred *accuracy.Deferred
	servers  []netip.AddrPort

	file   *os.File
	out    *bufio.Writer
	failed error // the first of writing
	others int   // events of other names
}

// open checks the flags and returns the source; nil without --accuracy.
func (f *truthFlags) open(d *dnsFlags, servers []netip.AddrPort, qtype uint16, stdin io.Reader) (*truthSource, error) {
	if f.how == "" {
		return nil, nil
	}
	var p problems
	how, path, _ := strings.Cut(f.how, ":")
	p.check(how == "update" || path != "", "--accuracy %s needs a path (hint: %s:PATH)", how, how)
	p.oneOf("--accuracy", how, "update", "zonefile", "dnsendpoint", "events")
	p.check(!d.find.on, "--accuracy and --find-max exclude each other")
	p.check(len(d.names) == 0 && d.list == "", "--accuracy asks for the names whose truth it knows: --name and --list exclude it")
	s := &truthSource{servers: servers}
	if how == "events" {
		if len(p) > 0 {
			return nil, errors.Join(p...)
		}
		return s, f.follow(s, path, d, stdin)
	}
	p.check(f.zone != "", "--zone is missing (hint: --zone apps.test)")
	_, isName := dns.IsDomainName(f.zone)
	p.check(isName, "--zone: %q is no domain name", f.zone)
	p.check(f.count > 0 && f.count <= 1_000_000, "--names must be from 1 to 1000000, not %d", f.count)
	p.check(f.records > 0 && f.records <= 20, "--records must be from 1 to 20, not %d", f.records)
	p.check(f.changes >= 0 && f.changes <= 10_000, "--changes must be from 0 to 10000, not %g", f.changes)
	p.check(f.deletes >= 0 && f.deletes <= 1, "--deletes must be from 0 to 1, not %g", f.deletes)
	p.check(f.settle > 0, "--settle must be positive")
	p.check(qtype == dns.TypeA || qtype == dns.TypeAAAA || qtype == dns.TypeTXT, "--type: data of type %s cannot be made (hint: AAAA, A or TXT)", d.qtype)
	maker, err := f.maker(how, path, servers)
	if err != nil {
		p = append(p, err)
	}
	if len(p) > 0 {
		return nil, errors.Join(p...)
	}
	names := accuracy.Names(f.zone, f.count)
	for _, n := range names {
		s.questions = append(s.questions, query.Question{Name: n, Type: qtype})
	}
	s.truth = accuracy.NewTruth(len(names), texts(servers), f.subset, s.report)
	s.take = s.truth.Judge
	s.driver = &accuracy.Driver{
		Truth: s.truth, Maker: maker, Names: names, Type: qtype, Records: f.records, Rate: f.changes, Deletes: f.deletes,
		Settle: f.settle, Rng: d.seeded("changes"),
	}
	return s, nil
}

func texts(servers []netip.AddrPort) []string {
	out := make([]string, len(servers))
	for i, s := range servers {
		out[i] = s.String()
	}
	return out
}

func (f *truthFlags) maker(how, path string, servers []netip.AddrPort) (accuracy.Maker, error) {
	if how != "update" {
		render := accuracy.ZoneFile
		if how == "dnsendpoint" {
			render = accuracy.DNSEndpoint
		}
		return &accuracy.File{Path: path, Zone: f.zone, TTL: f.ttl, After: f.after, Render: render}, nil
	}
	var p problems
	p.check(f.after == "", "--after is run when a file is written: --accuracy update writes none")
	u := &accuracy.Update{Server: servers[0], Zone: f.zone, TTL: f.ttl}
	if f.updateServer != "" {
		server, err := (&dnsFlags{}).server(f.updateServer)
		p.note("--update-server", err)
		u.Server = server
	}
	if f.tsig != "" {
		var err error
		u.Key, err = accuracy.ParseKey(f.tsig)
		p.note("--tsig", err)
	}
	return u, errors.Join(p...)
}

// follow makes s follow a stream of events.
func (f *truthFlags) follow(s *truthSource, path string, d *dnsFlags, stdin io.Reader) error {
	var names []accuracy.Change
	var err error
	if s.stream, names, err = accuracy.OpenStream(path, io.NopCloser(stdin)); err != nil {
		return fmt.Errorf("--accuracy: %w", err)
	}
	s.truth = accuracy.NewTruth(len(names), texts(s.servers), f.subset, s.report)
	now := time.Now()
	for i, n := range names {
		s.questions = append(s.questions, query.Question{Name: n.Name, Type: n.Type})
		s.truth.Begin(i, n.Data, now)
		s.truth.Done(i, now)
	}
	s.deferred = accuracy.Defer(s.truth, f.eventDelay, int(2*d.rate*f.eventDelay.Seconds())+1024)
	s.take = s.deferred.Judge
	return nil
}

// judge is a query.Judge.
func (s *truthSource) judge(r query.Reply) {
	data, silent := accuracy.Read(r.Wire, s.questions[r.Question].Type)
	s.take(accuracy.Answer{Server: r.Server, Name: r.Question, Sent: r.Sent, Received: r.Received, Silent: silent, Data: data})
}

// begin makes the names, and the file that the changes go to.
func (s *truthSource) begin(ctx context.Context, d *dnsFlags) error {
	if d.out != "" {
		if err := os.MkdirAll(d.out, 0o755); err != nil {
			return fmt.Errorf("making output directory: %w", err)
		}
		var err error
		if s.file, err = os.OpenFile(filepath.Join(d.out, accuracyFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err != nil {
			return fmt.Errorf("creating the file of changes: %w (hint: --out a new directory)", err)
		}
		s.out = bufio.NewWriter(s.file)
	}
	if s.driver == nil {
		return nil
	}
	return s.driver.Begin(ctx, s.servers, d.network)
}

// report writes what became of a change at a server.
func (s *truthSource) report(r accuracy.Reached) {
	if s.out == nil {
		return
	}
	r.Of = s.questions[r.Name].Name
	if err := json.NewEncoder(s.out).Encode(r); err != nil && s.failed == nil {
		s.failed = fmt.Errorf("writing %s: %w", s.file.Name(), err)
	}
}

// follow makes the truth change while the job's load runs.
func (s *truthSource) follow(j *job) {
	load := j.flow
	if load == nil {
		load = func(ctx context.Context, p openloop.Plan, note record.Note) error {
			loop := openloop.Loop{Plan: p, Do: func(h openloop.Hit) { j.do(j.draw(h.Seq), h, note) }}
			return loop.Run(ctx)
		}
	}
	j.flow = func(ctx context.Context, p openloop.Plan, note record.Note) error {
		running, stop := context.WithCancelCause(ctx)
		changing, calm := context.WithCancel(running)
		over := make(chan struct{})
		if end := p.Close; s.driver != nil {
			p.Close = func() { end(); calm() } // what changes while replies alone are waited for, nobody asks for
		}
		go func() {
			defer close(over)
			var err error
			if s.driver != nil {
				err = s.driver.Run(changing)
			} else {
				s.others, err = s.stream.Follow(changing, s.truth)
			}
			if err != nil {
				stop(err)
			}
		}()
		err := load(running, p, note)
		if s.stream != nil {
			s.deferred.Close() // with the events that come meanwhile
		}
		calm()
		<-over
		stop(nil)
		return err
	}
	j.account = func(o *outcome) error {
		o.Accuracy = s.truth.Close()
		if s.driver != nil && s.driver.Skipped > 0 {
			o.Warnings = append(o.Warnings, fmt.Sprintf("%d changes fell due while no name was ready for one (hint: more --names, or a lower rate of --changes)", s.driver.Skipped))
		}
		if s.others > 0 {
			o.Warnings = append(o.Warnings, fmt.Sprintf("%d events were of names that the beginning of the events did not tell of", s.others))
		}
		if s.out == nil {
			return nil
		}
		return errors.Join(s.failed, s.out.Flush(), s.file.Close())
	}
}
