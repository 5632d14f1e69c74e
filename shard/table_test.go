package shard

import (
	"encoding/binary"
	"errors"
	"maps"
	"runtime"
	"slices"
)

// The verbs of a ledger's events.
const (
	verbAdd          = 'a'
	verbRefuse       = 'r' // Check says no
	verbPanic        = 'p' // changes the state, then panics
	verbGoexit       = 'g' // changes the state, then ends the goroutine
	verbRefuseReplay = 'R' // is taken at first and refused when it is replayed
	verbPanicReplay  = 'P'
	verbGoexitReplay = 'G'
)

var errRefused = errors.New("refused by the table")

// A ledger is a table whose state remembers every event that made it: each key holds
// the list of its entries. A hole, a duplicate or a phantom shows as such.
type ledger struct{ bells bool }

func (ledger) Bind() Program  { return &ledgerProgram{} }
func (ledger) Schema() uint32 { return 0 }

// An entry is one event as a ledger keeps it.
type entry struct {
	sequence uint64
	id       uint64 // chosen by the test
	now      int64
}

type ledgerProgram struct {
	key    string
	before []entry
	of     *ledgerStore // that Apply is changing; nil: nothing to undo
}

func (p *ledgerProgram) NewStore() Store { return &ledgerStore{p, map[string][]entry{}} }

type ledgerStore struct {
	program *ledgerProgram
	keys    map[string][]entry
}

func (*ledgerProgram) Under(uint32) (_, _ error) { return nil, nil }
func (*ledgerProgram) Touch([]Operation)         {}
func (*ledgerProgram) TouchEntries([]Operation)  {}

func (p *ledgerProgram) Apply(r *Run, to int) {
	for ; r.Next < to; r.Next++ {
		op := &r.Ops[r.Next]
		s := op.Store.(*ledgerStore)
		if op.Kind == KindRead {
			s.read(op)
		} else if op.Kind == KindFiring {
			s.ring(r, op)
		} else if op.Err = s.fold(r, op); op.Err == nil {
			op.Part.Sequence++
		}
	}
}

func (s *ledgerStore) fold(r *Run, op *Operation) error {
	p := s.program
	verb, id := op.Event()[0], binary.LittleEndian.Uint64(op.Event()[1:])
	if verb == verbRefuse && !r.Replay || verb == verbRefuseReplay && r.Replay {
		return errRefused
	}
	p.key, p.before, p.of = string(op.Key()), s.keys[string(op.Key())], s
	s.keys[p.key] = append(slices.Clone(p.before), entry{op.Part.Sequence + 1, id, r.Now})
	switch {
	case verb == verbPanic, verb == verbPanicReplay && r.Replay:
		panic("the ledger burns")
	case verb == verbGoexit, verb == verbGoexitReplay && r.Replay:
		runtime.Goexit()
	}
	p.of = nil
	s.tolls(r, op)
	return nil
}

func (p *ledgerProgram) Undo() {
	if p.of == nil {
		return
	}
	p.of.keys[p.key] = p.before
	if p.before == nil {
		delete(p.of.keys, p.key)
	}
	p.of = nil
}

func (s *ledgerStore) read(op *Operation) {
	if call, ok := op.Sink.(*call); ok {
		call.read = append(call.read, len(s.keys[string(op.Key())]))
	}
}

// Keys with which the codec of a ledger misbehaves.
const (
	keyGoexitFreeze = "0 ends the goroutine that copies it"
	keyPanicEncode  = "0 panics when it is encoded"
	keyGoexitEncode = "0 ends the goroutine that encodes it"
)

func (s *ledgerStore) Freeze(Image) Image {
	if _, ok := s.keys[keyGoexitFreeze]; ok {
		runtime.Goexit()
	}
	return ledgerImage(maps.Clone(s.keys))
}

func (s *ledgerStore) Drop()             { s.keys = nil }
func (s *ledgerStore) Rebind(to Program) { s.program = to.(*ledgerProgram) }
func (s *ledgerStore) Empty() bool       { return len(s.keys) == 0 }
func (s *ledgerStore) Len() int          { return len(s.keys) }
func (s *ledgerStore) Bytes() int        { return ledgerImage(s.keys).Bytes() }

// Load reads blocks of one key each: the key's length, the key, the entries.
func (s *ledgerStore) Load(_ uint8, _ uint32, data []byte) error {
	key := string(data[1 : 1+data[0]])
	for rest := data[1+data[0]:]; len(rest) > 0; rest = rest[24:] {
		s.keys[key] = append(s.keys[key], entry{
			sequence: binary.LittleEndian.Uint64(rest),
			id:       binary.LittleEndian.Uint64(rest[8:]),
			now:      int64(binary.LittleEndian.Uint64(rest[16:])),
		})
	}
	return nil
}

type ledgerImage map[string][]entry

func (i ledgerImage) Len() int { return len(i) }

func (i ledgerImage) Bytes() int {
	bytes := 0
	for key, entries := range i {
		bytes += len(key) + 24*len(entries)
	}
	return bytes
}

func (i ledgerImage) Blocks(_ int, yield func(uint8, uint32, []byte) error) error {
	for _, key := range slices.Sorted(maps.Keys(i)) {
		switch key {
		case keyPanicEncode:
			panic("no code for it")
		case keyGoexitEncode:
			runtime.Goexit()
		}
		data := append([]byte{byte(len(key))}, key...)
		for _, e := range i[key] {
			data = binary.LittleEndian.AppendUint64(data, e.sequence)
			data = binary.LittleEndian.AppendUint64(data, e.id)
			data = binary.LittleEndian.AppendUint64(data, uint64(e.now))
		}
		if err := yield(0, 1, data); err != nil {
			return err
		}
	}
	return nil
}

// history lists the entries of a partition in the order of their sequence.
func history(p *Partition) []entry {
	var all []entry
	for _, s := range p.Stores {
		for _, entries := range s.(*ledgerStore).keys {
			all = append(all, entries...)
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return int(a.sequence) - int(b.sequence) })
	return all
}
