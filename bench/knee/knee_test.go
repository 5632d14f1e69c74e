package knee_test

import (
	"errors"
	"testing"

	"github.com/keyfold/keyfold/bench/knee"
)

// below is a search whose rates hold up to a limit, and which counts its tries.
func below(limit float64, tries *int) knee.Search {
	return knee.Search{From: 1000, To: 1e6, Precision: 0.05, Try: func(rate float64) (bool, error) {
		*tries++
		return rate <= limit, nil
	}}
}

func TestHighestIsWithinThePrecision(t *testing.T) {
	for _, limit := range []float64{1.5, 37, 999, 1000, 1001, 123_456, 999_999} {
		tries := 0
		s := below(limit, &tries)
		rate, err := s.Highest()
		if err != nil || rate > limit || rate*1.05 < limit || tries > 60 {
			t.Errorf("limit %v: %v after %d tries, %v", limit, rate, tries, err)
		}
	}
}

func TestSearchEndsWhereEverythingOrNothingHolds(t *testing.T) {
	tries := 0
	s := below(1e9, &tries)
	if rate, err := s.Highest(); err != nil || rate != 1e6 || tries > 12 {
		t.Errorf("%v after %d tries, %v", rate, tries, err)
	}
	s = below(0, &tries)
	if _, err := s.Highest(); !errors.Is(err, knee.ErrNone) {
		t.Error(err)
	}
}

// Goal: one bad moment of the machine does not halve the result.
func TestOneBreakAloneDoesNotCount(t *testing.T) {
	seen := map[float64]bool{}
	tries := 0
	s := below(100_000, &tries)
	try := s.Try
	s.Try = func(rate float64) (bool, error) {
		ok, err := try(rate)
		first := !seen[rate]
		seen[rate] = true
		return ok && !first, err
	}
	if rate, err := s.Highest(); err != nil || rate < 95_000 || rate > 100_000 {
		t.Errorf("%v, %v", rate, err)
	}
}

func TestSearchEndsWithTheFirstError(t *testing.T) {
	gone, tries := errors.New("gone"), 0
	for _, at := range []int{1, 3, 9, 14} {
		tries = 0
		s := below(50_000, &tries)
		try := s.Try
		s.Try = func(rate float64) (bool, error) {
			ok, _ := try(rate)
			if tries == at {
				return false, gone
			}
			return ok, nil
		}
		if _, err := s.Highest(); !errors.Is(err, gone) || tries != at {
			t.Errorf("%v after %d tries", err, tries)
		}
	}
}

func TestSearchesAreRefusedInWords(t *testing.T) {
	for _, s := range []knee.Search{{}, {From: 10, To: 5, Precision: 0.1}, {From: 1, To: 10}, {From: 1, To: 10, Precision: 2}} {
		if _, err := s.Highest(); err == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
}
