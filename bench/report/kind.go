package report

import (
	"slices"
	"strings"

	"github.com/keyfold/keyfold/bench"
)

// kind is what a result is about.
type kind int

const (
	ofStream kind = iota // producers, as fast as it goes
	ofRate               // producers, at a rate
	ofCalls              // a call for each event
	ofRecovery
	ofLimit
	ofSweep
	ofFindMax
	ofPeers
	ofGuest
	ofSkew
	ofImaging
	ofPrices
	ofKilled // other stores, opened after a kill
	ofNothing
)

func (r *Result) kind() kind {
	switch {
	case r.Peer != nil && r.Recovery != nil:
		return ofKilled
	case r.Peer != nil:
		return ofPeers
	case r.Guest != nil:
		return ofGuest
	case r.Skew != nil:
		return ofSkew
	case r.Imaging != nil:
		return ofImaging
	case len(r.Prices) > 0:
		return ofPrices
	case len(r.LimitRows) > 0:
		return ofLimit
	case len(r.Curve) > 0:
		return ofSweep
	case len(r.Steps) > 0:
		return ofFindMax
	case r.Recovery != nil && r.Events == 0:
		return ofRecovery
	case r.Events == 0:
		return ofNothing
	case r.Door == string(bench.Single):
		return ofCalls
	case r.Rate > 0:
		return ofRate
	}
	return ofStream
}

// entry is a result in the tables.
type entry struct {
	number int // of its command
	*Result
	machine string
}

// knob is what a sweep has varied.
func (r *Result) knob() string {
	if len(r.Samples) == 0 {
		return "value"
	}
	name, _, _ := strings.Cut(r.Samples[0].Name, "=")
	return name
}

// commands are the different command lines of the results.
func commands(results []*Result) (list []string) {
	for _, r := range results {
		if !slices.Contains(list, r.Command) {
			list = append(list, r.Command)
		}
	}
	return list
}
