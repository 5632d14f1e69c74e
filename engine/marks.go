package engine

// marksMax is how many marks of a feed are kept.
const marksMax = 64

// marks say which records of a source are settled. Events of one shard are settled in
// their order, but shards go their own pace: so a mark holds how many events each shard
// had been given when so many records were encoded, and is due when each has settled
// as many. When there are too many marks the last one moves on.
type marks struct {
	ring  [marksMax]mark
	first uint64 // the oldest
	end   uint64 // behind the newest
}

type mark struct {
	records uint64
	queued  []uint64 // by shard
}

func (m *marks) add(records uint64, outlets []outlet) {
	if m.end-m.first == marksMax {
		m.end--
	}
	at := &m.ring[m.end%marksMax]
	at.records, at.queued = records, at.queued[:0]
	for i := range outlets {
		at.queued = append(at.queued, outlets[i].queued)
	}
	m.end++
}

// due returns the records of the newest mark that is due, and forgets it and those
// before it. It returns 0 if there is none.
func (m *marks) due(outlets []outlet) (records uint64) {
	for ; m.first < m.end && m.ring[m.first%marksMax].reached(outlets); m.first++ {
		records = m.ring[m.first%marksMax].records
	}
	return records
}

// rerouted is called when what was queued and not sent was split among the outlets
// again, given how many each has sent. A mark that counts some of that now waits for all
// of it.
func (m *marks) rerouted(sent []uint64, outlets []outlet) {
	for i := m.first; i < m.end; i++ {
		at := &m.ring[i%marksMax]
		unsent := false
		for shard, queued := range at.queued {
			unsent = unsent || queued > sent[shard]
		}
		if !unsent {
			continue
		}
		at.queued = at.queued[:0]
		for shard := range outlets { // those of shards that are new since, too
			at.queued = append(at.queued, outlets[shard].queued)
		}
	}
}

func (m *mark) reached(outlets []outlet) bool {
	for i, queued := range m.queued {
		if outlets[i].settled() < queued {
			return false
		}
	}
	return true
}
