package engine

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/keyfold/keyfold/shard"
)

// reportsMax is how many reports may wait for a logger that is slow. What does not find
// room is counted, and told with the next that does.
const reportsMax = 64

// A reporter tells Options.Logger what an operator must know. It has a goroutine of its
// own, because a handler is code of the user's, which may take its time and may not
// return: shards only queue. The nil reporter says nothing.
type reporter struct {
	logger  *slog.Logger
	queue   chan report
	dropped atomic.Uint64 // say's count for loop
	ended   chan struct{}
}

// A report is one line of the log.
type report struct {
	level slog.Level
	text  string
	attrs []slog.Attr
}

// newReporter starts a reporter; stop ends it.
func newReporter(logger *slog.Logger) *reporter {
	if logger == nil {
		return nil
	}
	r := &reporter{logger: logger, queue: make(chan report, reportsMax), ended: make(chan struct{})}
	go r.loop()
	return r
}

// say queues a report and does not wait. It is safe for concurrent use, but not after
// stop.
func (r *reporter) say(level slog.Level, text string, attrs ...slog.Attr) {
	if r == nil {
		return
	}
	select {
	case r.queue <- report{level, text, attrs}:
	default:
		r.dropped.Add(1)
	}
}

// stop ends the reporter when everything is told, and waits for that.
func (r *reporter) stop() {
	if r != nil {
		close(r.queue)
		<-r.ended
	}
}

// loop tells reports until stop. If the handler ends the goroutine, another one takes its
// place.
func (r *reporter) loop() {
	over := false
	defer func() {
		if !over {
			go r.loop()
		}
	}()
	for rep := range r.queue {
		r.tell(rep)
	}
	over = true
	close(r.ended)
}

func (r *reporter) tell(rep report) {
	defer func() { _ = recover() }() // a handler that panics has lost its report
	if n := r.dropped.Swap(0); n > 0 {
		rep.attrs = append(rep.attrs, slog.Uint64("reports_lost_before", n))
	}
	r.logger.LogAttrs(context.Background(), rep.level, rep.text, rep.attrs...)
}

// opened tells what Open has found.
func (r *reporter) opened(dir string, shards int, found *Recovery) {
	if r == nil {
		return
	}
	r.say(slog.LevelInfo, "keyfold: store opened", slog.String("dir", dir), slog.Int("shards", shards),
		slog.Bool("created", found.Created), slog.Bool("clean", found.Clean), slog.Int("keys", found.Keys),
		slog.Uint64("events_replayed", found.Events), slog.Int64("torn_bytes", found.TornBytes), slog.Duration("took", found.Duration))
	for _, warning := range found.Warnings {
		r.say(slog.LevelWarn, "keyfold: recovery has left something out", slog.String("dir", dir), slog.String("what", warning))
	}
}

// moved tells that a partition has another shard.
func (r *reporter) moved(dir string, partition uint32, from, to int, took time.Duration) {
	r.say(slog.LevelInfo, "keyfold: partition moved", slog.String("dir", dir), slog.Uint64("partition", uint64(partition)),
		slog.Int("from", from), slog.Int("to", to), slog.Duration("took", took))
}

// notify returns what tells the notices of the shards of a store; nil if nobody listens.
func (r *reporter) notify(dir string) func(shard.Notice) {
	if r == nil {
		return nil
	}
	return func(n shard.Notice) {
		attrs := []slog.Attr{slog.String("dir", dir), slog.Int("shard", n.Shard)}
		if n.Err != nil {
			attrs = append(attrs, slog.Any("error", n.Err))
		}
		told := notices[n.Kind]
		r.say(told.level, told.text, attrs...)
	}
}

var notices = [...]struct {
	level slog.Level
	text  string
}{
	shard.NoticeFailed:         {slog.LevelError, "keyfold: shard failed; it is out of service until the store is opened again"},
	shard.NoticeReadOnly:       {slog.LevelWarn, "keyfold: no room on the disk; shard is read-only"},
	shard.NoticeWritable:       {slog.LevelInfo, "keyfold: shard takes events again"},
	shard.NoticeLapsed:         {slog.LevelError, "keyfold: OnTimer or OnExpire did not return, or could not be called; what was due is over without it"},
	shard.NoticeSnapshotFailed: {slog.LevelWarn, "keyfold: snapshot failed; the log goes on growing"},
}
