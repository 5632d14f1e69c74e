package shard

import (
	"fmt"
	"strings"
	"testing"
)

// A search is breadth-first: what it finds first is found with as few steps as can be.
type search struct {
	how    mutation
	left   modelLimits
	index  map[model]int
	states []model
	parent []int
	action []string
}

func (s *search) visit(m model, parent int, action string) {
	if _, known := s.index[m]; known {
		return
	}
	s.index[m] = len(s.states)
	s.states = append(s.states, m)
	s.parent = append(s.parent, parent)
	s.action = append(s.action, action)
}

// trace is the way to a state.
func (s *search) trace(at int) string {
	var steps []string
	for ; at >= 0; at = s.parent[at] {
		steps = append(steps, s.action[at])
	}
	var b strings.Builder
	for i := len(steps) - 1; i >= 0; i-- {
		fmt.Fprintln(&b, steps[i])
	}
	return b.String()
}

// run looks at everything that can be reached, and returns the first thing that is
// wrong with how it was reached.
func (s *search) run() (wrong string) {
	s.index = make(map[model]int)
	s.visit(modelStart(s.left), -1, "start")
	for at := 0; at < len(s.states); at++ {
		for _, next := range s.states[at].after(s.how) {
			if next.wrong != "" {
				return fmt.Sprintf("%s%s\n%s", s.trace(at), next.action, next.wrong)
			}
			s.visit(next.state, at, next.action)
		}
	}
	return ""
}

// modelSearches are small enough to look at all of it.
var modelSearches = []modelLimits{
	{events: 3, moves: 1, crashes: 1, partitions: 1},
	{events: 2, moves: 2, crashes: 1, partitions: 1},
	{events: 2, moves: 1, crashes: 1, rounds: 1, partitions: 1},
	{events: 1, moves: 2, crashes: 2, partitions: 1},
	{events: 1, moves: 2, crashes: 1, rounds: 1, partitions: 1},
	{events: 1, moves: 1, crashes: 2, rounds: 1, partitions: 1},
	{events: 2, moves: 1, crashes: 1, partitions: 2},
	{events: 1, moves: 1, crashes: 1, rounds: 1, partitions: 2},
	{events: 1, moves: 2, crashes: 1, partitions: 2},
}

// Goal: a move has one owner at every moment and after every crash, who has every
// acknowledged event, in the order of admission; so has each of two that move
// together, also when a crash keeps one's commit and not the other's. Method: all
// interleavings of two producers, two shards, their rounds, syncs and crashes, and the mover.
func TestModelOfAMoveKeepsEveryAcknowledgedEvent(t *testing.T) {
	for _, left := range modelSearches {
		s := &search{how: asDesigned, left: left}
		if wrong := s.run(); wrong != "" {
			t.Fatalf("after\n%s", wrong)
		}
		t.Logf("%+v: %d states", left, len(s.states))
	}
}

// shows says that a search may find the hole: with so many partitions, and with a round if
// it takes one. It only spares the others.
func (how mutation) shows(left modelLimits) bool {
	round := how == publishEarly || how == roundWhileAdopting || how == roundWhileArriving
	return (left.partitions == 2) == (how >= oneCommit) && (left.rounds > 0 || !round)
}

// Goal: the model would show a hole. Method: protocols that have one.
func TestModelOfAMoveFindsEveryHole(t *testing.T) {
	for how := asDesigned + 1; how < mutations; how++ {
		wrong := ""
		for _, left := range modelSearches {
			if wrong == "" && how.shows(left) {
				s := &search{how: how, left: left}
				wrong = s.run()
			}
		}
		if wrong == "" {
			t.Errorf("mutation %d goes unnoticed", how)
		}
		t.Logf("mutation %d: %s", how, wrong)
	}
}
