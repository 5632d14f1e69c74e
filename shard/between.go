package shard

import "time"

// Between recovers a shard as it was when its newest snapshot was taken, in two ways:
// folded is an earlier state, of the snapshot before or of the beginning, with the events
// of the log up to then; taken is the snapshot itself. Neither can be started. It is not
// ok when there is no earlier state from which all of the log is there. It changes
// nothing, and uses workers as Recover does.
func Between(cfg Config, owned []uint32) (folded, taken *State, ok bool, err error) {
	current, err := readCurrent(cfg.Log.FS, cfg.Dir, cfg.ID)
	if err != nil {
		return nil, nil, false, err
	}
	last := len(current.Snapshots) - 1
	if last < 0 || last == 0 && current.Generations[0].Number >= current.Snapshots[0] {
		return nil, nil, false, nil
	}
	number := current.Snapshots[last]
	image := &recovery{cfg: &cfg, owned: owned, current: current}
	image.hire()
	if err := image.loadSnapshot(number); err != nil {
		return nil, nil, false, damaged(cfg.snapshotPath(number), err)
	}
	for _, w := range image.workers {
		for id := range w.reach {
			w.reach[id].log = w.reach[id].stamp
		}
	}
	current.Snapshots = current.Snapshots[:last]
	fold := &recovery{cfg: &cfg, owned: owned, current: current, until: image.stamps()}
	fold.hire()
	if err := fold.load(); err != nil {
		return nil, nil, false, err
	}
	if err := fold.replay(); err != nil {
		return nil, nil, false, err
	}
	return fold.state(time.Now()), image.state(time.Now()), true, nil
}

// stamps are those of the snapshot that was loaded.
func (r *recovery) stamps() map[uint32]holding {
	all := make(map[uint32]holding)
	for _, w := range r.workers {
		for id := range w.reach {
			if stamp := w.reach[id].stamp; stamp != (holding{}) {
				all[uint32(id)] = stamp
			}
		}
	}
	return all
}

// beyond says that an event, or an adoption, comes later than what is to be folded.
func (r *recovery) beyond(id uint32, at holding) bool {
	return r.until != nil && r.until[id].less(at)
}

// Pair hands out the partitions that both states have, as one has them and the other.
func Pair(a, b *State, yield func(a, b *Partition) error) error {
	of := make(map[uint32]*Partition)
	for _, p := range b.Partitions {
		of[p.ID] = p
	}
	for _, p := range a.Partitions {
		if other := of[p.ID]; other != nil && !other.empty() { // else it had moved away
			if err := yield(p, other); err != nil {
				return err
			}
		}
	}
	return nil
}

// Drop gives back the memory of a state that no shard was made of.
func (state *State) Drop() {
	for _, p := range state.Partitions {
		p.drop()
	}
}
