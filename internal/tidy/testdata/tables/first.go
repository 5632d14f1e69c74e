// Package tables declares a table, or two: what a further one costs to compile is the
// difference.
package tables

import "github.com/keyfold/keyfold/engine"

type firstState struct{ Count, Last int64 }
type firstEvent struct{ Value int64 }

// First is there with and without the tag.
var First = engine.NewTable(engine.Spec[string, firstState, firstEvent, int64]{
	Name: "first",
	Apply: func(_ *engine.Context[string], s *firstState, e firstEvent) int64 {
		s.Count, s.Last = s.Count+1, e.Value
		return s.Count
	},
})
