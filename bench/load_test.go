package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyfold/keyfold/bench/workload"
)

func generated(t testing.TB, g workload.Generated) *workload.Generator {
	t.Helper()
	gen, err := workload.NewGenerator(g)
	if err != nil {
		t.Fatal(err)
	}
	return gen
}

// audit says what is wrong with the states of t after all events of g.
func audit(t testing.TB, target Target, g workload.Generated) {
	t.Helper()
	a, err := workload.NewNumbered(g.Keys)
	if err != nil {
		t.Fatal(err)
	}
	found, err := Audit(t.Context(), target, a, generated(t, g), nil)
	if err != nil || found.Err() != nil || found.Events != g.Events {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestEveryKeyKeepsTheOrderOfTheStream(t *testing.T) {
	g := workload.Generated{Keys: 100, Dist: "zipf:0.9", Seed: 7, Events: 20_000}
	for _, door := range []Door{Batched, Single} {
		for _, producers := range []int{1, 2, 7, 100} {
			t.Run(fmt.Sprintf("door=%s/producers=%d", door, producers), func(t *testing.T) {
				m := NewMemory()
				r, err := Run(t.Context(), m, Load{Source: generated(t, g), Producers: producers, Door: door, Window: 100})
				if err != nil || r.Events != g.Events || r.PerSecond() <= 0 || r.Latency.Max < r.Latency.P50 {
					t.Fatalf("%+v, %v", r, err)
				}
				audit(t, m, g)
			})
		}
	}
}

func TestWrongLoadsAreRefused(t *testing.T) {
	good := Load{Source: generated(t, workload.Generated{Keys: 1}), Producers: 1, Window: 1}
	for name, spoil := range map[string]func(*Load){
		"producers": func(l *Load) { l.Producers = 0 },
		"window":    func(l *Load) { l.Window = WindowMax + 1 }, "rate": func(l *Load) { l.Rate = -1 },
		"door": func(l *Load) { l.Door = "back" },
	} {
		l := good
		spoil(&l)
		if _, err := Run(t.Context(), Null{}, l); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestEndOfContextDrainsAndIsNoError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := NewMemory()
	l := Load{Source: generated(t, workload.Generated{Keys: 10}), Producers: 3, Window: 10}
	l.Mark = func(_ int, _, acked uint64) error {
		if acked > 1000 {
			cancel()
		}
		return nil
	}
	r, err := Run(ctx, m, l)
	if err != nil || r.Events <= 1000 {
		t.Fatalf("%+v, %v", r, err)
	}
	audit(t, m, workload.Generated{Keys: 10, Events: r.Events})
}

func TestBrokenSourceEndsTheLoadWithItsError(t *testing.T) {
	broken := errors.New("broken line")
	for _, producers := range []int{1, 3} {
		src := &limited{generated(t, workload.Generated{Keys: 10}), 5000, broken}
		r, err := Run(t.Context(), NewMemory(), Load{Source: src, Producers: producers, Window: 10})
		if !errors.Is(err, broken) || r.Events != 5000 {
			t.Errorf("%d producers: %d events, %v", producers, r.Events, err)
		}
	}
}

// limited is a source that ends with an error, which comes together with events.
type limited struct {
	s    workload.Source
	left int
	err  error
}

func (l *limited) Fill(b *workload.Batch, n int) error {
	n = min(n, l.left)
	l.left -= n
	return errors.Join(l.s.Fill(b, n), map[bool]error{l.left == 0: l.err}[true])
}

func TestPrefixOfAnEndlessStreamIsAudited(t *testing.T) {
	for name, c := range map[string]struct {
		skip uint64
		ok   bool
	}{"prefix": {1 << 60, true}, "hole": {400, false}} {
		m := NewMemory()
		err := workload.ForEach(generated(t, workload.Generated{Keys: 9, Events: 1000}), func(e workload.Event) error {
			if e.Ordinal == c.skip {
				return nil
			}
			return m.Do(t.Context(), e)
		})
		if err != nil {
			t.Fatal(err)
		}
		a, err := workload.NewNumbered(9)
		if err != nil {
			t.Fatal(err)
		}
		f, err := AuditPrefix(t.Context(), m, a, generated(t, workload.Generated{Keys: 9}))
		if err != nil || f.OK() != c.ok {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

// failing is a target whose calls fail after a number of events.
type failing struct {
	*Memory
	mu   sync.Mutex
	left int
}

var errFull = errors.New("no room")

func (f *failing) Producer(int) (Producer, error) { return f, nil }
func (f *failing) Send(context.Context, workload.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left--; f.left < 0 {
		return errFull
	}
	return nil
}
func (f *failing) Do(ctx context.Context, e workload.Event) error { return f.Send(ctx, e) }
func (f *failing) Push() error                                    { return nil }
func (f *failing) Settled() uint64                                { return 0 }
func (f *failing) Flush(context.Context) error                    { return nil }
func (f *failing) Close(context.Context) error                    { return nil }

func TestFailedSendEndsTheLoadOfAllProducers(t *testing.T) {
	for _, door := range []Door{Batched, Single} {
		for _, producers := range []int{1, 5} {
			f := &failing{Memory: NewMemory(), left: 10_000}
			r, err := Run(t.Context(), f, Load{Source: generated(t, workload.Generated{Keys: 1000}), Producers: producers, Door: door, Window: 16})
			if !errors.Is(err, errFull) || r.Events > 10_000 {
				t.Errorf("%s, %d producers: %d events, %v", door, producers, r.Events, err)
			}
		}
	}
}

// slow is a source that has nothing for a while.
type slow struct{ sent int }

func (s *slow) Fill(b *workload.Batch, _ int) error {
	if s.sent == 3 {
		return io.EOF
	}
	if s.sent > 0 {
		<-time.After(time.Second)
	}
	s.sent++
	b.Add(workload.Event{Key: []byte("k"), Ordinal: uint64(s.sent)})
	return nil
}

func TestStarvedProducerFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := Run(t.Context(), NewMemory(), Load{Source: &slow{}, Producers: 2, Window: 1000})
		if err != nil || r.Events != 3 || r.Latency.Max > int64(100*time.Millisecond) {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	for _, producers := range []int{1, 2} {
		b.Run(fmt.Sprintf("target=null/producers=%d", producers), func(b *testing.B) {
			gen := generated(b, workload.Generated{Keys: 1_000_000, Events: uint64(b.N)})
			if _, err := Run(b.Context(), Null{}, Load{Source: gen, Producers: producers, Window: 1 << 14}); err != nil {
				b.Fatal(err)
			}
		})
	}
}
