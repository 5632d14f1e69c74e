package limit

import (
	"errors"
	"time"
)

// Owners is the row L4b: pinned goroutines, each with its part of the keys, its part
// of the stream and its own log. It must be used by one goroutine at a time.
type Owners struct {
	owners []*Owner
	logs   []*Log
	parts  []Stream
}

// NewOwners makes n owners, with logs in dir, and has them insert all keys. The events
// of s are split by key now, so that it is not measured.
func NewOwners(dir string, n int, keys []Key, s Stream) (*Owners, error) {
	o := &Owners{parts: Split(s, n)}
	for _, part := range Split(Stream{Keys: keys, Events: make([]Event, len(keys))}, n) {
		log, err := NewLog(dir)
		if err != nil {
			return nil, errors.Join(err, o.Close())
		}
		owner := NewOwner(len(part.Keys), log)
		o.logs, o.owners = append(o.logs, log), append(o.owners, owner)
		if err := insert(owner, log, part); err != nil {
			return nil, errors.Join(err, o.Close())
		}
	}
	return o, nil
}

// insert applies a stream that is not measured.
func insert(owner *Owner, log *Log, s Stream) error {
	return errors.Join(owner.Apply(s), owner.Flush(), log.Reset())
}

// Split splits a stream by key into n.
func Split(s Stream, n int) []Stream {
	parts := make([]Stream, n)
	for i := range s.Keys {
		p := &parts[s.Keys[i].Part(n)]
		p.Keys, p.Events = append(p.Keys, s.Keys[i]), append(p.Events, s.Events[i])
	}
	return parts
}

// Pass folds the whole stream once, and returns how long that took, the last write
// included. The logs are emptied afterwards.
func (o *Owners) Pass() (time.Duration, error) {
	var fns []func() error
	for i, owner := range o.owners {
		fns = append(fns, func() error { return errors.Join(owner.Apply(o.parts[i]), owner.Flush()) })
	}
	took, err := together(fns)
	for _, log := range o.logs {
		err = errors.Join(err, log.Reset())
	}
	return took, err
}

// Each calls fn with each key and state until fn returns an error. Both are borrowed.
func (o *Owners) Each(fn func(*Key, *State) error) error {
	for _, owner := range o.owners {
		if err := owner.Each(fn); err != nil {
			return err
		}
	}
	return nil
}

// Close removes the logs.
func (o *Owners) Close() (err error) {
	for _, log := range o.logs {
		err = errors.Join(err, log.Close())
	}
	return err
}
