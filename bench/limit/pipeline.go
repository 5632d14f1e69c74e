package limit

import (
	"errors"
	"time"
)

// Pipeline is the row L5: a pinned dispatcher that hashes each key, a ring, and a
// pinned owner that does the rest. It must be used by one goroutine at a time.
type Pipeline struct {
	owner  *Owner
	log    *Log
	stream Stream
}

// NewPipeline makes a pipeline for a stream, with its log in dir, and has the owner
// insert all keys.
func NewPipeline(dir string, keys []Key, s Stream) (*Pipeline, error) {
	log, err := NewLog(dir)
	if err != nil {
		return nil, err
	}
	p := &Pipeline{owner: NewOwner(len(keys), log), log: log, stream: s}
	if err := insert(p.owner, log, Stream{Keys: keys, Events: make([]Event, len(keys))}); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Pass sends the whole stream through the pipeline once, and returns how long that
// took, the last write included. The log is emptied afterwards.
func (p *Pipeline) Pass() (time.Duration, error) {
	r := new(ring)
	took, err := together([]func() error{
		func() error { return p.owner.drain(r) },
		func() error { dispatch(r, p.stream); return nil },
	})
	return took, errors.Join(err, p.log.Reset())
}

// dispatch hashes the events of a stream and puts them into the ring.
func dispatch(r *ring, s Stream) {
	for i := range s.Keys {
		c := r.next()
		c.key, c.event, c.hash = s.Keys[i], s.Events[i], s.Keys[i].Hash()
		r.put()
	}
	r.close()
}

// drain applies what comes out of the ring until it is closed. After an error it goes
// on taking, so that the dispatcher comes to its end.
func (o *Owner) drain(r *ring) (err error) {
	for {
		cells := r.peek()
		if len(cells) == 0 {
			return errors.Join(err, o.Flush())
		}
		if err == nil {
			err = o.applyCells(cells)
		}
		r.take(len(cells))
	}
}

// applyCells applies at most a batch.
func (o *Owner) applyCells(cells []cell) error {
	for i := range cells {
		o.hashes[i] = cells[i].hash
	}
	o.touch(len(cells))
	for i := range cells {
		o.fold(cells[i].hash, &cells[i].key, &cells[i].event)
	}
	return o.write()
}

// Each calls fn with each key and state until fn returns an error. Both are borrowed.
func (p *Pipeline) Each(fn func(*Key, *State) error) error { return p.owner.Each(fn) }

// Close removes the log.
func (p *Pipeline) Close() error { return p.log.Close() }
