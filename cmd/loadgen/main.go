// Command loadgen puts Keyfold under load, with real events or generated ones, and
// says how fast it was and whether every state is right.
//
// Usage:
//
//	loadgen demo              half a minute that shows what Keyfold does
//	loadgen run               one load, measured, and verified if asked
//	loadgen recover DIR       open what a run left, and verify it
//	loadgen replay-check DIR  fold the log of a store twice, and compare with its snapshots
//	loadgen replay DIR        fold the log that a run has kept again, into another store
//	loadgen crash             kill a process under load again and again
//	loadgen restart           kill one under full load, and time the opening of what it left
//	loadgen profile FILE      where the time went in a CPU profile, or what changed
//	loadgen limit             the engine beside what the machine could do without it
//	loadgen find-max          the highest rate that keeps a limit of latency
//	loadgen sweep             the cost of an event as keys, shards and others grow
//	loadgen snapshot          what a snapshot costs a store under full load
//	loadgen guest             what a loaded engine does to a net/http handler beside it
//	loadgen prices            what a layer costs: a table with it beside the same without
//	loadgen skew              hot keys that change their place, and what rebalancing makes of it
//	loadgen peers             what a user would pick instead, beside the engine
//	loadgen compare OLD NEW   what has changed between results, and whether by chance
//	loadgen doctor            what will disturb a measurement on this machine
//	loadgen size              what a store of a given size will need
//	loadgen report FILE ...   BENCHMARKS.md, charts and a page from the JSON of runs
//
// The exit code is 0 if all is well, 1 for wrong usage, 2 for a failure, 3 if a limit
// was broken, 4 if a state is not what it must be.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/keyfold/keyfold/bench/drill"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/engine"
)

// Exit codes.
const (
	exitFine   = 0
	exitUsage  = 1
	exitFailed = 2
	exitLimit  = 3
	exitVerify = 4
)

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usage is the error of a wrong flag or argument.
func usage(format string, a ...any) error { return &exitError{exitUsage, fmt.Errorf(format, a...)} }

// process is what the commands have of the world.
type process struct {
	ctx    context.Context // ends at an interrupt
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	args   []string
	open   drill.Opener
	child  func(ctx context.Context, orders string) *exec.Cmd
}

