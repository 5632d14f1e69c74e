package engine

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/keyfold/keyfold/internal/balance"
	"github.com/keyfold/keyfold/shard"
)

// A RebalanceMode says what becomes of an imbalance between shards.
type RebalanceMode uint8

// The modes of rebalancing.
const (
	RebalanceAdvise    RebalanceMode = iota // Stats.Advice and Options.Logger say what would help; the default
	RebalanceOff                            // nobody looks for it
	RebalanceAutomatic                      // the engine makes the moves itself, at most 16 and 256 MiB a second
)

// A Move gives a partition to another shard.
type Move struct {
	Partition uint32  // its number
	From, To  int     // shards
	Load      float64 // of the partition, as in Advice
}

// Advice says what would relieve the busiest shard. Loads are shares of the time of a
// shard's goroutine, 1 at most, averaged over about a second.
type Advice struct {
	// Moves are the partitions that should have another shard: the few that gain most,
	// at most 16. There are none unless the busiest shard works for half of its time, and
	// a fifth more than the mean.
	Moves []Move
	// Before is the load of the busiest shard, After what the moves would make of it:
	// the same events would leave so much more room on it.
	Before, After float64
	// TooHot is the load of a partition that is more than a shard's fair part, and Partition
	// its number. No move helps it; Stats.Hot says whether it is a single key. TooHot is
	// 0 if there is no such partition.
	TooHot    float64
	Partition uint32
}

// Gain is how much more the engine could take after the moves before its busiest shard is
// as busy as it is, as a share of what it takes: 0.5 is half as much again.
func (a Advice) Gain() float64 {
	if len(a.Moves) == 0 || a.After <= 0 {
		return 0
	}
	return a.Before/a.After - 1
}

const (
	// adviceEvery is how often the logger is told of advice, at most.
	adviceEvery = time.Minute
)

// An adviser looks at the loads of the shards, on a goroutine of its own, and leaves idle
// shards asleep. If it is told to it makes the moves that it advises. The nil adviser
// has no advice.
type adviser struct {
	engine  *Engine
	stopped chan struct{}
	ended   chan struct{}
	latest  atomic.Pointer[Advice] // look's store publishes to Stats
	planner balance.Planner
	began   time.Time
	loads   []*shard.Load  // by shard: the last that it told
	last    balance.Sample // that was planned with
	told    time.Time      // when the logger was
}

// startAdviser starts an adviser if there is anything to advise on, and none yet. It is
// called by whoever opens the engine, or has taken moves.
func (e *Engine) startAdviser() {
	if e.options.Rebalance == RebalanceOff || len(e.shards()) < 2 || e.operator.adviser.Load() != nil {
		return
	}
	a := &adviser{engine: e, stopped: make(chan struct{}), ended: make(chan struct{}), began: time.Now()}
	e.operator.adviser.Store(a)
	go a.loop()
}

// stop ends the adviser and waits for it.
func (a *adviser) stop() {
	if a != nil {
		close(a.stopped)
		<-a.ended
	}
}

// advice is the latest advice.
func (o *operator) advice() Advice {
	if a := o.adviser.Load(); a != nil {
		if latest := a.latest.Load(); latest != nil {
			return *latest
		}
	}
	return Advice{}
}

func (a *adviser) loop() {
	defer close(a.ended)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { <-a.stopped; cancel() }()
	timer := time.NewTimer(a.planner.Next())
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			a.look(ctx)
			timer.Reset(a.planner.Next())
		case <-a.stopped:
			return
		}
	}
}

// look asks the shards, makes a plan of what they say, and moves if that is wanted.
func (a *adviser) look(ctx context.Context) {
	shards := a.engine.shards()
	if slices.ContainsFunc(shards, func(s *shard.Shard) bool { return s.Err() != nil }) {
		a.latest.Store(&Advice{}) // what is left has other worries
		return
	}
	if !a.ask(ctx, shards) {
		return
	}
	plan := a.planner.Plan(a.sample())
	next := &Advice{Moves: movesOf(plan), Before: plan.Before, After: plan.After, TooHot: plan.Stuck.Load, Partition: plan.Stuck.Partition}
	before := a.engine.operator.advice()
	a.latest.Store(next)
	a.tell(before, next)
	if a.engine.options.Rebalance == RebalanceAutomatic {
		a.follow(ctx, plan.Moves)
	}
}

