// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/miekg/dns"
)

// QueryLog says which queries are written to the log. The zero value logs none.
type QueryLog struct {
	// Every is one query in so many, at random; 0: none.
	Every int
	// PerSecond bounds the lines; those beyond it are counted as lost. 0: 100.
	PerSecond int
}

// logSamples is how many queries wait to be logged at most.
const logSamples = 256

// logQueries writes a line for each sample until ctx ends.
func logQueries(ctx context.Context, f *feed, perSecond int, log *slog.Logger) {
	if perSecond <= 0 {
		perSecond = 100
	}
	lines, until := 0, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-f.full:
			if now := time.Now(); now.After(until) {
				lines, until = 0, now.Add(time.Second)
			}
			if lines++; lines > perSecond {
				f.lost.Add(1)
			} else {
				f.taken.Add(1)
				logQuery(ctx, s, log)
			}
			f.done(s)
		}
	}
}

func logQuery(ctx context.Context, s *sample, log *slog.Logger) {
	line := []slog.Attr{slog.String("client", s.from.String()), slog.String("proto", s.proto), slog.Int("size", len(s.query))}
	var q dns.Msg
	if err := q.Unpack(s.query); err != nil || len(q.Question) != 1 {
		line = append(line, slog.Bool("malformed", true))
	} else {
		asked := q.Question[0]
		line = append(line, slog.String("name", asked.Name), slog.String("type", dns.Type(asked.Qtype).String()),
			slog.String("class", dns.Class(asked.Qclass).String()), slog.Bool("edns", q.IsEdns0() != nil))
		if o := q.IsEdns0(); o != nil && o.Do() {
			line = append(line, slog.Bool("do", true))
		}
	}
	var r dns.Msg
	switch {
	case len(s.reply) == 0:
		line = append(line, slog.Bool("answered", false))
	case r.Unpack(s.reply) == nil:
		line = append(line, slog.String("rcode", rcodeName(r.Rcode)), slog.Int("answers", len(r.Answer)), slog.Bool("truncated", r.Truncated), slog.Int("reply", len(s.reply)))
	}
	log.LogAttrs(ctx, slog.LevelInfo, "query", line...)
}
