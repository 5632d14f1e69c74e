package shard

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
)

var rowsSeed = flag.Uint64("shard.rows.seed", 0, "seed of the test of rows; 0 draws one")

// rowEvents are events that can be in rows: keys of 2 bytes, payloads of 14.
func rowEvents(r *rig, evs []ev) []ev {
	evs = slices.Clone(evs)
	for i := range evs {
		r.next++
		evs[i].id, evs[i].pad = r.next, 14-9
	}
	return evs
}

// rows are events as rows.
func (r *rig) rows(to Address, ack Ack, evs []ev) *Rows {
	rows := NewRows(NewOpForm(0, 2, 14), len(evs), to, ack)
	for _, e := range evs {
		event := make([]byte, 14)
		event[0] = e.verb
		binary.LittleEndian.PutUint64(event[1:], e.id)
		rows.Add(rigHash([]byte(e.key), r.cfg.Routing.Seed), []byte(e.key), event)
	}
	return rows
}

// A given feed gives what it was given: blocks, or the same events in rows.
type given struct {
	blocks [][]byte
	rows   []*Rows
}

func (g *given) Poll() (block []byte, rows *Rows, state FeedState) {
	switch {
	case len(g.rows) > 0:
		rows, g.rows = g.rows[0], g.rows[1:]
	case len(g.blocks) > 0:
		block, g.blocks = g.blocks[0], g.blocks[1:]
	default:
		return nil, nil, FeedIdle
	}
	return block, rows, FeedBusy
}

func (g *given) End(error) {}

// feed makes the shard poll a feed with the events, of which the caller is told.
func (r *rig) feed(inRows bool, ack Ack, blocks ...[]ev) *call {
	c := &call{r: r, slot: r.cfg.Slots.New()}
	c.slot.Sink = c
	g := &given{}
	for _, evs := range blocks {
		if inRows {
			g.rows = append(g.rows, r.rows(c.slot.Stream(), ack, evs))
		} else {
			g.blocks = append(g.blocks, r.block(c.slot.Stream(), ack, evs))
		}
	}
	r.feeds = append(r.feeds, g)
	return c
}

// Goal: a feed that gives rows gets what one gets that gives blocks: the same states, the
// same refusals, the same bytes in the log, all of its events told.
//
// Method: two shards with the same events, some of which are refused or panic, in frames
// that have room for a few.
func TestRowsAreCarriedOutAsBlocksAre(t *testing.T) {
	seed := *rowsSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with: go test ./shard -run %s -shard.rows.seed %d", t.Name(), seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 30 {
		small := func(c *Config) { c.Log.FrameBytesMax = 200 + 4000*random.IntN(2) }
		var rigs [2]*rig
		rigs[0] = newRig(t, small)
		rigs[1] = newRig(t, func(c *Config) { c.Log.FrameBytesMax = rigs[0].cfg.Log.FrameBytesMax })
		var blocks [][]ev
		events := 0
		for range 1 + random.IntN(4) {
			evs := make([]ev, 1+random.IntN(3*runOperations))
			for i := range evs {
				evs[i] = ev{key: string([]byte{'0' + byte(random.IntN(rigPartitions)), 'a' + byte(random.IntN(3))}), verb: verbAdd}
				if random.IntN(40) == 0 {
					evs[i].verb = []byte{verbRefuse, verbPanic}[random.IntN(2)]
				}
			}
			blocks = append(blocks, rowEvents(rigs[0], evs))
			events += len(evs)
		}
		var calls [2]*call
		var logs [2][]byte
		for i, r := range rigs {
			r.time += 5e6 // a time mark, if a frame is open
			calls[i] = r.feed(i == 1, Written, blocks...)
			for r.turn() {
				logs[i] = append(logs[i], r.log.frame.Body()...)
				logs[i] = binary.LittleEndian.AppendUint32(logs[i], r.log.frame.Count)
			}
			r.settle()
		}
		rigs[1].same("in rows", contents(rigs[0].owned))
		for i, c := range calls {
			if n, err := c.slot.Completed(); int(n) != events || err != nil || len(c.refused) != len(calls[0].refused) {
				t.Fatalf("feed %d: %d of %d events told, %d refused, %v", i, n, events, len(c.refused), err)
			}
		}
		if !slices.Equal(logs[0], logs[1]) || rigs[0].counters != rigs[1].counters {
			t.Fatalf("logs of %d and %d bytes, counters\n%+v\n%+v", len(logs[0]), len(logs[1]), rigs[0].counters, rigs[1].counters)
		}
		rigs[1].crash(crashfs.Model{Data: crashfs.Kept}).same("in rows, recovered", contents(rigs[0].owned))
	}
}

// Goal: events in rows on a partition that is on its way are held back, as those in blocks
// are, and carried out once.
func TestRowsAreHeldBackWithTheirPartition(t *testing.T) {
	bubble(t, crashfs.New(), func(p *pair) {
		_, to := p.arrange()
		before := len(p.sent[0])
		evs := rowEvents(to, slices.Repeat([]ev{add("0c"), add("2b")}, runOperations))
		c := to.feed(true, Applied, evs, rowEvents(to, []ev{add("3a")}))
		to.turn()
		if n, _ := c.slot.Completed(); n != 0 || len(history(to.parts[2])) != runOperations {
			p.Fatalf("%d events were told, %d of partition 2 done, want none and %d", n, len(history(to.parts[2])), runOperations)
		}
		p.settle()
		if n, err := c.slot.Completed(); int(n) != len(evs)+1 || err != nil || len(c.refused) > 0 {
			p.Fatal(n, err, c.refused)
		}
		if n := len(history(to.parts[0])) - before; n != runOperations {
			p.Fatalf("%d events of the partition, want %d", n, runOperations)
		}
		p.contents("settled")
	})
}
