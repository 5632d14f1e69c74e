package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/pair"
	"github.com/keyfold/keyfold/engine"
)

// burst is how many events are sent at a time: a load that arrives all the time, rather
// than that of a batch job.
const burst = 256

// A load is an engine, and one goroutine that sends to it.
type load struct {
	dir      string
	keys     []limit.Key
	stream   limit.Stream
	engine   *engine.Engine
	table    *engine.Table[limit.Key, limit.State, limit.Event, struct{}]
	producer *engine.Producer[limit.Key, limit.State, limit.Event, struct{}]
	pacer    *pacer
	sent     uint64
}

// openLoad opens an engine in a directory below dir, and inserts all keys.
func openLoad(ctx context.Context, o *Options, keys []limit.Key, s limit.Stream) (*load, error) {
	dir, err := os.MkdirTemp(o.Dir, "guest-*")
	if err != nil {
		return nil, fmt.Errorf("guest: %w", err)
	}
	l := &load{dir: dir, keys: keys, stream: s, table: pair.NewTable()}
	if l.pacer, err = newPacer(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if l.engine, err = engine.Open(ctx, dir, o.Engine, l.table); err != nil {
		return nil, errors.Join(err, l.pacer.close(), os.RemoveAll(dir))
	}
	if err = l.insert(ctx, o.Ack); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// insert folds an event of value 0 into each key, and makes the producer of the load.
func (l *load) insert(ctx context.Context, ack engine.Ack) (err error) {
	o := engine.ProducerOptions[limit.Key, limit.Event]{Ack: ack}
	if l.producer, err = l.table.Producer(o); err != nil {
		return err
	}
	for _, key := range l.keys {
		if err := l.producer.Send(ctx, key, limit.Event{}); err != nil {
			return err
		}
	}
	return l.producer.Flush(ctx)
}

// send sends the next events of the stream, which begins again behind its end.
func (l *load) send(ctx context.Context, events int) error {
	for range events {
		at := l.sent % uint64(len(l.stream.Keys))
		if err := l.producer.Send(ctx, l.stream.Keys[at], l.stream.Events[at]); err != nil {
			return err
		}
		l.sent++
	}
	return nil
}

// peak is the rate of a closed loop that lasts about as long as d.
func (l *load) peak(ctx context.Context, d time.Duration) (float64, error) {
	start, before := time.Now(), l.sent
	for time.Since(start) < d {
		if err := l.send(ctx, burst); err != nil {
			return 0, err
		}
	}
	err := l.producer.Flush(ctx)
	return float64(l.sent-before) / time.Since(start).Seconds(), err
}

// pace sends bursts, each when it is due, until quit is closed. Those that are late
// follow each other without a pause.
func (l *load) pace(ctx context.Context, rate float64, quit <-chan struct{}) error {
	start, before := time.Now(), l.sent
	for {
		select {
		case <-quit:
			return l.producer.Flush(ctx)
		default:
		}
		due := time.Duration(float64(l.sent-before) / rate * 1e9)
		if err := l.pacer.wait(due - time.Since(start)); err != nil {
			return err
		}
		if err := l.send(ctx, burst); err != nil {
			return err
		}
	}
}

// check says whether the states have every event.
func (l *load) check(ctx context.Context) error {
	return pair.CheckCount(ctx, l.table, int64(l.sent)+int64(len(l.keys)))
}

// close ends the engine without a snapshot, which would be written while the other side
// is measured, and removes its files.
func (l *load) close() error {
	var errs []error
	if l.producer != nil {
		errs = append(errs, l.producer.Close(context.Background()))
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.engine.Shutdown(ended); err != nil && !errors.Is(err, context.Canceled) {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, l.pacer.close(), os.RemoveAll(l.dir))...)
}
