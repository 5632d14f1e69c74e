package limit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"
)

// numbered is a stream of so many events over so many keys, in turn.
func numbered(keys, events int) ([]Key, Stream) {
	all := make([]Key, keys)
	for i := range all {
		binary.LittleEndian.PutUint64(all[i][:], uint64(i))
	}
	s := Stream{Keys: make([]Key, events), Events: make([]Event, events)}
	for i := range s.Keys {
		s.Keys[i] = all[i%keys]
		s.Events[i] = Event{Value: int64(i)}
	}
	return all, s
}

func TestOwnerFoldsEveryEventAndLogsIt(t *testing.T) {
	var log bytes.Buffer
	owner := NewOwner(100, &log)
	_, stream := numbered(100, 1000)
	if err := errors.Join(owner.Apply(stream), owner.Flush()); err != nil {
		t.Fatal(err)
	}
	if want := 1000*(KeyBytes+EventBytes) + 8; log.Len() != want {
		t.Errorf("the log has %d bytes, want %d", log.Len(), want)
	}
	states := 0
	err := owner.Each(func(k *Key, s *State) error {
		states++
		first := int64(binary.LittleEndian.Uint64(k[:]))
		if want := (State{Count: 10, Sum: 10*first + 4500, Last: first + 900, Max: first + 900}); *s != want {
			t.Errorf("key %d: %+v, want %+v", first, *s, want)
		}
		return nil
	})
	if err != nil || states != 100 {
		t.Errorf("%d states, %v", states, err)
	}
}

// row is what the rows have in common.
type row interface {
	Pass() (time.Duration, error)
	Each(fn func(*Key, *State) error) error
	Close() error
}

// Goal: both rows fold every event of their stream, in the order of its key, in each
// pass, and leave no file.
func TestRowsFoldTheirStreamAndLeaveNothing(t *testing.T) {
	const keys, events, passes = 1001, 20_003, 3
	all, stream := numbered(keys, events)
	rows := map[string]func(dir string) (row, error){
		"one owner":    func(dir string) (row, error) { return NewOwners(dir, 1, all, stream) },
		"three owners": func(dir string) (row, error) { return NewOwners(dir, 3, all, stream) },
		"pipeline":     func(dir string) (row, error) { return NewPipeline(dir, all, stream) },
	}
	for name, open := range rows {
		dir := t.TempDir()
		r, err := open(dir)
		if err != nil {
			t.Fatal(err)
		}
		for range passes {
			if took, err := r.Pass(); err != nil || took <= 0 {
				t.Errorf("%s: %v, %v", name, took, err)
			}
		}
		checkRow(t, name, r, stream, passes, keys)
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%s: %v is left, %v", name, left, err)
		}
	}
}

func checkRow(t *testing.T, name string, r row, stream Stream, passes, keys int) {
	t.Helper()
	want := make(map[Key]*State)
	for range passes {
		for i, key := range stream.Keys {
			if want[key] == nil {
				want[key] = &State{Count: 1} // the insert
			}
			want[key].Fold(stream.Events[i].Value)
		}
	}
	states := 0
	err := r.Each(func(k *Key, s *State) error {
		states++
		if w := want[*k]; w == nil || *s != *w {
			t.Errorf("%s: key %x: %+v, want %+v", name, k, *s, w)
		}
		return nil
	})
	if err != nil || states != keys {
		t.Errorf("%s: %d states of %d, %v", name, states, keys, err)
	}
}

func TestLogIsWrittenOverFromItsStart(t *testing.T) {
	log, err := NewLog(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	log.max = 10
	for _, text := range []string{"aaaa", "bbbb", "cccc", "dddd"} {
		if _, err := log.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(log.file.Name()); err != nil || string(text) != "ccccdddd" {
		t.Errorf("%q, %v", text, err)
	}
	if err := log.Reset(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(log.file.Name()); err != nil || len(text) != 0 {
		t.Errorf("%q, %v", text, err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}

// failing is a disk that takes nothing.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no room") }

func TestPipelineEndsWhenItsLogFails(t *testing.T) {
	_, stream := numbered(10, 50_000)
	r, owner := new(ring), NewOwner(10, failing{})
	_, err := together([]func() error{
		func() error { return owner.drain(r) },
		func() error { dispatch(r, stream); return nil },
	})
	if err == nil {
		t.Error("no error")
	}
}
