package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyfold/keyfold/bench/machine"
)

// machines are the different machines of the results, in words.
func machines(results []*Result) (list []string) {
	for _, r := range results {
		if m := machineWords(r); !slices.Contains(list, m) {
			list = append(list, m)
		}
	}
	return list
}

// machineWords leave out what is in the rows: the time of a sync, and the revision.
func machineWords(r *Result) string {
	m := r.Machine
	m.Sync = machine.Probe{}
	return strings.Join(append(m.Lines()[:2], m.Go), "; ")
}

// letter names a machine.
func letter(i int) string {
	if i < 26 {
		return string(rune('A' + i))
	}
	return fmt.Sprint(i)
}

// machine is the letter of a result's machine.
func (r *Result) machine(all []*Result) string {
	return letter(slices.Index(machines(all), machineWords(r)))
}

// event is the size of an event, and warmup how many came before.
func (r *Result) event() string  { return fmt.Sprintf("%d B", r.EventBytes) }
func (r *Result) warmup() string { return Count(r.Warmup) }

func (r *Result) senders() string {
	if r.Window == 0 {
		return fmt.Sprintf("%d calling", r.Producers)
	}
	return fmt.Sprintf("%d, %s unacknowledged", r.Producers, Count(r.Window))
}

func (r *Result) rate() string {
	if r.Rate == 0 {
		return "closed loop"
	}
	return Count(int64(r.Rate)) + "/s"
}

func (r *Result) verified() string {
	switch {
	case r.Failed != "":
		return "RUN FAILED"
	case r.Verify == nil:
		return "no"
	case r.Verify.OK && r.Peer != nil && !r.Peer.PerKey:
		return "sum of all keys"
	case r.Verify.OK:
		return "every key"
	}
	return "FAILED"
}
