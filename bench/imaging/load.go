package imaging

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/pair"
	"github.com/keyfold/keyfold/engine"
)

// A load is an engine, one goroutine that streams to it, and one that makes calls.
type load struct {
	dir    string
	keys   []limit.Key
	stream limit.Stream
	engine *engine.Engine
	table  *engine.Table[limit.Key, limit.State, limit.Event, struct{}]
	own    uint64 // bytes that the process held before

	quit  chan struct{} // closed by stop
	group sync.WaitGroup
	errs  [2]error      // of the two goroutines, after group
	sent  atomic.Uint64 // the stream's store publishes to window
	made  uint64        // calls, after group
	mu    sync.Mutex
	calls *hdr.Histogram // of the window; mu guards it
}

// openLoad opens an engine in a directory below that of the options, and inserts all keys.
func openLoad(ctx context.Context, o *Options, keys []limit.Key, s limit.Stream) (*load, error) {
	dir, err := os.MkdirTemp(o.Dir, "imaging-*")
	if err != nil {
		return nil, fmt.Errorf("imaging: %w", err)
	}
	l := &load{dir: dir, keys: keys, stream: s, quit: make(chan struct{}), calls: newHistogram()}
	l.table = pair.NewTable()
	opts := o.Engine
	opts.SnapshotBytes = 1 << 50
	if l.engine, err = engine.Open(ctx, dir, opts, l.table); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	err = l.produce(ctx, func(p *producer) error {
		for _, key := range l.keys {
			if err := p.Send(ctx, key, limit.Event{}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

type producer = engine.Producer[limit.Key, limit.State, limit.Event, struct{}]

// produce sends with a producer, and waits until all of it was applied.
func (l *load) produce(ctx context.Context, send func(*producer) error) error {
	p, err := l.table.Producer(engine.ProducerOptions[limit.Key, limit.Event]{})
	if err != nil {
		return err
	}
	err = send(p)
	if err == nil {
		err = p.Flush(ctx)
	}
	return errors.Join(err, p.Close(context.WithoutCancel(ctx)))
}

// start begins the stream and the calls.
func (l *load) start(ctx context.Context, o *Options) {
	l.group.Go(func() { l.errs[0] = l.produce(ctx, func(p *producer) error { return l.send(ctx, p) }) })
	l.group.Go(func() { l.errs[1] = l.call(ctx, o.Ack, o.Every) })
}

// send sends the stream again and again, as fast as it can.
func (l *load) send(ctx context.Context, p *producer) error {
	for sent := uint64(0); ; sent++ {
		if sent%256 == 0 {
			l.sent.Store(sent)
			select {
			case <-l.quit:
				return nil
			default:
			}
		}
		at := sent % uint64(len(l.stream.Keys))
		if err := p.Send(ctx, l.stream.Keys[at], l.stream.Events[at]); err != nil {
			return err
		}
	}
}

// call makes calls, each some time after the one before it, or when that has ended.
func (l *load) call(ctx context.Context, ack engine.Ack, every time.Duration) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for due := time.Now(); ; due = due.Add(every) {
		if now := time.Now(); due.Before(now) { // full load: a schedule would fall behind without end
			due = now
		}
		timer.Reset(time.Until(due))
		select {
		case <-timer.C:
		case <-l.quit:
			return nil
		}
		key := l.keys[l.made*0x9e3779b97f4a7c15%uint64(len(l.keys))]
		if _, err := l.table.Do(ctx, key, limit.Event{}, ack); err != nil {
			return err
		}
		l.made++
		l.mu.Lock()
		_ = l.calls.RecordValue(time.Since(due).Nanoseconds()) // within the hour
		l.mu.Unlock()
	}
}

// window measures what happens during do. Garbage is collected before: a heap that has been
// growing since the last collection is not what a round takes.
func (l *load) window(ctx context.Context, do func() error) (f Figures, err error) {
	debug.FreeOSMemory()
	ctx, cancel := context.WithCancel(ctx)
	most := make(chan uint64)
	go func() { most <- residentMost(ctx) }()
	f.Calls = newHistogram()
	l.mu.Lock()
	l.calls = f.Calls
	l.mu.Unlock()
	before, began := l.sent.Load(), time.Now()
	err = do()
	f.Events, f.Seconds = l.sent.Load()-before, time.Since(began).Seconds()
	l.mu.Lock()
	l.calls = newHistogram() // what comes now is of no window
	l.mu.Unlock()
	cancel()
	if bytes := <-most; bytes > l.own {
		f.RSSBytes = bytes - l.own
	}
	return f, err
}

// residentMost is the most memory that the process holds until ctx ends.
func residentMost(ctx context.Context) (most uint64) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		most = max(most, machine.ResidentBytes())
		select {
		case <-ctx.Done():
			return most
		case <-tick.C:
		}
	}
}

// stop ends the stream and the calls.
func (l *load) stop() error {
	close(l.quit)
	l.group.Wait()
	return errors.Join(l.errs[:]...)
}

// check says whether the states have every event.
func (l *load) check(ctx context.Context) error {
	return pair.CheckCount(ctx, l.table, int64(l.sent.Load()+l.made)+int64(len(l.keys)))
}

// close ends the engine without a snapshot, and removes its files.
func (l *load) close() error {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	err := l.engine.Shutdown(ended)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(l.dir))
}
