// Command keyfold looks at stores that no engine has open: what is in them, and whether
// they are whole. It needs neither the program that wrote a store nor its types, and
// never changes one; salvage and restore make new ones.
//
//	keyfold verify DIR                    is every byte as it should be, and would Open take it
//	keyfold inspect DIR                   what the store holds
//	keyfold inspect DIR --table T         the keys of a table with their states
//	keyfold inspect DIR --log             the events in the logs
//	keyfold salvage DIR                   what could be kept of a store that is refused
//	keyfold salvage DIR --write --to NEW  a new store of that
//	keyfold restore FILE NEW              a new store of a backup
//
// All of them take --json: verify, salvage, restore and inspect DIR then write one document,
// inspect --table and --log one object a line. States and events are decoded by the layouts that the store holds;
// what a codec of a program's has encoded is shown in hexadecimal. States are those of
// the newest snapshot: only the program can fold the events behind it.
//
// The exit code is 0 if the store is whole, also with a torn end, which any crash leaves
// and Open drops; 1 for wrong usage; 2 if nothing could be said: there is no store, or it
// is open elsewhere; 3 if Open takes it although something in it is damaged, or if a
// salvage has met damage; 4 if Open refuses it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/keyfold/keyfold/engine"
)

// Exit codes.
const (
	exitFine    = 0
	exitUsage   = 1
	exitFailed  = 2
	exitDamaged = 3
	exitRefused = 4
)

// exitError is an error with an exit code of its own. Without an error it says nothing.
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
}

// flags are the commands and their flags.
type flags struct {
	Verify  verifyCommand  `cmd:"" help:"Read everything, check every hash, and say what is damaged and what that means."`
	Salvage salvageCommand `cmd:"" help:"Say what could be kept of a store that Open refuses, and with --write make a new store of it."`
	Restore restoreCommand `cmd:"" help:"Make a store of a backup, which Engine.Backup has written."`
	Inspect inspectCommand `cmd:"" help:"Show what a store holds: its tables, their keys and states, the events in its logs."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends the program at once
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(start(&process{ctx: ctx, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, args: os.Args[1:]}))
}

// start runs the command that the arguments name, and returns the exit code.
func start(p *process) int {
	run, err := parse(p)
	if err == nil && run != nil {
		err = run()
	}
	e, ok := errors.AsType[*exitError](err)
	unread := errors.Is(err, syscall.EPIPE) // nobody reads any more, but the code tells
	if err != nil && !unread && (!ok || e.err != nil) {
		fmt.Fprintf(p.stderr, "keyfold: %s\n", sentence(err))
	}
	switch {
	case ok:
		return e.code
	case err == nil || unread:
		return exitFine
	}
	return exitFailed
}

// parse reads the arguments. It returns nothing to run if they asked for help.
func parse(p *process) (func() error, error) {
	helped := false
	parser, err := kong.New(&flags{}, kong.Name("keyfold"),
		kong.Description("Look at Keyfold's stores: what is in them, and whether they are whole. "+
			"Exit code 0: whole; 1: wrong usage; 2: nothing could be said; 3: damaged, but it opens; 4: it does not open."),
		kong.Writers(p.stdout, p.stderr), kong.Exit(func(int) { helped = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Bind(p))
	if err != nil {
		return nil, err
	}
	k, err := parser.Parse(p.args)
	if helped {
		return nil, nil
	}
	if err != nil {
		return nil, usage("%w (keyfold --help says more)", err)
	}
	return func() error { return k.Run() }, nil
}

// sentence says in one line what went wrong, and what can be done if that is clear.
func sentence(err error) string {
	text := strings.NewReplacer("\n", "; ", "keyfold: ", "").Replace(err.Error()) // every layer says whose it is
	switch {
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.Is(err, engine.ErrLocked):
		return "the store is open; close the program that has it, or look at a copy: " + text
	case errors.Is(err, fs.ErrPermission):
		return "no permission: " + text
	case errors.Is(err, engine.ErrNoStore) && errors.Is(err, fs.ErrNotExist):
		return text + "; name the directory that a program gives to engine.Open"
	}
	return text
}

// printer writes lines, and remembers the first error.
type printer struct {
	to  io.Writer
	err error
}

// keep remembers that something could not be written.
func (p *printer) keep(err error) {
	if err != nil {
		p.err = fmt.Errorf("the output could not be written: %w", err)
	}
}

// outcome is the error of a command that was carried out: it has the code of what was
// found, and says nothing unless that could not be written.
func (p *printer) outcome(code int) error {
	if code == exitFine {
		return p.err
	}
	return &exitError{code, p.err}
}

// line writes a line with a head in a column of its own.
func (p *printer) line(head, format string, a ...any) {
	if p.err == nil {
		_, err := fmt.Fprintf(p.to, "%-12s"+format+"\n", append([]any{head}, a...)...)
		p.keep(err)
	}
}

// document writes v as JSON that a person can read, too.
func (p *printer) document(v any) {
	e := json.NewEncoder(p.to)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if p.err == nil {
		p.keep(e.Encode(v))
	}
}

// object writes v as one line of JSON.
func (p *printer) object(v any) {
	e := json.NewEncoder(p.to)
	e.SetEscapeHTML(false)
	if p.err == nil {
		p.keep(e.Encode(v))
	}
}
