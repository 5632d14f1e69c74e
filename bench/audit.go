package bench

import (
	"context"

	"github.com/keyfold/keyfold/bench/workload"
)

// Audit compares every state of t with what one thread computes from the stream s.
// acked says which events must be there; nil is all of them.
func Audit(ctx context.Context, t Target, a *workload.Audit, s workload.Source, acked func(workload.Event) bool) (workload.Finding, error) {
	a.Begin()
	err := t.All(ctx, func(key []byte, s *workload.Stats) error {
		a.Have(key, s)
		return nil
	})
	if err != nil {
		return workload.Finding{}, err
	}
	err = workload.ForEach(s, func(e workload.Event) error {
		a.Event(e, acked == nil || acked(e))
		return nil
	})
	return a.End(), err
}
