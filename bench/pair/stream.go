package pair

import (
	"fmt"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/workload"
)

// EventsMax and KeysMax bound a stream: it lies in memory, 48 bytes an event, and so
// do the states that are expected, 32 bytes a key.
const (
	EventsMax = 256 << 20
	KeysMax   = 1 << 30
)

// Draw draws a stream of g.Events events, and all its keys.
func Draw(g workload.Generated) (keys []limit.Key, s limit.Stream, err error) {
	if g.Events < 1 || g.Events > EventsMax || g.Keys > KeysMax {
		return nil, s, fmt.Errorf("pair: a stream has 1 to %d events and %d keys at most, because it lies in memory", EventsMax, KeysMax)
	}
	source, err := workload.NewGenerator(g)
	if err != nil {
		return nil, s, err
	}
	s = limit.Stream{Keys: make([]limit.Key, 0, g.Events), Events: make([]limit.Event, 0, g.Events)}
	err = workload.ForEach(source, func(e workload.Event) error {
		s.Keys = append(s.Keys, limit.Key(e.Key))
		s.Events = append(s.Events, limit.Event{Value: value(e.Ordinal)})
		return nil
	})
	return allKeys(g.Keys), s, err
}

// value is that of an event: 24 bits that hardly repeat, so that a state shows which
// events it has seen.
func value(ordinal uint64) int64 { return int64(ordinal * 0x9e3779b97f4a7c15 >> 40) }

func allKeys(n uint64) []limit.Key {
	keys := make([]limit.Key, n)
	for i := range keys {
		workload.AppendKey(keys[i][:0], uint64(i))
	}
	return keys
}
