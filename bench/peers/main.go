// Command peers does the job of Keyfold with what else a Go program could embed or call,
// and with Keyfold, in turn, and says how fast each is, at what cost, and whether its
// result is right. See README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/dustin/go-humanize"

	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/peers/rival"
)

// Exit codes, those of loadgen.
const (
	exitUsage  = 1
	exitFailed = 2
	exitVerify = 4
)

// flags are those of the command line.
type flags struct {
	Peers    []string      `placeholder:"NAME,..." help:"Which peers; by default all that can run here."`
	Keys     count         `default:"1M" help:"How many keys; all are there before anything is measured (${default})."`
	Dist     string        `default:"zipf:0.99" help:"How keys are drawn: uniform, or zipf:0.99 (${default})."`
	Events   count         `help:"The most events of one measurement; by default as many as its time allows."`
	Duration time.Duration `default:"1s" help:"How long one measurement takes: half as long again if it is synced once a second, two fifths if each ack is synced (${default})."`
	Ack      []string      `default:"none,second,always" help:"When to sync: none, second, always (${default})."`
	Doors    []string      `default:"window,callers" help:"With --ack always: window, callers (${default}). Else events are streamed."`
	InFlight []int         `default:"1,64,1024" help:"With --ack always: how many events may be unacknowledged (${default})."`
	Rounds   int           `default:"3" help:"How often each peer has its turn; the table shows medians; 0: kills only (${default})."`
	Kills    int           `default:"1" help:"How often each peer is killed under load, after the rounds, and opened again (${default})."`
	Patience time.Duration `help:"How long a turn of a peer may take, filling it included: one that takes longer is left out, and named. By default so long that only a peer that is stuck is."`
	JSON     string        `name:"json" type:"path" placeholder:"FILE" help:"Store all rows as JSON."`
	Dir      string        `type:"path" help:"Where to make the directory of the stores, which is removed; by default that for temporary files."`
	Seed     uint64        `default:"42" help:"The same seed gives the same events (${default})."`
	List     bool          `help:"Say which peers there are, with their settings, and which cannot run here."`
	Child    string        `hidden:""`
}

// count is a number such as 10M or 200k.
type count uint64

// UnmarshalText reads a count.
func (c *count) UnmarshalText(text []byte) error {
	n, unit, err := humanize.ParseSI(strings.ToUpper(string(text)))
	if s := string(text); strings.HasSuffix(s, "k") {
		n, unit, err = humanize.ParseSI(s)
	}
	if err != nil || unit != "" || n < 0 || n != float64(uint64(n)) {
		return fmt.Errorf("%q is not a number such as 1000, 200k or 10M", text)
	}
	*c = count(n)
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := start(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// start runs a command line and returns the exit code.
func start(ctx context.Context, args []string) int {
	var f flags
	parser := kong.Must(&f, kong.Name("peers"), kong.Description("Measure Keyfold beside what a user would pick instead."))
	_, err := parser.Parse(args)
	switch {
	case err != nil:
		err = &exitError{exitUsage, fmt.Errorf("%w (--help says more)", err)}
	case f.Child != "":
		err = child(f.Child, os.Stdin, os.Stdout)
	case f.List:
		list(os.Stdout)
	default:
		err = f.run(ctx, args)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "peers:", err)
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return exitFailed
}

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// list says which peers there are.
func list(w io.Writer) {
	for _, r := range rival.Rivals() {
		fmt.Fprintf(w, "%-14s %s\n", r.Name, r.About)
		if why := missing(r); why != "" {
			fmt.Fprintf(w, "%-14s   not here: %s\n", "", why)
		}
	}
}

func missing(r *rival.Rival) string {
	if r.Missing == nil {
		return ""
	}
	return r.Missing()
}

// run measures what the flags ask for.
func (f *flags) run(ctx context.Context, args []string) (err error) {
	p, err := f.plan()
	if err != nil {
		return &exitError{exitUsage, err}
	}
	dir, err := os.MkdirTemp(f.Dir, "keyfold-peers-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	m, err := machine.Look(dir)
	if err != nil {
		return err
	}
	for _, line := range m.Lines() {
		fmt.Println(line)
	}
	fmt.Printf("%s · seed %d · %d rounds of %d peers\n", p.input(), f.Seed, f.Rounds, len(p.peers))
	for _, s := range p.skipped {
		fmt.Println("skipped:", s)
	}
	began, before := time.Now(), len(p.skipped)
	rounds, failed := p.rounds(ctx, dir)
	var kills [][]outcome
	if ctx.Err() == nil {
		var err error
		kills, err = p.kills(ctx, dir, f.Kills)
		failed = errors.Join(failed, err)
	}
	from := origin{command: command(args), started: began, machine: m}
	rows := append(p.rows(rounds, from), p.killRows(kills, from)...)
	table(os.Stdout, rows)
	for _, s := range p.skipped[before:] {
		fmt.Println("\nskipped:", s)
	}
	fmt.Printf("\n%d peers, %d rows, %d skipped, %.0f s\n", len(p.peers), len(rows), len(p.skipped), time.Since(began).Seconds())
	if f.JSON != "" {
		err = writeRows(f.JSON, rows)
	}
	return errors.Join(err, failed)
}

// command is the command line. Where a file was on this machine is left out.
func command(args []string) string {
	words := []string{"peers"}
	for _, arg := range args {
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
