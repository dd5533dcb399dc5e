// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dnsingress/dnsingress/internal/cli"
)

// v1 is the run that scripts find as $WORK/run: five systems, three valid steady trials and a fault each.
const v1 = "../../internal/results/testdata/v1/quickstart/20261121T200000Z"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"analyze": func() { os.Exit(cli.Main(command)) }})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			return errors.Join(
				os.CopyFS(filepath.Join(e.WorkDir, "run"), os.DirFS(v1)),
				os.CopyFS(filepath.Join(e.WorkDir, "other-machine"), os.DirFS(v1)),
			)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"truncate": truncate,
			"made":     made,
			"spoil":    spoil,
			"status":   status,
			"smaller":  smaller,
		},
	})
}

// truncate FILE BYTES cuts a file short.
func truncate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: truncate FILE BYTES")
	}
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), n))
}

// status CODE COMMAND... runs a command that must exit with the code.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE COMMAND...")
	}
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		got = fmt.Sprint(err)
		if len(got) > len("exit status ") {
			got = got[len("exit status "):]
		}
	}
	if got != args[0] {
		ts.Fatalf("exit status %s, want %s", got, args[0])
	}
}

// smaller A B BY checks that directory A's files are at most 1/BY of B's in size.
func smaller(ts *testscript.TestScript, neg bool, args []string) {
	by, err := strconv.ParseFloat(args[2], 64)
	ts.Check(err)
	size := func(dir string) (sum float64) {
		ts.Check(filepath.WalkDir(ts.MkAbs(dir), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			sum += float64(info.Size())
			return err
		}))
		return sum
	}
	if a, b := size(args[0]), size(args[1]); a*by > b {
		ts.Fatalf("%s has %.0f bytes, %s %.0f", args[0], a, args[1], b)
	}
}
