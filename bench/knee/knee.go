// Package knee finds the highest rate at which a load still holds what is asked of it.
package knee

import (
	"errors"
	"fmt"
	"math"
)

// A Search says where to look.
type Search struct {
	// From is the first rate, in events per second; To ends the search if all rates up
	// to it hold.
	From, To float64
	// Precision is the relative distance between a rate that held and one that did
	// not, at which the search ends.
	Precision float64
	// Try tries a rate, and says whether it held.
	Try func(rate float64) (held bool, err error)
}

// rateMin is the lowest rate that is tried.
const rateMin = 1

// ErrNone is returned when no rate holds.
var ErrNone = errors.New("knee: not even one event per second holds")

// Check says what is wrong with the search.
func (s *Search) Check() error {
	switch {
	case !(s.From >= rateMin) || !(s.To >= s.From) || math.IsInf(s.To, 0):
		return fmt.Errorf("knee: a search goes from a rate of at least %d to one that is not lower, not from %v to %v", rateMin, s.From, s.To)
	case !(s.Precision > 0) || s.Precision > 1:
		return fmt.Errorf("knee: the precision must be more than 0 and at most 1, not %v", s.Precision)
	}
	return nil
}

// Highest doubles the rate until one does not hold, or halves it until one does, and
// then divides what is between in two again and again. It returns the highest rate
// that held. A rate that did not hold is tried once more before it counts: a machine
// with other things to do now and then breaks what it could keep.
func (s *Search) Highest() (float64, error) {
	if err := s.Check(); err != nil {
		return 0, err
	}
	held, broken, err := s.bracket()
	for err == nil && broken/held > 1+s.Precision {
		var ok bool
		middle := math.Sqrt(held * broken)
		if ok, err = s.twice(middle); ok {
			held = middle
		} else {
			broken = middle
		}
	}
	return held, err
}

// bracket finds a rate that holds and a higher one that does not; the same one twice if
// s.To holds.
func (s *Search) bracket() (held, broken float64, err error) {
	rate := s.From
	ok, err := s.twice(rate)
	for ; ok && err == nil; ok, err = s.twice(rate) {
		held = rate
		if rate == s.To {
			return held, held, nil
		}
		rate = min(2*rate, s.To)
	}
	for broken = rate; held == 0 && err == nil; {
		if rate == rateMin {
			return 0, 0, ErrNone
		}
		rate = max(rate/2, rateMin)
		if ok, err = s.twice(rate); ok {
			held = rate
		} else {
			broken = rate
		}
	}
	return held, broken, err
}

func (s *Search) twice(rate float64) (bool, error) {
	if ok, err := s.Try(rate); ok || err != nil {
		return ok, err
	}
	return s.Try(rate)
}
