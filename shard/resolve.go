package shard

import (
	"fmt"
	"maps"

	"github.com/keyfold/keyfold/internal/mutant"
)

// Resolve decides which of the shards of a layout owns each of its partitions, after
// all were recovered: the one that holds it at the highest epoch. What others hold of it
// is from before it moved, and is taken out of their states.
func Resolve(states []*State, partitions int) (owners []uint16, err error) {
	owners = make([]uint16, partitions)
	best := make([]*Partition, partitions)
	for i, state := range states {
		for _, p := range state.Partitions {
			switch other := best[p.ID]; {
			case other != nil && other.Epoch == p.Epoch:
				return nil, state.contested(p, fmt.Errorf("shards %d and %d hold partition %d, both at epoch %d", owners[p.ID], i, p.ID, p.Epoch))
			case other == nil || other.Epoch < p.Epoch && !mutant.OldOwnerWins:
				best[p.ID], owners[p.ID] = p, uint16(i)
			}
		}
	}
	for _, state := range states {
		if err := state.keep(best); err != nil {
			return nil, err
		}
	}
	return owners, nil
}

func (state *State) contested(p *Partition, err error) error {
	return &CorruptError{Path: state.path, Partition: p.ID, Sequence: p.Sequence, Err: err}
}

// keep takes out of the state what is not best.
func (state *State) keep(best []*Partition) error {
	for id, epoch := range state.gone {
		if p := best[id]; p == nil || p.Epoch < epoch {
			return state.contested(&Partition{ID: id}, fmt.Errorf("partition %d was adopted by another shard at epoch %d, and no shard holds that", id, epoch))
		}
	}
	kept := state.Partitions[:0]
	state.left = maps.Clone(state.gone)
	if state.left == nil {
		state.left = make(map[uint32]uint64)
	}
	state.Report.Keys = 0
	for _, p := range state.Partitions {
		if p != best[p.ID] {
			state.lost = append(state.lost, p)
			p.drop()
			state.left[p.ID] = best[p.ID].Epoch
			continue
		}
		delete(state.left, p.ID)
		kept = append(kept, p)
		for _, store := range p.Stores {
			state.Report.Keys += store.Len()
		}
	}
	state.Partitions = kept
	return nil
}
