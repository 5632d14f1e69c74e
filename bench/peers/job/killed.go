package job

import (
	"fmt"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/workload"
)

// Sent is how far a lane was when its process was killed: of its part of the stream it
// had sent no more events than Sent, and of those it knew the first Acked as
// acknowledged.
type Sent struct{ Sent, Acked uint64 }

// Killed is what a store must hold that was filled, and killed under load.
type Killed struct {
	Keys  uint64
	Parts []limit.Stream
	Lanes []Sent
}

// A Survey is what came of a Killed.
type Survey struct {
	// Check compares every state with that after some of the first events of its key.
	Check
	// Lost is the count of acknowledged events that are not in the states, those of Fill
	// among them.
	Lost uint64 `json:"lost"`
}

// Compare surveys the states that each calls its argument with. fields is what of them
// is kept.
func (k *Killed) Compare(fields Fields, each func(fn func(key []byte, s limit.State) error) error) (s Survey, err error) {
	got, want := make([]limit.State, k.Keys), make([]limit.State, k.Keys)
	s.PerKey = true
	err = each(func(key []byte, state limit.State) error {
		number, err := workload.KeyNumber(key)
		switch {
		case err != nil || number >= k.Keys:
			s.wrong("key %q was never sent", key)
		case got[number].Count > 0:
			s.wrong("key %q is there twice", key)
		default:
			got[number] = state
			s.Keys++
			s.Events += state.Count
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	for i := range got {
		if got[i].Count > 0 {
			want[i].Fold(0)
		}
	}
	s.Lost = k.Keys - s.Keys
	if err := k.replay(got, want, &s); err != nil {
		return s, err
	}
	for i := range got {
		if g, w := kept(got[i], fields), kept(want[i], fields); g != w {
			key := KeyOf(uint64(i))
			s.wrong("key %q has %+v, and its first events come to %+v", key[:], g, w)
		}
	}
	s.OK = s.Wrong == 0
	return s, nil
}

// replay folds as many events of each key into want as got counts, and counts those that
// are acknowledged and too many for it.
func (k *Killed) replay(got, want []limit.State, s *Survey) error {
	for lane, at := range k.Lanes {
		s.Want += int64(at.Acked)
		for position := uint64(0); position < at.Sent; {
			batch := Next(k.Parts[lane], position, at.Sent-position)
			for i := range batch.Keys {
				number, err := workload.KeyNumber(batch.Keys[i][:])
				if err != nil {
					return fmt.Errorf("job: %w", err)
				}
				switch {
				case want[number].Count < got[number].Count:
					want[number].Fold(batch.Events[i].Value)
				case position+uint64(i) < at.Acked:
					s.Lost++
				}
			}
			position += uint64(len(batch.Keys))
		}
	}
	s.Want += int64(k.Keys)
	return nil
}
