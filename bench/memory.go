package bench

import (
	"context"
	"sync"

	"github.com/keyfold/keyfold/bench/workload"
)

// Memory is a Target without a disk: a Go map behind a lock. It is the simplest
// rival, and shows how much the load generator alone can do.
type Memory struct {
	mu     sync.Mutex
	states map[string]*workload.Stats
}

// NewMemory makes an empty one.
func NewMemory() *Memory { return &Memory{states: make(map[string]*workload.Stats)} }

// Producer is a door without a buffer.
func (m *Memory) Producer(int) (Producer, error) { return &memoryProducer{m: m}, nil }

// Do applies e.
func (m *Memory) Do(_ context.Context, e workload.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.states[string(e.Key)]
	if s == nil {
		s = new(workload.Stats)
		m.states[string(e.Key)] = s
	}
	s.Fold(e.Ordinal, e.Value)
	return nil
}

// Get is a copy of the state of a key.
func (m *Memory) Get(_ context.Context, key []byte) (workload.Stats, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.states[string(key)]; s != nil {
		return *s, true, nil
	}
	return workload.Stats{}, false, nil
}

// All calls fn under the lock.
func (m *Memory) All(_ context.Context, fn func(key []byte, s *workload.Stats) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, s := range m.states {
		if err := fn([]byte(k), s); err != nil {
			return err
		}
	}
	return nil
}

// Recovery is empty: nothing was recovered.
func (m *Memory) Recovery() Recovery { return Recovery{} }

// Shards is 1.
func (m *Memory) Shards() int { return 1 }

// Close does nothing.
func (m *Memory) Close(context.Context) error { return nil }

type memoryProducer struct {
	m    *Memory
	sent uint64
}

func (p *memoryProducer) Send(ctx context.Context, e workload.Event) error {
	p.sent++
	return p.m.Do(ctx, e)
}

func (p *memoryProducer) Push() error { return nil }

func (p *memoryProducer) Settled() uint64 { return p.sent }

func (p *memoryProducer) Flush(context.Context) error { return nil }

func (p *memoryProducer) Close(context.Context) error { return nil }

// Null is a Target that forgets everything: what is left is the cost of the load
// generator.
type Null struct{}

// Producer is a door to nowhere.
func (Null) Producer(int) (Producer, error) { return new(nullProducer), nil }

// Do does nothing.
func (Null) Do(context.Context, workload.Event) error { return nil }

// Get finds nothing.
func (Null) Get(context.Context, []byte) (workload.Stats, bool, error) {
	return workload.Stats{}, false, nil
}

// All has nothing to call fn with.
func (Null) All(context.Context, func([]byte, *workload.Stats) error) error { return nil }

// Recovery is empty.
func (Null) Recovery() Recovery { return Recovery{} }

// Shards is 1.
func (Null) Shards() int { return 1 }

// Close does nothing.
func (Null) Close(context.Context) error { return nil }

// nullProducer counts what it forgets.
type nullProducer uint64

func (p *nullProducer) Send(context.Context, workload.Event) error {
	*p++
	return nil
}

func (p *nullProducer) Push() error { return nil }

func (p *nullProducer) Settled() uint64 { return uint64(*p) }

func (p *nullProducer) Flush(context.Context) error { return nil }

func (p *nullProducer) Close(context.Context) error { return nil }
