package rival

import (
	"sync"

	"github.com/keyfold/keyfold/bench/limit"
)

// groupEvents is how many callers a crowd commits together at most.
const groupEvents = 1024

// A crowd turns the calls of many goroutines into batches of a lane: whoever calls
// while a batch is being committed is part of the next one. It is the group commit that
// a user of a transactional store writes around it.
type crowd struct {
	lanes []crowdLane
	free  sync.Pool
	done  sync.WaitGroup
}

type crowdLane struct {
	door    Lane
	waiting chan *waiter
}

// A waiter is a call under way. It belongs to its caller until it is in waiting, and
// again when reply has said so.
type waiter struct {
	key   limit.Key
	event limit.Event
	reply chan error
}

// newCrowd begins a goroutine for each lane; stop ends them.
func newCrowd(doors []Lane) *crowd {
	c := &crowd{lanes: make([]crowdLane, len(doors))}
	c.free.New = func() any { return &waiter{reply: make(chan error, 1)} }
	for i, door := range doors {
		c.lanes[i] = crowdLane{door: door, waiting: make(chan *waiter, groupEvents)}
		c.done.Go(c.lanes[i].run)
	}
	return c
}

// do waits until the event is committed.
func (c *crowd) do(lane int, key *limit.Key, event *limit.Event) error {
	w := c.free.Get().(*waiter)
	w.key, w.event = *key, *event
	c.lanes[lane].waiting <- w
	err := <-w.reply
	c.free.Put(w)
	return err
}

// stop ends the goroutines, when nobody calls any more.
func (c *crowd) stop() {
	for _, l := range c.lanes {
		close(l.waiting)
	}
	c.done.Wait()
}

// run commits what waits until the lane is closed.
func (l *crowdLane) run() {
	var batch limit.Stream
	var group []*waiter
	for first := range l.waiting {
		group = l.gather(append(group[:0], first))
		batch.Keys, batch.Events = batch.Keys[:0], batch.Events[:0]
		for _, w := range group {
			batch.Keys, batch.Events = append(batch.Keys, w.key), append(batch.Events, w.event)
		}
		err := l.door.Apply(batch)
		if err == nil {
			err = l.door.Flush()
		}
		for _, w := range group {
			w.reply <- err
		}
	}
}

// gather takes what else is waiting.
func (l *crowdLane) gather(group []*waiter) []*waiter {
	for len(group) < groupEvents {
		select {
		case w, ok := <-l.waiting:
			if !ok {
				return group
			}
			group = append(group, w)
		default:
			return group
		}
	}
	return group
}
