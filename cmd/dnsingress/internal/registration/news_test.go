// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNewsIsLoggedOnce(t *testing.T) {
	var n news
	for i := range 1000 {
		n.add(fmt.Sprintf("zone-%d.test.", i), line{slog.LevelWarn, "registration", NotRegistered, "the upper is away"})
	}
	n.add("zone-7.test.", line{level: slog.LevelInfo, text: "registration: all is well again"})
	for i := range 30 {
		n.add("zone-1.test.", line{slog.LevelWarn, "registration", ParentDisagree, fmt.Sprint("for reason ", i)})
	}
	var out strings.Builder
	n.log(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	for at, want := range map[int]string{
		0:        `level=WARN msg=registration zone=zone-0.test. andOthers=999 reason=NotRegistered message="the upper is away"`,
		1:        `level=INFO msg="registration: all is well again" zone=zone-7.test.`,
		2:        `level=WARN msg=registration zone=zone-1.test. reason=ParentDisagrees message="for reason 0"`,
		newsMost: `level=WARN msg="registration: there is more news than is logged; dnsingress explain has it" zone=zone-1.test. more=16`,
	} {
		if len(got) != newsMost+1 || got[at] != want {
			t.Fatalf("of %d lines, that at %d is not\n%s\nbut all are\n%s", len(got), at, want, out.String())
		}
	}
}
