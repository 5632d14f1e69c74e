//go:build second

package tables

import "github.com/keyfold/keyfold/engine"

type secondState struct {
	Count, Last int64
	Seen        bool
}
type secondEvent struct{ Value, Weight int64 }

// Second has the same key as First, as most tables of a program have, and other types.
var Second = engine.NewTable(engine.Spec[string, secondState, secondEvent, int64]{
	Name: "second",
	Apply: func(_ *engine.Context[string], s *secondState, e secondEvent) int64 {
		s.Count, s.Last, s.Seen = s.Count+e.Weight, e.Value, true
		return s.Count
	},
})
