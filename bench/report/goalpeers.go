package report

import (
	"fmt"
	"slices"
	"strings"
)

// Doors of peers, as their module names them.
const (
	streamDoor  = "stream"
	windowDoor  = "window"
	callersDoor = "callers"
)

// cellsOf are the results of peers that were measured in the same rounds, through a door.
func cellsOf(entries []entry, door string) (cells [][]entry) {
	for _, e := range entries {
		if e.kind() != ofPeers || e.Door != door {
			continue
		}
		i := slices.IndexFunc(cells, func(c []entry) bool { return c[0].number == e.number && c[0].job() == e.job() })
		if i < 0 {
			cells = append(cells, nil)
			i = len(cells) - 1
		}
		cells[i] = append(cells[i], e)
	}
	return cells
}

// best is the fastest of those that fn chooses, or nil.
func best(cell []entry, fn func(*entry) bool) (found *entry) {
	for i := range cell {
		if e := &cell[i]; fn(e) && (found == nil || e.EventsPerSecond > found.EventsPerSecond) {
			found = e
		}
	}
	return found
}

func byName(prefix string) func(*entry) bool {
	return func(e *entry) bool { return strings.HasPrefix(e.Peer.Name, prefix) }
}

var byHand = byName("hand")

// isRival says that a peer is something that a user could pick.
func isRival(e *entry) bool { return !e.ours() && e.Peer.Name != "limit" && e.Peer.Name != "null" }

// perCell has fn say something about each cell of a door.
func perCell(door string, fn func(cell []entry) (figure, bool)) func([]entry) []figure {
	return func(entries []entry) (list []figure) {
		for _, cell := range cellsOf(entries, door) {
			if f, ok := fn(cell); ok {
				f.number = cell[0].number
				list = append(list, f)
			}
		}
		return list
	}
}

// over is how many times as fast a peer is as another one in the streams without a sync.
func over(name, other string) func([]entry) []figure {
	return perCell(streamDoor, func(cell []entry) (f figure, ok bool) {
		a, b := best(cell, byName(name)), best(cell, byName(other))
		if a == nil || b == nil {
			return f, false
		}
		return figure{of: cell[0].short(), value: times(a, b)}, true
	})
}

func overHand(name string) func([]entry) []figure { return over(name, "hand") }

// producerOverHand has a goal that grows with the keys.
var producerOverHand = perCell(streamDoor, func(cell []entry) (f figure, ok bool) {
	ours := best(cell, func(e *entry) bool { return e.Peer.Name == "keyfold" || e.Peer.Name == "keyfold-wide" })
	hand := best(cell, byHand)
	if ours == nil || hand == nil {
		return f, false
	}
	f = figure{of: cell[0].short() + ", " + ours.Peer.Name, value: times(ours, hand), bound: 2}
	if cell[0].keys() >= 10*million {
		f.bound = 3
	}
	return f, true
})

// keyfold is the engine with its zero Options.
func keyfold(e *entry) bool { return e.Peer.Name == "keyfold" }

// callersOverRivals has a goal that grows with the callers.
var callersOverRivals = perCell(callersDoor, func(cell []entry) (f figure, ok bool) {
	ours, rival := best(cell, keyfold), best(cell, isRival)
	if ours == nil || rival == nil || ours.Window < 64 {
		return f, false
	}
	f = figure{of: fmt.Sprintf("%s callers, %s", Count(ours.Window), rival.Peer.Name), value: times(ours, rival), bound: 1.2}
	if ours.Window >= 1024 {
		f.bound = 1.8
	}
	return f, true
})

var callersOverNull = perCell(callersDoor, func(cell []entry) (f figure, ok bool) {
	ours, null := best(cell, keyfold), best(cell, byName("null"))
	if ours == nil || null == nil || ours.Window < 64 {
		return f, false
	}
	return figure{of: Count(ours.Window) + " callers", value: times(ours, null)}, true
})

var callersLate = perCell(callersDoor, func(cell []entry) (f figure, ok bool) {
	ours, null := best(cell, keyfold), best(cell, byName("null"))
	if ours == nil || null == nil || ours.Window < 64 {
		return f, false
	}
	most := 1.5*float64(null.Latency.P99) + 2*float64(ours.Machine.Sync.P50)
	return figure{of: Count(ours.Window) + " callers", value: quotient(float64(ours.Latency.P99), most)}, true
})

var acksRate = perCell(windowDoor, func(cell []entry) (f figure, ok bool) {
	ours := best(cell, func(e *entry) bool { return e.ours() })
	if ours == nil || ours.Window != 1024 {
		return f, false
	}
	return figure{of: ours.Peer.Name, value: ours.EventsPerSecond / million}, true
})
