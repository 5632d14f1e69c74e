package engine_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
)

// clicks is a table of small keys, states and events.
func clicks(name string) *engine.Table[uint64, sum, int64, struct{}] {
	return engine.NewTable(engine.Spec[uint64, sum, int64, struct{}]{
		Name: name,
		Apply: func(_ *engine.Context[uint64], s *sum, e int64) struct{} {
			s.Count, s.Total, s.Last = s.Count+1, s.Total+e, e
			return struct{}{}
		},
	})
}

// clickKeys is how many keys there are.
const clickKeys = 100_000

// write sends n events and waits until they are durable.
func write(tb testing.TB, table *engine.Table[uint64, sum, int64, struct{}], n int) {
	tb.Helper()
	p, err := table.Producer(engine.ProducerOptions[uint64, int64]{})
	must(tb, err)
	for i := range uint64(n) {
		must(tb, p.Send(context.Background(), i*0x9e3779b97f4a7c15%clickKeys, 1))
	}
	must(tb, p.Flush(context.Background()))
	must(tb, p.Close(context.Background()))
}

func openHistory(b *testing.B, keep engine.KeepLog, tables ...engine.Definition) *engine.Engine {
	b.Helper()
	e, err := engine.Open(context.Background(), b.TempDir(), engine.Options{
		Shards: 1, Sync: engine.SyncInterval, KeepLog: keep, SnapshotBytes: 32 << 20,
	}, tables...)
	must(b, err)
	b.Cleanup(func() { must(b, e.Close()) })
	return e
}

// BenchmarkKeepLog writes with what history there can be: none, log that is kept, a reader
// who has stopped in the middle, and one who follows.
func BenchmarkKeepLog(b *testing.B) {
	keep := engine.KeepLog{Bytes: 256 << 20}
	for _, row := range []struct {
		name   string
		keep   engine.KeepLog
		reader int // changes that it reads; negative: all
	}{{"keep=off", engine.KeepLog{}, 0}, {"keep=on", keep, 0}, {"reader=stopped", keep, 1}, {"reader=live", keep, -1}} {
		b.Run(row.name, func(b *testing.B) {
			table := clicks("clicks")
			openHistory(b, row.keep, table)
			ctx, cancel := context.WithCancel(context.Background())
			var reader sync.WaitGroup
			var read uint64
			if row.reader != 0 {
				changes, err := table.Changes(ctx, engine.Position{}, engine.ChangesOptions{SkipTrimmed: true})
				must(b, err)
				defer changes.Close()
				reader.Go(func() {
					for n := row.reader; n != 0; n-- {
						if _, err := changes.Next(ctx); err != nil {
							return
						}
						read++
					}
				})
			}
			b.ReportAllocs()
			b.ResetTimer()
			write(b, table, b.N)
			b.StopTimer()
			cancel()
			reader.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "read/s")
		})
	}
}

// BenchmarkChanges reads a log from the files, beside what it took to write it, and folds
// it into another table.
func BenchmarkChanges(b *testing.B) {
	table, into := clicks("clicks"), clicks("again")
	e := openHistory(b, engine.KeepLog{Bytes: 4 << 30}, table)
	b.Run("write", func(b *testing.B) { write(b, table, b.N) })
	const events = 2_000_000
	began := time.Now()
	write(b, table, events)
	written := time.Since(began)
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for n := 0; n < b.N; {
			changes, err := table.Changes(context.Background(), engine.Position{}, engine.ChangesOptions{Stop: true})
			must(b, err)
			for ; n < b.N; n++ {
				if _, err := changes.Next(context.Background()); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					b.Fatal(err)
				}
			}
			must(b, changes.Close())
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("replay", func(b *testing.B) {
		step := engine.ReplayInto(table, into, func(c engine.Change[uint64, int64]) (uint64, int64, bool) { return c.Key % 1000, c.Event, true })
		sent := uint64(0)
		for b.Loop() {
			target, err := engine.Open(context.Background(), b.TempDir(), engine.Options{Sync: engine.SyncInterval}, into)
			must(b, err)
			report, err := e.Replay(context.Background(), engine.ReplayOptions{}, step)
			must(b, err)
			if report.Sent < events || report.Refused != 0 {
				b.Fatalf("%+v", report)
			}
			sent += report.Sent
			must(b, target.Close())
		}
		b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "events/s")
		b.ReportMetric(float64(sent)/b.Elapsed().Seconds()*written.Seconds()/events, "times-written")
	})
	b.Run("backup", func(b *testing.B) {
		var bytes counter
		for b.Loop() {
			must(b, e.Backup(context.Background(), &bytes))
		}
		b.SetBytes(int64(bytes) / int64(b.N))
	})
}

// A counter counts bytes.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
