package engine

import "github.com/keyfold/keyfold/shard"

// A Spec declares a table: a map from keys K to states S that only events E change.
// R is what Apply answers.
type Spec[K comparable, S, E, R any] struct {
	// Name tells the tables of a store apart. It is written to disk. It must not begin
	// with "keyfold.".
	Name string
	// Version is that of Apply and of the meaning of S and E. It must be raised when one
	// of these changes, but not when S or E only gets fields at its end, which are zero in
	// what was written before. What an older version has left is lifted by Upgrades; a
	// program of an older version than the store is refused.
	Version uint32
	// Upgrades lift the states and events of older versions.
	Upgrades []Upgrade

	// Init makes the state of a key that has none; nil means the zero state. It must
	// be deterministic.
	Init func(c *Context[K], s *S)
	// Check may refuse an event with an error, which its caller gets; nil means that
	// nothing is refused. It sees the state, and must not change it. What it refuses
	// is not logged, so it may look at anything.
	Check func(c *Context[K], s *S, e E) error
	// Apply changes the state by an event and answers. It runs on the shard that owns
	// the key, alone, and again when the log is replayed: it must be deterministic.
	// Calls for other keys may run at the same time on other goroutines, when a store
	// is recovered even with one shard. It cannot fail; refuse in Check.
	Apply func(c *Context[K], s *S, e E) R

	// OnTimer changes the state when the timer of the key is due that Context.SetTimer has
	// set; nil means that the table has no timers. It is called like Apply, on the shard
	// and again on replay, and must be deterministic. It answers nobody. If it does not
	// return, the state is as before and the timer is gone. So it is, without a call, if
	// there is no Clone and StateCodec cannot encode the state.
	OnTimer func(c *Context[K], s *S)
	// TTL is how long keys live without an event, or at all. The default is for ever.
	TTL TTL
	// OnExpire is called before a key is removed that the TTL has ended, with the state
	// still there; nil means that there is nothing to do. It is called like OnTimer. The
	// key is gone when it has returned, or does not return, unless it calls Context.Keep.
	OnExpire func(c *Context[K], s *S)

	// KeyCodec, StateCodec and EventCodec turn values into bytes; nil means what is
	// built in: strings, byte slices, integers, booleans, and structs and arrays of
	// those, as fields in their order. Floats are built in for states and events.
	KeyCodec   Codec[K]
	StateCodec Codec[S]
	EventCodec Codec[E]

	// Once says which ids of events are remembered, for DoOnce. The zero value: none. It
	// may differ at every open.
	Once Once
	// ResultCodec turns answers into bytes that are remembered with ids; nil means what is
	// built in. It is not used without Once.
	ResultCodec Codec[R]

	// Clone copies a state whose type holds pointers, so that a panic in Apply can be
	// undone; nil means that StateCodec does it, which costs an encoding per event.
	// It is not used for types without pointers.
	Clone func(s *S) S
}

// A Codec turns values of T into bytes and back. Its methods are called by several
// goroutines at once, and must not call the engine.
type Codec[T any] interface {
	// Name tells this codec, and this version of it, from all others. It is written
	// to disk, and a store with another one is refused.
	Name() string
	// Append appends the encoding of v and returns the longer slice. Equal keys must
	// have equal encodings, different keys different ones.
	Append(dst []byte, v T) ([]byte, error)
	// Decode sets v from src, which is borrowed: what is kept must be copied. v may
	// hold an older value.
	Decode(src []byte, v *T) error
}

// A Table is the handle to a declared table. It belongs to at most one open engine
// at a time; before Open and after Close its calls return ErrClosed. It is safe for
// concurrent use.
type Table[K comparable, S, E, R any] struct {
	spec        Spec[K, S, E, R]
	declaration declaration
}

// NewTable declares a table. What is wrong with spec is an error of Open.
func NewTable[K comparable, S, E, R any](spec Spec[K, S, E, R]) *Table[K, S, E, R] {
	t := &Table[K, S, E, R]{spec: spec}
	t.declaration = declaration{
		name: spec.Name, version: spec.Version, upgrades: spec.Upgrades, ttl: spec.TTL, once: spec.Once,
		key: elementOf(spec.KeyCodec), state: elementOf(spec.StateCodec), event: elementOf(spec.EventCodec), result: elementOf(spec.ResultCodec),
		applies: spec.Apply != nil, timed: spec.OnTimer != nil, expires: spec.OnExpire != nil,
		program: func(b *binding) shard.Program { return newProgram(&t.spec, b) },
	}
	return t
}

// Fold declares a table by its name and its fold function alone.
func Fold[K comparable, S, E any](name string, fold func(c *Context[K], s *S, e E)) *Table[K, S, E, struct{}] {
	spec := Spec[K, S, E, struct{}]{Name: name}
	if fold != nil {
		spec.Apply = func(c *Context[K], s *S, e E) struct{} {
			fold(c, s, e)
			return struct{}{}
		}
	}
	return NewTable(spec)
}

// Spec is the declaration of the table.
func (t *Table[K, S, E, R]) Spec() Spec[K, S, E, R] { return t.spec }

// Name is the name of the table.
func (t *Table[K, S, E, R]) Name() string { return t.spec.Name }

// A Definition is a *Table of whatever types, or what Dropped returns.
type Definition interface {
	// Name is the name of the table.
	Name() string

	describe() (tableEntry, lifts, error)
	attach(e *Engine, id uint16) (attachment, error)
	detach()
}

func (t *Table[K, S, E, R]) describe() (tableEntry, lifts, error) { return t.declaration.describe() }

func (t *Table[K, S, E, R]) attach(e *Engine, id uint16) (attachment, error) {
	return t.declaration.attach(e, id)
}

func (t *Table[K, S, E, R]) detach() { t.declaration.detach() }
