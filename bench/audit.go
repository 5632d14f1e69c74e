package bench

import (
	"context"
	"errors"

	"github.com/keyfold/keyfold/bench/workload"
)

// States is what can be audited: a Target, or a copy of its states.
type States interface {
	// All is that of a Target.
	All(ctx context.Context, fn func(key []byte, s *workload.Stats) error) error
}

// mortal is States whose keys come to an end. It says what they were then.
type mortal interface {
	Lives(fn func(key []byte, lives []workload.Life))
}

// Audit compares every state of t with what one thread computes from the stream s.
// acked says which events must be there; nil is all of them.
func Audit(ctx context.Context, t States, a *workload.Audit, s workload.Source, acked func(workload.Event) bool) (workload.Finding, error) {
	if err := have(ctx, t, a); err != nil {
		return workload.Finding{}, err
	}
	err := workload.ForEach(s, func(e workload.Event) error {
		a.Event(e, acked == nil || acked(e))
		return nil
	})
	return a.End(), err
}

// AuditFolded is Audit for a stream that a was told of by Expect.
func AuditFolded(ctx context.Context, t States, a *workload.Audit) (workload.Finding, error) {
	err := have(ctx, t, a)
	return a.End(), err
}

// have begins a round with every state of t.
func have(ctx context.Context, t States, a *workload.Audit) error {
	a.Begin()
	err := t.All(ctx, func(key []byte, s *workload.Stats) error {
		a.Have(key, s)
		return nil
	})
	if m, ok := t.(mortal); ok && err == nil {
		m.Lives(a.Lived)
	}
	return err
}

// prefixSlack is how many events a store may miss before AuditPrefix gives up.
const prefixSlack = 100_000_000

var errEnough = errors.New("bench: enough")

// AuditPrefix is Audit when nobody knows how far a load came: every state of t must
// be the fold of a prefix of its key's events, however long. s may have no end.
func AuditPrefix(ctx context.Context, t States, a *workload.Audit, s workload.Source) (workload.Finding, error) {
	if err := have(ctx, t, a); err != nil {
		return workload.Finding{}, err
	}
	total, folded, missing := a.Events(), uint64(0), uint64(0)
	err := workload.ForEach(s, func(e workload.Event) error {
		if folded == total || missing > total+prefixSlack {
			return errEnough
		}
		if a.Event(e, false) {
			folded++
		} else {
			missing++
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return a.End(), err
}
