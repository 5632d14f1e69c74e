package limit

import "context"

// A Null is a store that does nothing: what is left of a call when key, state, log and
// disk are taken away. A call hands a pointer to the store's one goroutine through a
// channel of nullQueue places, and waits on a channel of its own, of one place, that
// this goroutine answers on at once, in order. So each call costs two hand-overs
// between goroutines, and is what a Go program would write first for a goroutine that
// owns state.
//
// Do is safe for concurrent use. Close must not run beside it.
type Null struct {
	calls chan *NullCaller
	ended chan struct{}
	count uint64 // belongs to the goroutine until ended is closed
}

// nullQueue is how many calls wait for the goroutine before callers wait to be queued.
const nullQueue = 1024

// A NullCaller is where one caller waits. It must be used by one goroutine at a time.
type NullCaller struct{ answer chan struct{} }

// NewNull starts a store. Close stops it.
func NewNull() *Null {
	n := &Null{calls: make(chan *NullCaller, nullQueue), ended: make(chan struct{})}
	go n.answer()
	return n
}

// NewNullCaller returns a caller.
func NewNullCaller() *NullCaller { return &NullCaller{answer: make(chan struct{}, 1)} }

func (n *Null) answer() {
	defer close(n.ended)
	for c := range n.calls {
		n.count++
		c.answer <- struct{}{}
	}
}

// Do makes a call and waits for its answer, or returns the error of ctx: then c must
// not be used again.
func (n *Null) Do(ctx context.Context, c *NullCaller) error {
	select {
	case n.calls <- c:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-c.answer:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close stops the store and returns how many calls it has answered.
func (n *Null) Close() (calls uint64) {
	close(n.calls)
	<-n.ended
	return n.count
}
