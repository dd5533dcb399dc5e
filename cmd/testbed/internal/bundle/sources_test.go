// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"archive/zip"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// module writes a Go module with one program and returns a store that has it as its repository.
func module(t *testing.T) (*Store, *GoProgram) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), "module example.test/m\n\ngo 1.26\n")
	write(t, filepath.Join(dir, "cmd/hello/main.go"), "package main\n\nimport \"example.test/m/word\"\n\nfunc main() { println(word.Word) }\n")
	write(t, filepath.Join(dir, "word/word.go"), "package word\n\nconst Word = \"hello\"\n")
	write(t, filepath.Join(dir, "other/other.go"), "package other\n")
	s, err := Open(t.TempDir(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return s, &GoProgram{Module: ".", Package: "./cmd/hello"}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func TestGoProgramIsBuiltAndKeyedByWhatItImports(t *testing.T) {
	s, p := module(t)
	item, err := s.Get(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(item.Path).CombinedOutput()
	if err != nil || string(out) != "hello\n" {
		t.Fatalf("it says %q, error %v", out, err)
	}
	key := func() string {
		k, err := p.Key(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	write(t, filepath.Join(s.Repo, "other/other.go"), "package other\n\nvar X int\n")
	write(t, filepath.Join(s.Repo, "word/word_test.go"), "package word\n")
	if key() != item.Key {
		t.Error("the key follows files that are no part of the program")
	}
	write(t, filepath.Join(s.Repo, "word/word.go"), "package word\n\nconst Word = \"bye\"\n")
	if key() == item.Key {
		t.Error("the key does not follow a package that the program imports")
	}
}

func TestGoProgramTellsTheCompilersErrors(t *testing.T) {
	s, p := module(t)
	write(t, filepath.Join(s.Repo, "word/word.go"), "package word\n\nconst Word = 1 +\n")
	if _, err := s.Get(t.Context(), p); err == nil || !strings.Contains(err.Error(), "word.go:") {
		t.Errorf("error %v, want one that names word.go", err)
	}
}

// wheel writes a wheel with a program in it and the list that pins it, and has pip find it in a directory.
func wheel(t *testing.T, s *Store, hash func(sum string) string) {
	t.Helper()
	if _, err := output(t.Context(), "", nil, "python3", "-m", "pip", "--version"); err != nil {
		t.Skip("python3 has no pip (apt-get install python3-pip)")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "tool_bin-1.0-py3-none-any.whl")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for name, text := range map[string]string{
		"tool_bin/bin/tool":               "#!/bin/sh\necho tool\n",
		"tool_bin-1.0.dist-info/WHEEL":    "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		"tool_bin-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tool-bin\nVersion: 1.0\n",
		"tool_bin-1.0.dist-info/RECORD":   "",
	} {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(data))
	s.Repo = dir
	write(t, filepath.Join(dir, "tools/wheels.txt"), "# pinned\ntool-bin==1.0 \\\n    --hash=sha256:"+hash(sum)+"\n")
	t.Setenv("PIP_NO_INDEX", "1")
	t.Setenv("PIP_FIND_LINKS", dir)
}

func TestWheelGivesItsProgram(t *testing.T) {
	s := testStore(t)
	wheel(t, s, func(sum string) string { return sum })
	item, err := s.Get(t.Context(), &Wheel{Package: "tool-bin", Member: "*/bin/tool", As: "tool"})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(item.Path).Output(); err != nil || string(out) != "tool\n" {
		t.Errorf("it says %q, error %v", out, err)
	}
	if _, err := s.Get(t.Context(), &Wheel{Package: "tool-bin", Member: "no/such", As: "other"}); err == nil || !strings.Contains(err.Error(), "it has tool_bin/bin/tool") {
		t.Errorf("error %v, want one that says what the wheel has", err)
	}
	if _, err := s.Get(t.Context(), &Wheel{Package: "tool", Member: "x", As: "x"}); err == nil || !strings.Contains(err.Error(), "wheels.txt has no tool") {
		t.Errorf("error %v, want one about the list", err)
	}
}

func TestWheelOfAnotherHashIsRefused(t *testing.T) {
	s := testStore(t)
	wheel(t, s, func(string) string { return strings.Repeat("0", 64) })
	if _, err := s.Get(t.Context(), &Wheel{Package: "tool-bin", Member: "*/bin/tool", As: "tool"}); err == nil || !strings.Contains(err.Error(), "HASH") {
		t.Errorf("error %v, want pip's complaint about the hash", err)
	}
}

func TestAddLibrariesMakesAProgramRun(t *testing.T) {
	const program = "/bin/sh" // of this machine, whose root is the tree of libraries
	if _, loader, err := imports(program); err != nil || loader == "" {
		t.Skipf("%s is no dynamic program: %v", program, err)
	}
	if _, ok := findLibrary("/", "libc.so.6"); !ok {
		t.Skip("this machine has its libraries elsewhere than Debian")
	}
	dst := t.TempDir()
	if err := addLibraries([]string{program}, "/", dst); err != nil {
		t.Fatal(err)
	}
	loader, err := filepath.Glob(filepath.Join(dst, "lib*/ld-linux*"))
	if err != nil || len(loader) == 0 {
		t.Fatal("the tree has no loader", err)
	}
	libc, ok := findLibrary(dst, "libc.so.6")
	if !ok {
		t.Fatal("the tree has no libc")
	}
	out, err := exec.Command(loader[0], "--library-path", filepath.Dir(filepath.Join(dst, libc)), "--list", program).CombinedOutput()
	if err != nil || !strings.Contains(string(out), dst) {
		t.Errorf("the loader says\n%s, error %v", out, err)
	}
	if err := addLibraries([]string{program}, t.TempDir(), t.TempDir()); err == nil {
		t.Error("no error where there are no libraries")
	}
}

func TestKubernetesOfTheEnvironmentMustBeWhole(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("KUBE_BIN_DIR", dir)
	s := testStore(t)
	if _, err := s.Look(t.Context(), &Kubernetes{}); err == nil || !strings.Contains(err.Error(), "kube-apiserver") {
		t.Errorf("error %v, want one that names what is missing", err)
	}
	for _, name := range append(kubernetesPrograms(), "etcd") {
		write(t, filepath.Join(dir, name), "")
	}
	if item, err := s.Look(t.Context(), &Kubernetes{}); err != nil || item.Path != dir || !item.Cached {
		t.Errorf("%+v, error %v", item, err)
	}
}
