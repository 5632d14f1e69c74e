package engine

import (
	"unsafe"

	"github.com/keyfold/keyfold/shard"
)

// A Result is what became of one operation of a Batch.
type Result[R any] struct {
	Value R     // what Apply answered
	Err   error // as Do would have returned it
}

// A StateResult is what became of one read of a Batch.
type StateResult[S any] struct {
	State S     // a copy
	Found bool  // whether the key has a state
	Err   error // as Get would have returned it
}

// A Batch is operations on one or several tables that are sent together: one claim
// for each shard, in the order in which they were put for equal keys. It is not
// atomic: each operation has its own result, and a crash may keep some of them.
//
// A Batch must be used by one goroutine at a time. Get one from [Engine.Batch]. It keeps
// its memory from one Do to the next: one that is used again for as many operations on
// the same tables, in the same order, allocates nothing.
type Batch struct {
	engine *Engine
	items  []item // behind its end: those of earlier rounds, to be used again
	round  batchRound
}

// Batch returns an empty batch.
func (e *Engine) Batch() *Batch { return &Batch{engine: e} }

// Len is the number of operations put so far.
func (b *Batch) Len() int { return len(b.items) }

// spare is the item that was at the place of the next one in an earlier round; nil if
// there was none.
func (b *Batch) spare() item {
	if n := len(b.items); n < cap(b.items) {
		return b.items[:n+1][n]
	}
	return nil
}

// Put adds an event to the batch. Its result is in out when the batch's Do has
// returned; out may be nil. The table must belong to the batch's engine, else the
// result is ErrClosed.
func (t *Table[K, S, E, R]) Put(b *Batch, k K, e E, out *Result[R]) {
	p, ok := b.spare().(*put[K, E, R])
	if !ok {
		p = new(put[K, E, R])
	}
	p.binding, p.key, p.event, p.out, p.once = t.declaration.boundTo(b.engine), k, e, out, false
	b.items = append(b.items, p)
}

// Read adds a read to the batch. It shows the state as the operations put before it
// on the same key have left it. Its result is in out when the batch's Do has returned.
func (t *Table[K, S, E, R]) Read(b *Batch, k K, out *StateResult[S]) {
	g, ok := b.spare().(*get[K, S])
	if !ok {
		g = new(get[K, S])
	}
	g.binding, g.key, g.out = t.declaration.boundTo(b.engine), k, out
	b.items = append(b.items, g)
}

// An item is one operation with the place of its result.
type item interface {
	refuse(err error)
	// finish copies the result to where the caller wants it, with err if the whole
	// block met one, and returns the error of the operation. It empties the item.
	finish(err error) error
	// abandon tells the caller err, and touches nothing that the shard may still use.
	abandon(err error)
	// append encodes the operation.
	append(block []byte) ([]byte, uint64, error)
}

// A put is an event of a batch.
type put[K comparable, E, R any] struct {
	binding *binding
	key     K
	event   E
	value   R
	id      EventID
	once    bool // the event has an id
	err     error
	out     *Result[R]
}

func (p *put[K, E, R]) refuse(err error) { p.err = err }

func (p *put[K, E, R]) finish(err error) error {
	if p.err != nil {
		err = p.err
	}
	if p.out != nil {
		*p.out = Result[R]{Value: p.value, Err: err}
	}
	*p = put[K, E, R]{}
	return err
}

func (p *put[K, E, R]) abandon(err error) {
	if p.out != nil {
		*p.out = Result[R]{Err: err}
	}
}

func (p *put[K, E, R]) append(block []byte) ([]byte, uint64, error) {
	if p.binding == nil {
		return block, 0, ErrClosed
	}
	if p.once {
		return p.binding.appendOnce(block, &p.id, unsafe.Pointer(&p.key), unsafe.Pointer(&p.event))
	}
	return p.binding.appendOp(block, shard.KindEvent, unsafe.Pointer(&p.key), unsafe.Pointer(&p.event))
}

// A get is a read of a batch.
type get[K comparable, S any] struct {
	binding *binding
	key     K
	finding finding[S]
	err     error
	out     *StateResult[S]
}

func (g *get[K, S]) refuse(err error) { g.err = err }

func (g *get[K, S]) finish(err error) error {
	if g.err != nil {
		err = g.err
	}
	if g.out != nil {
		*g.out = StateResult[S]{State: g.finding.state, Found: g.finding.found, Err: err}
	}
	*g = get[K, S]{}
	return err
}

func (g *get[K, S]) abandon(err error) {
	if g.out != nil {
		*g.out = StateResult[S]{Err: err}
	}
}

func (g *get[K, S]) append(block []byte) ([]byte, uint64, error) {
	if g.binding == nil {
		return block, 0, ErrClosed
	}
	return g.binding.appendOp(block, shard.KindRead, unsafe.Pointer(&g.key), nil)
}
