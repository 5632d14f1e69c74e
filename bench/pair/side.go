package pair

import (
	"context"
	"time"

	"github.com/keyfold/keyfold/bench/limit"
)

// A Side takes the events of a stream, pass after pass. It must be used by one
// goroutine at a time.
type Side interface {
	// Pass takes all events once, and returns how long it took until the last of them
	// was acknowledged. It returns when the side is quiet: nothing that it still does
	// disturbs the pass of another.
	Pass(ctx context.Context) (time.Duration, error)
	// Each calls fn with each key and state, in any order, until fn returns an error.
	// Both are borrowed.
	Each(ctx context.Context, fn func(*limit.Key, *limit.State) error) error
	// Close ends the side. Its files remain with the directory.
	Close() error
}

// row is what package limit has of a Side.
type row interface {
	Pass() (time.Duration, error)
	Each(fn func(*limit.Key, *limit.State) error) error
	Close() error
}

// rowSide is a row as a Side.
type rowSide struct{ row }

// Row makes a Side of limit.Owners or limit.Pipeline.
func Row(r row) Side { return rowSide{r} }

func (r rowSide) Pass(context.Context) (time.Duration, error) { return r.row.Pass() }

func (r rowSide) Each(_ context.Context, fn func(*limit.Key, *limit.State) error) error {
	return r.row.Each(fn)
}
