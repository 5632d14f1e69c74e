package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/store"
)

// layerFlags say what the table has beyond keys and states.
type layerFlags struct {
	Once    count         `group:"Layers" placeholder:"N" help:"Give each event an id: a partition remembers the last N, and does an event once for its id. For --door do and batch."`
	Resend  share         `group:"Layers" placeholder:"1%" help:"How many of the events with ids are sent again, half of them before the first call has an answer."`
	Name    string        `group:"Layers" placeholder:"NAME" help:"Name the producers or sources NAME-0, NAME-1 and so on: the store remembers how far each has come. For --door producer and source."`
	Timer   time.Duration `group:"Layers" placeholder:"5s" help:"Each event sets the timer of its key to so much later. --verify waits for the last ones, for a minute at most."`
	TTL     ttl           `group:"Layers" name:"ttl" placeholder:"idle=10m,age=24h" help:"How long a key lives after its last event, and at all. --verify knows what keys were when they came to their end."`
	KeepLog kept          `group:"Layers" placeholder:"1GiB" help:"How much of the log is kept that no recovery needs: a size, or a time such as 10m."`
	Changes bool          `group:"Layers" help:"Read the changes beside the load, which --keep-log keeps. --verify wants each event in them once, in order."`
	States  bool          `group:"Layers" help:"With --changes: have each change come with the state that it left. --verify compares it with what the changes up to there come to."`
}

// share is a part such as 1% or 0.01.
type share float64

// UnmarshalText reads a share.
func (s *share) UnmarshalText(text []byte) error {
	digits, percent := strings.CutSuffix(strings.TrimSpace(string(text)), "%")
	f, err := strconv.ParseFloat(digits, 64)
	if percent {
		f /= 100
	}
	if err != nil || !(f >= 0 && f <= 1) {
		return fmt.Errorf("%q is not a share such as 1%% or 0.01", text)
	}
	*s = share(f)
	return nil
}

// ttl is a time to live such as idle=10m or idle=10m,age=24h.
type ttl struct{ idle, age time.Duration }

// UnmarshalText reads a time to live.
func (t *ttl) UnmarshalText(text []byte) error {
	*t = ttl{}
	for part := range strings.SplitSeq(string(text), ",") {
		name, value, _ := strings.Cut(part, "=")
		d, err := time.ParseDuration(value)
		to := map[string]*time.Duration{"idle": &t.idle, "age": &t.age}[name]
		if err != nil || d <= 0 || to == nil || *to != 0 {
			return fmt.Errorf("%q is not a time to live such as idle=10m, age=24h or idle=10m,age=24h", text)
		}
		*to = d
	}
	return nil
}

// kept is how much of a log is kept: a size or a time.
type kept struct {
	bytes size
	age   time.Duration
}

// UnmarshalText reads a size such as 1GiB, or a time such as 10m.
func (k *kept) UnmarshalText(text []byte) error {
	*k = kept{}
	if err := k.bytes.UnmarshalText(text); err == nil && k.bytes > 0 {
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is neither a size such as 1GiB nor a time such as 10m", text)
	}
	*k = kept{age: d}
	return nil
}

// layers are those of the store.
func (f *layerFlags) layers() store.Layers {
	return store.Layers{
		Once: int(f.Once), Resend: float64(f.Resend), Name: f.Name, Timer: f.Timer, Idle: f.TTL.idle, Age: f.TTL.age,
		KeepBytes: int64(f.KeepLog.bytes), KeepAge: f.KeepLog.age,
	}
}

// check says which flags do not go together, and what does.
func (f *layerFlags) check(c *runCommand) error {
	calls := c.Door == string(bench.Single) || c.Door == doorBatch
	switch {
	case f.Once > store.OnceMax:
		return usage("--once: a partition remembers %s ids at most", report.Count(uint64(store.OnceMax)))
	case f.Once > 0 && !calls:
		return usage("--once gives ids to calls: choose --door do or --door batch; a producer or a source has --name instead")
	case f.Resend > 0 && f.Once == 0:
		return usage("--resend sends events again under their ids: say with --once how many are remembered, for example --once 10k")
	case f.Name != "" && calls:
		return usage("--name is that of producers and sources: with --door %s give the events ids, for example --once 10k", c.Door)
	case f.Name != "" && c.Ack != durableAck:
		return usage("--name remembers what is durable: it needs --ack durable")
	case f.Timer < 0 || f.Timer > 0 && f.Timer < time.Millisecond:
		return usage("--timer: time is logged in milliseconds, so a timer is due after 1ms or more, not %v", f.Timer)
	case f.Changes && f.KeepLog == kept{}:
		return usage("--changes reads what is kept of the log: say with --keep-log how much, for example --keep-log 1GiB")
	case f.States && !f.Changes:
		return usage("--states are those that changes leave: add --changes")
	case f.States && (f.Timer > 0 || f.TTL != (ttl{})):
		return usage("--states calls the functions of the table again for the reader, and those of --timer and --ttl count what they do: leave these out")
	case f.Changes && c.Sync == "never":
		return usage("--changes hands out what is durable, and with --sync never nothing is: choose --sync commit or 10ms")
	}
	return nil
}

// checkInput says what cannot be verified of events that can be read only once.
func (f *layerFlags) checkInput(c *runCommand, d *description) error {
	if c.Verify && f.TTL != (ttl{}) && d.File.onlyOnce() {
		return usage("--verify of keys that come to their end reads the events twice: --in must be a file, not a pipe")
	}
	return nil
}
