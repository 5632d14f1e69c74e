package ring

import "sync/atomic"

// The states of a Parker.
const (
	awake  = 0
	parked = 1 // Prepare was called, and neither Cancel nor Wake since
)

// A Parker is where a consumer sleeps while it has nothing to do, and where those
// who bring it work wake it. The consumer's side is
//
//	p.Prepare()
//	if there is work after all {
//		p.Cancel()
//	} else {
//		p.Wait()
//	}
//
// and the others make their work visible, by an atomic store, and then call Wake.
//
// No wake-up is lost: Prepare stores the state before the consumer looks at its
// sources, and Wake loads the state after the work was stored. Go's atomics have one
// total order, so the consumer sees the work, or Wake sees that it is parked, or
// both (Dekker's argument).
//
// Prepare, Cancel and Wait belong to the consumer, one goroutine at a time. Wake and
// Parked are safe for concurrent use. The zero Parker is ready for use. It must not
// be copied.
type Parker struct {
	_ linePad
	// state is stored by Prepare, for the loads in Wake and Parked; with it goes
	// token. It is swapped back by Cancel or by the one Wake that owes a token.
	state atomic.Uint32
	token chan struct{} // of capacity 1; made by the first Prepare
	_     linePad
}

// Prepare announces that the consumer is about to sleep. The consumer must then look
// at all its sources once more, and call either Cancel or Wait.
func (p *Parker) Prepare() {
	if p.token == nil {
		p.token = make(chan struct{}, 1)
	}
	p.state.Store(parked)
}

// Cancel takes Prepare back.
func (p *Parker) Cancel() {
	if !p.state.CompareAndSwap(parked, awake) {
		<-p.token // a Wake came first, and its token is here or about to be
	}
}

// Wait sleeps until Wake is called. It returns at once if that happened since
// Prepare. It does not return for any other reason.
func (p *Parker) Wait() { <-p.token }

// Wake wakes the consumer if it is asleep or about to be. If it is not, Wake costs
// one atomic load. It never blocks.
func (p *Parker) Wake() {
	if p.state.Load() == parked {
		p.wake()
	}
}

// wake sends the token, unless another Wake, or Cancel, was first.
func (p *Parker) wake() {
	if p.state.CompareAndSwap(parked, awake) {
		p.token <- struct{}{} // has room: the consumer takes one token per swap
	}
}

// Parked reports whether the consumer is asleep or about to be.
func (p *Parker) Parked() bool { return p.state.Load() == parked }