// command is the command line. Where a file was on this machine is left out.
func (p *process) command() string {
	words := []string{"loadgen"}
	for _, arg := range p.args {
		flag, value, ok := strings.Cut(arg, "=")
		switch {
		case filepath.IsAbs(arg):
			arg = filepath.Base(arg)
		case ok && filepath.IsAbs(value):
			arg = flag + "=" + filepath.Base(value)
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

// flags are the commands and their flags.
type flags struct {
	Demo        demoCommand        `cmd:"" help:"Show in half a minute what Keyfold does: fold real events, kill a process under load, recover, check every key."`
	Run         runCommand         `cmd:"" help:"Send one load, measure it, and verify it if asked."`
	Recover     recoverCommand     `cmd:"" help:"Open the store that a run left, say what recovery took, and verify every key."`
	ReplayCheck replayCheckCommand `cmd:"" name:"replay-check" help:"Fold the log of the store that a run left, twice, and compare the states with each other and with its snapshots; code 4 if they differ."`
	Replay      replayCommand      `cmd:"" help:"Fold the log that a run has kept into a new store, in parallel, say how fast beside the run, and verify every key."`
	Crash       crashCommand       `cmd:"" help:"Kill a process under load again and again, and check each time that nothing acknowledged is lost."`
	Restart     restartCommand     `cmd:"" help:"Kill a process under full load at a random moment, open what it left, say what that took, and verify every key."`
	Limit       limitCommand       `cmd:"" help:"Measure the engine beside what the machine could do without it, in turn: ratio_to_limit."`
	FindMax     findMaxCommand     `cmd:"" help:"Find the highest rate of an open loop that keeps a limit of latency."`
	Sweep       sweepCommand       `cmd:"" help:"Measure the cost of an event as something grows: keys, partitions, shards and others."`
	Snapshot    snapshotCommand    `cmd:"" help:"Measure what a snapshot costs a store under full load: throughput, latency of calls, memory; in turn with none."`
	Guest       guestCommand       `cmd:"" help:"Measure what a loaded engine does to a net/http handler in its process, in turn with none."`
	Skew        skewCommand        `cmd:"" help:"Drive loads whose hot keys change their place, and show what rebalancing makes of it."`
	Prices      pricesCommand      `cmd:"" help:"Measure what ids, names, timers, times to live, a kept log and its readers cost: a table with each beside the same without, in turn."`
	Peers       peersCommand       `cmd:"" passthrough:"" help:"Measure what a user would pick instead, beside the engine: builds and runs bench/peers."`
	Compare     compareCommand     `cmd:"" help:"Compare results, by the statistics of benchstat; code 3 beyond a limit."`
	Doctor      doctorCommand      `cmd:"" help:"Look at the machine: how it syncs, and what will disturb a measurement."`
	Size        sizeCommand        `cmd:"" help:"Say what a store will need: memory, disk, seconds to recover, from rates measured here."`
	Profile     profileCommand     `cmd:"" help:"Say where the time went in a CPU profile of a run or of Go benchmarks, or what changed between two."`
	Report      reportCommand      `cmd:"" help:"Write BENCHMARKS.md, charts and an HTML page from the JSON results of runs."`
	Child       childCommand       `cmd:"" hidden:"" help:"Run a child of crash or demo."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends the program at once
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(start(&process{
		ctx: ctx, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		args: os.Args[1:], open: store.Open, child: self,
	}))
}

// self runs this program again, as a child.
func self(ctx context.Context, orders string) *exec.Cmd {
	name, err := os.Executable()
	if err != nil {
		name = os.Args[0]
	}
	return exec.CommandContext(ctx, name, "child", orders)
}

// checked is a writer that remembers that it failed: nobody reads any more.
type checked struct {
	io.Writer
	err error
}

// Write writes, and never fails, so that what was begun comes to its end.
func (c *checked) Write(p []byte) (int, error) {
	if _, err := c.Writer.Write(p); err != nil && c.err == nil {
		c.err = fmt.Errorf("the output could not be written: %w", err)
	}
	return len(p), nil
}

// start runs the command that the arguments name, and returns the exit code.
func start(p *process) int {
	out := &checked{Writer: p.stdout}
	p.stdout = out
	run, err := parse(p)
	if err == nil && run != nil {
		err = run()
	}
	if err == nil {
		err = out.err
	}
	if err == nil {
		return exitFine
	}
	fmt.Fprintf(p.stderr, "loadgen: %s\n", sentence(err))
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return exitFailed
}

// parse reads the arguments. It returns nothing to run if they asked for help.
func parse(p *process) (func() error, error) {
	helped := false
	parser, err := kong.New(&flags{}, kong.Name("loadgen"),
		kong.Description("Put Keyfold under load, and check that every state is right."),
		kong.Writers(p.stdout, p.stderr), kong.Exit(func(int) { helped = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		doors(), kong.Bind(p))
	if err != nil {
		return nil, err
	}
	k, err := parser.Parse(p.args)
	if helped {
		return nil, nil
	}
	if err != nil {
		return nil, usage("%w (loadgen --help says more)", err)
	}
	return func() error { return k.Run() }, nil
}

// sentence says in one line what went wrong, and what can be done if that is clear.
func sentence(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	switch {
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, engine.ErrReadOnly):
		first, _, _ := strings.Cut(err.Error(), "\n")
		return "the disk is full; make room, or choose another --dir: " + first
	case errors.Is(err, fs.ErrPermission):
		return "no permission: " + text
	}
	if _, damaged := errors.AsType[*engine.CorruptError](err); damaged {
		return text + "; keep the directory, and run keyfold verify on the store in it"
	}
	return text
}
