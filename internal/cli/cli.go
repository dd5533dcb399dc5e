// SPDX-License-Identifier: Apache-2.0

// Package cli holds what the four commands share: signals, logs, exit codes, version.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes of every command.
const (
	ExitDone   = 0
	ExitFailed = 1
	ExitMisuse = 2
)

// MisuseError marks an error as the caller's: bad flags, arguments or input files. It exits with ExitMisuse.
type MisuseError struct{ Err error }

func (e *MisuseError) Error() string { return e.Err.Error() }
func (e *MisuseError) Unwrap() error { return e.Err }

// StatusError ends the process with a code and prints nothing: the program that it stands for, such
// as a command on another host, has said what there is to say.
type StatusError struct{ Code int }

func (e *StatusError) Error() string { return fmt.Sprintf("exit status %d", e.Code) }

// Misuse returns a MisuseError with a formatted message.
func Misuse(format string, a ...any) error { return &MisuseError{fmt.Errorf(format, a...)} }

// Main runs the command tree with the process's arguments until it ends or SIGINT or SIGTERM
// arrives, prints its error, and returns the exit code. A second signal ends the process at once.
func Main(root func(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return Run(ctx, root(os.Stdin, os.Stdout, os.Stderr), os.Args[1:], os.Stderr)
}

// Run executes the command tree with args and returns the exit code.
func Run(ctx context.Context, root *cobra.Command, args []string, stderr io.Writer) int {
	root.SetArgs(args)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &MisuseError{err} })
	markArgs(root)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitDone
	}
	if s := (*StatusError)(nil); errors.As(err, &s) {
		return s.Code
	}
	name := filepath.Base(root.Name())
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		fmt.Fprintf(stderr, "%s: interrupted\n", name)
		return ExitFailed
	}
	fmt.Fprintf(stderr, "%s: %v\n", name, err)
	if m := (*MisuseError)(nil); errors.As(err, &m) {
		return ExitMisuse
	}
	return ExitFailed
}

// markArgs makes each command's argument check, and a group called without a known subcommand, a misuse.
func markArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return Misuse("%w (hint: see '%s --help')", err, cmd.CommandPath())
			}
			return nil
		}
	}
	if c.HasSubCommands() && c.RunE == nil && c.Run == nil {
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return Misuse("%s needs a subcommand (hint: see '%s --help')", cmd.CommandPath(), cmd.CommandPath())
			}
			return Misuse("unknown command %q for %s (hint: see '%s --help')", args[0], cmd.CommandPath(), cmd.CommandPath())
		}
	}
	for _, sub := range c.Commands() {
		markArgs(sub)
	}
}

// Logger returns a logger for people (plain lines on stderr); level is debug, info, warn or error.
func Logger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, Misuse("unknown log level %q (hint: debug, info, warn or error)", level)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}

// Version returns the module version or the commit that the binary was built from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	rev, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			rev = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if rev != "" {
		return rev + dirty
	}
	return info.Main.Version
}
