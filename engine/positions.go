package engine

import (
	"context"
	"fmt"
	"iter"
	"strings"
)

// positionsName is the table that keeps the engine's own facts. Names of tables that
// begin like it are the engine's.
const (
	positionsName  = reservedPrefix + "positions"
	reservedPrefix = "keyfold."
)

// A positions table keeps small named facts, such as how far a source is settled, beside
// the tables of the user: they are written, made durable, put into snapshots and moved as
// states are. Its keys are a kind, a slash and a name. It is not shown in Stats, and its
// keys are not counted.
//
// It is an interface so that an Engine does not name the type of the table: every package
// that uses one would compile that type again.
type positions interface {
	Definition
	Do(ctx context.Context, k, value string, ack ...Ack) (struct{}, error)
	Put(b *Batch, k, value string, out *Result[struct{}])
	Get(ctx context.Context, k string, options ...ReadOption) (value string, found bool, err error)
	All(ctx context.Context) iter.Seq2[Entry[string, string], error]
}

// newPositions declares the table. An empty event forgets the fact.
func newPositions() positions {
	t := NewTable(Spec[string, string, string, struct{}]{
		Name: positionsName,
		Apply: func(c *Context[string], s *string, e string) struct{} {
			if *s = e; e == "" {
				c.Delete()
			}
			return struct{}{}
		},
		Clone: func(s *string) string { return *s },
	})
	t.declaration.hidden = true
	return t
}

// positionBytesMax bounds a name and a value, whatever the options are.
const positionBytesMax = 1 << 10

// keepPosition keeps value under a kind and a name; "" forgets it. It returns when that
// is durable, or written in an engine that never syncs. It may be called by several
// goroutines at once, but not by a shard's. Errors are those of Table.Do.
func (e *Engine) keepPosition(ctx context.Context, kind, name, value string) error {
	if len(name) > positionBytesMax || len(value) > positionBytesMax {
		return fmt.Errorf("%w: a name of %d bytes with %d to keep, at most %d each", ErrTooLarge, len(name), len(value), positionBytesMax)
	}
	ack := Durable
	if e.options.Sync == SyncNever {
		ack = Written
	}
	_, err := e.positions.Do(ctx, kind+"/"+name, value, ack)
	return err
}

// position returns what is kept under a kind and a name, when that is durable in an engine
// that syncs: what comes of it must not outlive it. Errors are those of Table.Get.
func (e *Engine) position(ctx context.Context, kind, name string) (value string, found bool, err error) {
	if e.options.Sync == SyncNever {
		return e.positions.Get(ctx, kind+"/"+name)
	}
	return e.positions.Get(ctx, kind+"/"+name, OnlyDurable)
}

// positionsOf returns all that is kept under a kind, by name.
func (e *Engine) positionsOf(ctx context.Context, kind string) (map[string]string, error) {
	out := make(map[string]string)
	for entry, err := range e.positions.All(ctx) {
		if err != nil {
			return nil, err
		}
		if name, ok := strings.CutPrefix(entry.Key, kind+"/"); ok {
			out[name] = entry.State
		}
	}
	return out, nil
}
