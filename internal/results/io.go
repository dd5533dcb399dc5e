// SPDX-License-Identifier: Apache-2.0

package results

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"syscall"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// ErrSchema marks a directory whose schema this package cannot read.
var ErrSchema = errors.New("results: unsupported schema version")

// ErrNoRun marks a directory that holds no run.
var ErrNoRun = errors.New("results: not a run directory")

// Run is an opened run directory.
type Run struct {
	Dir      string
	Manifest Manifest
}

// OpenRun reads the manifest of the run in dir.
// It returns an error that wraps ErrNoRun or ErrSchema when dir is no run that this package can read.
func OpenRun(dir string) (*Run, error) {
	r := &Run{Dir: dir}
	path := filepath.Join(dir, ManifestFile)
	if err := readJSON(path, &r.Manifest); err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return nil, fmt.Errorf("%w: %s has no %s (hint: name a directory such as results/<experiment>/<run-id>)", ErrNoRun, dir, ManifestFile)
		}
		return nil, err
	}
	if v := r.Manifest.SchemaVersion; v < 1 || v > SchemaVersion {
		return nil, fmt.Errorf("%w: %s has version %d, this program reads 1 to %d", ErrSchema, path, v, SchemaVersion)
	}
	return r, nil
}

// CreateRun makes the run directory <root>/<experiment>/<run-id> and writes its manifest and scenario.
func CreateRun(root string, m Manifest, scenario []byte) (*Run, error) {
	m.SchemaVersion = SchemaVersion
	r := &Run{Dir: filepath.Join(root, m.Experiment, m.RunID), Manifest: m}
	if err := os.MkdirAll(filepath.Join(r.Dir, TrialsDir), 0o755); err != nil {
		return nil, fmt.Errorf("making run directory: %w", err)
	}
	if err := os.WriteFile(filepath.Join(r.Dir, ScenarioFile), scenario, 0o644); err != nil {
		return nil, fmt.Errorf("writing scenario: %w", err)
	}
	return r, r.SaveManifest()
}

// SaveManifest writes the manifest anew.
func (r *Run) SaveManifest() error {
	return WriteJSON(filepath.Join(r.Dir, ManifestFile), r.Manifest)
}

// TrialDir is one trial's directory with its small files read.
type TrialDir struct {
	Dir     string
	Trial   Trial
	Verdict Verdict
}

// Trials returns the run's trials in the order of execution.
// A trial without a verdict was interrupted: it is returned as invalid, with that reason.
func (r *Run) Trials() ([]TrialDir, error) {
	entries, err := os.ReadDir(filepath.Join(r.Dir, TrialsDir))
	if err != nil {
		return nil, fmt.Errorf("listing trials: %w", err)
	}
	var out []TrialDir
	var errs []error
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		t, err := OpenTrial(filepath.Join(r.Dir, TrialsDir, e.Name()))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, t)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Trial.Index < out[j].Trial.Index })
	return out, errors.Join(errs...)
}

// interrupted is the verdict of a trial that has none.
const interrupted = "interrupted: no verdict was written"

// OpenTrial reads the small files of the trial in dir.
func OpenTrial(dir string) (TrialDir, error) {
	t := TrialDir{Dir: dir}
	if err := readJSON(filepath.Join(dir, TrialFile), &t.Trial); err != nil {
		return t, err
	}
	err := readJSON(filepath.Join(dir, VerdictFile), &t.Verdict)
	if errors.Is(err, fs.ErrNotExist) {
		t.Verdict, err = Verdict{Reasons: []string{interrupted}}, nil
	}
	return t, err
}

// Interrupted reports whether the trial has no verdict: it was interrupted, or goes on.
func (t *TrialDir) Interrupted() bool {
	return !t.Verdict.Valid && len(t.Verdict.Reasons) == 1 && t.Verdict.Reasons[0] == interrupted
}

// WriteJSON writes v as indented JSON so that a reader sees the old file or the new one, never a part.
func WriteJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	return writeAtomic(path, append(b, '\n'))
}

