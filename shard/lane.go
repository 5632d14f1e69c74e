package shard

import (
	"runtime/debug"
	"sync/atomic"
	"time"
)

// A lane runs one job at a time beside the shard. The shard goroutine prepares the
// job, begins it and polls for its end; in between the job has what it was given to
// itself. A lane without a goroutine is stepped by a test.
type lane struct {
	work func()
	lost func(*PanicError) // called when work did not return: the job's error
	wake func()

	start chan time.Duration // capacity 1: the delay before the job
	hurry chan struct{}      // capacity 1: cuts the delay short
	done  atomic.Bool        // run's store publishes the job's results to poll
	busy  bool               // of the shard goroutine: a job was begun and not yet seen to end
	ended chan struct{}
}

func newLane(work func(), lost func(*PanicError), wake func()) *lane {
	return &lane{
		work:  work,
		lost:  lost,
		wake:  wake,
		start: make(chan time.Duration, 1),
		hurry: make(chan struct{}, 1),
		ended: make(chan struct{}),
	}
}

// begin starts the job after delay. The lane must not be busy.
func (l *lane) begin(delay time.Duration) {
	l.busy = true
	select {
	case <-l.hurry:
	default:
	}
	l.start <- delay
}

// hasten starts a delayed job now.
func (l *lane) hasten() {
	select {
	case l.hurry <- struct{}{}:
	default:
	}
}

// poll says, once for each job, that it has ended.
func (l *lane) poll() bool {
	if !l.busy || !l.done.Load() {
		return false
	}
	l.done.Store(false)
	l.busy = false
	return true
}

// loop runs jobs until stop. It is the body of the lane's goroutine; if code of the
// user's ends that goroutine, another one takes its place.
func (l *lane) loop() {
	over := false
	defer func() {
		if !over {
			go l.loop()
		}
	}()
	for delay := range l.start {
		l.wait(delay)
		l.run()
	}
	over = true
	close(l.ended)
}

func (l *lane) wait(delay time.Duration) {
	if delay <= 0 {
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.hurry:
	}
}

// run does the job. The codecs of a table may run in it, and may not return.
func (l *lane) run() {
	returned := false
	defer func() {
		if !returned {
			l.lost(&PanicError{Value: recover(), Stack: debug.Stack()})
		}
		l.done.Store(true)
		l.wake()
	}()
	l.work()
	returned = true
}

// step runs the job that was begun, if there is one. It stands for loop in tests.
func (l *lane) step() bool {
	select {
	case <-l.start:
		l.run()
		return true
	default:
		return false
	}
}

// stop ends loop and waits for it.
func (l *lane) stop() {
	close(l.start)
	l.hasten()
	<-l.ended
}
