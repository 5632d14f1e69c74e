package rival

import (
	"errors"
	"fmt"

	"github.com/tidwall/wal"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/peers/job"
)

// recordBytes is an event in a log made by hand: key and event.
const recordBytes = limit.KeyBytes + limit.EventBytes

// A handLog is a log of tidwall/wal as a team uses it: an entry for each batch, replayed
// when it is opened. It must be used by one goroutine at a time, but for sync.
type handLog struct {
	log   *wal.Log
	next  uint64
	entry []byte
}

// openHandLog replays a log into fold.
func openHandLog(dir string, s Sync, fold func(key []byte, value int64)) (*handLog, error) {
	log, err := wal.Open(dir, &wal.Options{NoSync: s != Always, NoCopy: true})
	if err != nil {
		return nil, err
	}
	l := &handLog{log: log}
	if err := l.replay(fold); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return l, nil
}

func (l *handLog) replay(fold func(key []byte, value int64)) error {
	first, err := l.log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := l.log.LastIndex()
	if err != nil {
		return err
	}
	l.next = last + 1
	for i := max(first, 1); i <= last; i++ {
		entry, err := l.log.Read(i)
		if err != nil {
			return fmt.Errorf("rival: entry %d: %w", i, err)
		}
		for ; len(entry) >= recordBytes; entry = entry[recordBytes:] {
			fold(entry[:limit.KeyBytes], job.ValueOf(entry[limit.KeyBytes:]))
		}
	}
	return nil
}

// add puts an event into the entry that commit writes.
func (l *handLog) add(key *limit.Key, event *limit.Event) {
	l.entry = append(append(l.entry, key[:]...), job.Bytes(event)...)
}

// commit writes the entry, and syncs it if the log was opened so.
func (l *handLog) commit() error {
	err := l.log.Write(l.next, l.entry)
	l.next++
	l.entry = l.entry[:0]
	return err
}

func (l *handLog) sync() error { return l.log.Sync() }

func (l *handLog) close() error { return errors.Join(l.log.Sync(), l.log.Close()) }

// handStates are the states of a part of the keys, as Go programs keep them.
type handStates map[string]*limit.State

// of finds or makes the state of a key.
func (m handStates) of(key []byte) *limit.State {
	s := m[string(key)]
	if s == nil {
		s = new(limit.State)
		m[string(key)] = s
	}
	return s
}

func (m handStates) each(fn func(key []byte, s limit.State) error) error {
	for key, s := range m {
		if err := fn([]byte(key), *s); err != nil {
			return err
		}
	}
	return nil
}
