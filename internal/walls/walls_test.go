// SPDX-License-Identifier: Apache-2.0

// Package walls checks from the import lines what ARCHITECTURE.md promises: which room may use which.
package walls

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/dnsingress/dnsingress"

// A wall forbids packages below From, tests aside, to import anything below To.
type wall struct {
	from, to []string
	except   []string // packages below from that may
	why      string
}

var (
	kubernetes = []string{"k8s.io", "sigs.k8s.io/controller-runtime", "sigs.k8s.io/gateway-api"}
	pure       = []string{"cmd/dnsingress/internal/zone", "cmd/dnsingress/internal/geo", "cmd/dnsingress/internal/model", "cmd/dnsingress/internal/record", "cmd/dnsingress/internal/chain", "cmd/dnsingress/internal/replay", "internal/steer", "internal/stats"}
)

var walls = []wall{
	{from: []string{"cmd/dnsingress"}, to: []string{module + "/internal/results"}, why: "what is measured links no measuring code"},
	{from: []string{"cmd/analyze"}, to: []string{"github.com/tsenart/vegeta", "golang.org/x/crypto/ssh", module + "/cmd/testbed"}, why: "analyze reads results alone"},
	{from: pure, to: kubernetes, why: "pure packages know no Kubernetes"},
	{from: pure, to: []string{"net/http", "log/slog", "os/exec", "golang.org/x/sys", "golang.org/x/net"}, why: "pure packages do no I/O and keep no log"},
	{from: []string{"cmd", "internal"}, to: kubernetes, except: []string{"cmd/dnsingress/internal/kube"}, why: "package kube alone speaks Kubernetes"},
	{from: []string{"internal"}, to: []string{module + "/cmd"}, why: "what commands share depends on no command"},
}

// vagueNames are package names that say nothing of what is inside.
var vagueNames = []string{"util", "utils", "common", "helpers", "types", "misc", "shared"}

func TestWalls(t *testing.T) {
	set := token.NewFileSet()
	seen := 0
	eachGoFile(t, func(path string, src []byte) {
		file, err := parser.ParseFile(set, path, src, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			return
		}
		seen++
		if slices.Contains(vagueNames, file.Name.Name) {
			t.Errorf("%s: package name %q says nothing", path, file.Name.Name)
		}
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		dir := filepath.Dir(path)
		for _, imp := range file.Imports {
			to, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				t.Error(err)
				continue
			}
			for _, w := range walls {
				if below(dir, w.from) && !below(dir, w.except) && below(to, w.to) {
					t.Errorf("%s imports %s: %s", set.Position(imp.Pos()), to, w.why)
				}
			}
		}
	})
	if seen < 20 {
		t.Errorf("only %d Go files seen: the walk is broken", seen)
	}
}

func TestEveryGoFileNamesItsLicence(t *testing.T) {
	eachGoFile(t, func(path string, src []byte) {
		if !strings.HasPrefix(string(src), "// SPDX-License-Identifier: Apache-2.0\n") {
			t.Errorf("%s does not begin with its SPDX licence line", path)
		}
	})
}

// eachGoFile visits the Go files of this module and of the modules below it, by their path from the root.
func eachGoFile(t *testing.T, visit func(path string, src []byte)) {
	root := os.DirFS(filepath.Join("..", ".."))
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		src, err := fs.ReadFile(root, path)
		if err == nil {
			visit(path, src)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func below(path string, tops []string) bool {
	return slices.ContainsFunc(tops, func(top string) bool { return path == top || strings.HasPrefix(path, top+"/") })
}