func writeAtomic(path string, b []byte) error {
	tmp := path + ".tmp"
	err := os.WriteFile(tmp, b, 0o644)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, errors.Join(err, remove(tmp)))
	}
	return nil
}

// remove removes a file that may be missing.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("parsing %s: %w", path, err)
	}
	return nil
}

// RowWriter streams rows into a Parquet file, one row group at a time.
type RowWriter[T any] struct {
	f *os.File
	w *parquet.GenericWriter[T]
	n int
}

// rowGroup bounds the memory of a writer and the unit that a reader decodes.
const rowGroup = 1 << 16

// CreateRows makes the Parquet file at path for rows of type T (Sample or Resource).
func CreateRows[T any](path string) (*RowWriter[T], error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	return &RowWriter[T]{f: f, w: parquet.NewGenericWriter[T](f,
		parquet.Compression(&zstd.Codec{}),
		parquet.KeyValueMetadata("dnsingress.schema_version", fmt.Sprint(SchemaVersion)))}, nil
}

// Write appends rows.
func (w *RowWriter[T]) Write(rows ...T) error {
	if _, err := w.w.Write(rows); err != nil {
		return fmt.Errorf("writing %s: %w", w.f.Name(), err)
	}
	if w.n += len(rows); w.n >= rowGroup {
		w.n = 0
		if err := w.w.Flush(); err != nil {
			return fmt.Errorf("writing %s: %w", w.f.Name(), err)
		}
	}
	return nil
}

// Close writes the footer; without it the file cannot be read.
func (w *RowWriter[T]) Close() error {
	if err := errors.Join(w.w.Close(), w.f.Close()); err != nil {
		return fmt.Errorf("closing %s: %w", w.f.Name(), err)
	}
	return nil
}

// ReadRows calls visit for each batch of rows in the Parquet file at path.
// The batch is reused between calls.
func ReadRows[T any](path string, visit func([]T) error) error {
	pf, closer, err := OpenParquet(path)
	if err != nil {
		return err
	}
	defer closer.Close()
	r := parquet.NewGenericReader[T](pf)
	defer r.Close()
	buf := make([]T, 4096)
	for {
		n, err := readBatch(r, buf)
		if n > 0 {
			if err := visit(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
	}
}

func readBatch[T any](r *parquet.GenericReader[T], buf []T) (n int, err error) {
	defer Damaged(&err)
	return r.Read(buf)
}

// WriteAccuracy writes the seconds of a trial of workload dns, a line of JSON each.
func WriteAccuracy(path string, seconds []Accuracy) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for i := range seconds {
		if err := enc.Encode(&seconds[i]); err != nil {
			return fmt.Errorf("encoding %s: %w", path, err)
		}
	}
	return writeAtomic(path, b.Bytes())
}

// EventLog appends events to an events.jsonl.
type EventLog struct{ f *os.File }

// OpenEvents opens the event log at path for appending.
func OpenEvents(path string) (*EventLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return &EventLog{f}, nil
}

// Add appends one event, whole, in a single write.
func (l *EventLog) Add(e Event) error {
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding event: %w", err)
	}
	if _, err := l.f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("writing %s: %w", l.f.Name(), err)
	}
	return nil
}

// Close closes the file.
func (l *EventLog) Close() error { return l.f.Close() }

// ReadEvents returns the events in the file at path, in file order. A missing file holds none.
func ReadEvents(path string) ([]Event, error) { return readLines[Event](path) }

// ReadAccuracy reads an accuracy-seconds.jsonl; none where there is no such file.
func ReadAccuracy(path string) ([]Accuracy, error) { return readLines[Accuracy](path) }

// readLines reads a JSON object a line; none where there is no file at path.
func readLines[T any](path string) ([]T, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	defer f.Close()
	var out []T
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for line := 1; s.Scan(); line++ {
		var v T
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			return out, fmt.Errorf("parsing %s:%d: %w", path, line, err)
		}
		out = append(out, v)
	}
	if err := s.Err(); err != nil {
		return out, fmt.Errorf("reading %s: %w", path, err)
	}
	return out, nil
}