// movesOf are the moves of a plan.
func movesOf(plan balance.Plan) (moves []Move) {
	for _, m := range plan.Moves {
		moves = append(moves, Move(m))
	}
	return moves
}

// ask gets the loads of the shards, but for those that are asleep: they have done nothing
// since they were asked, or so little that the next time is soon enough. It says whether
// there is anything new.
func (a *adviser) ask(ctx context.Context, shards []*shard.Shard) (fresh bool) {
	for len(a.loads) < len(shards) {
		a.loads = append(a.loads, nil)
	}
	for i, s := range shards {
		if a.loads[i] != nil && s.Idle() {
			continue
		}
		load, err := s.Load(ctx, a.engine.options.Rebalance == RebalanceAutomatic)
		if err != nil {
			return false // it has stopped, or the engine closes
		}
		a.loads[i], fresh = load, true
	}
	return fresh || len(a.engine.operator.advice().Moves) > 0
}

// sample is what the shards have said. A partition that is on its way between two of them
// is where it was.
func (a *adviser) sample() balance.Sample {
	n := a.engine.manifest.Partitions
	s := balance.Sample{
		At: time.Since(a.began), Owners: make([]uint16, n), Events: make([]uint64, n), Bytes: make([]int, n),
		Work: make([]time.Duration, len(a.loads)), Busy: make([]time.Duration, len(a.loads)),
	}
	copy(s.Owners, a.last.Owners)
	copy(s.Events, a.last.Events)
	for i, load := range a.loads {
		s.Work[i] = load.Busy.Apply + load.Busy.Log
		s.Busy[i] = load.Busy.Total()
		for _, p := range load.Owned {
			if p.Events >= s.Events[p.Partition] { // else what a shard said that is asleep since
				s.Owners[p.Partition], s.Events[p.Partition], s.Bytes[p.Partition] = uint16(i), p.Events, p.Bytes
			}
		}
	}
	a.last = s
	return s
}

// follow makes moves, those between the same two shards together. Those that fail are not
// tried again for a while.
func (a *adviser) follow(ctx context.Context, moves []balance.Move) {
	for len(moves) > 0 {
		first := moves[0]
		var together, others []balance.Move
		var partitions []uint32
		for _, m := range moves {
			if m.From == first.From && m.To == first.To {
				together, partitions = append(together, m), append(partitions, m.Partition)
			} else {
				others = append(others, m)
			}
		}
		moves = others
		err := a.engine.moveTo(ctx, partitions, first.To, true)
		if ctx.Err() != nil || errors.Is(err, ErrClosed) {
			return
		}
		a.moved(together)
		if err != nil {
			a.engine.operator.reporter.say(slog.LevelWarn, "keyfold: partitions could not be moved", slog.String("dir", a.engine.dir),
				slog.Int("from", first.From), slog.Int("to", first.To), slog.Any("error", err))
			return
		}
	}
}

// moved tells the planner what has become of moves.
func (a *adviser) moved(moves []balance.Move) {
	owner := a.engine.route.Load().owner
	for _, m := range moves {
		if int(owner[m.Partition]) == m.To {
			a.planner.Moved(m)
		} else {
			a.planner.Refused(m)
		}
	}
}

// tell tells the logger when there is advice that there was not before.
func (a *adviser) tell(before Advice, now *Advice) {
	helps := len(now.Moves) > 0 && len(before.Moves) == 0 && a.engine.options.Rebalance == RebalanceAdvise
	hot := now.TooHot > 0 && before.TooHot == 0
	if !helps && !hot || !a.told.IsZero() && time.Since(a.told) < adviceEvery {
		return
	}
	a.told = time.Now()
	r := a.engine.operator.reporter
	dir := slog.String("dir", a.engine.dir)
	if helps {
		r.say(slog.LevelInfo, "keyfold: moves would relieve the busiest shard", dir, slog.Int("moves", len(now.Moves)),
			slog.Float64("busy", now.Before), slog.Float64("busy_after", now.After))
	}
	if hot {
		r.say(slog.LevelWarn, "keyfold: a partition is too hot for a shard, and no move helps it", dir,
			slog.Uint64("partition", uint64(now.Partition)), slog.Float64("busy", now.TooHot))
	}
}
