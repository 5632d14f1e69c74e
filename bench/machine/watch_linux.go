package machine

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A usage is how much CPU time was used up to a moment, in ticks.
type usage struct {
	busy, steal uint64 // of the machine
	total       uint64 // busy, stolen and idle
	process     map[int]ticks
}

// ticks are those of one process.
type ticks struct {
	name  string
	count uint64
}

// watch looks at the CPUs twice, and says what others than this process took.
func (p procs) watch(d time.Duration) []Sign {
	before, ok := p.usage()
	if !ok {
		return nil
	}
	time.Sleep(d)
	after, _ := p.usage()
	return between(before, after, os.Getpid())
}

// usage reads the time of the machine and of each process.
func (p procs) usage() (u usage, ok bool) {
	first, _, _ := strings.Cut(p.text("proc/stat"), "\n")
	fields := strings.Fields(first)
	if len(fields) < 9 || fields[0] != "cpu" {
		return u, false
	}
	for i, field := range fields[1:9] {
		n, _ := strconv.ParseUint(field, 10, 64)
		u.total += n
		switch i {
		case 3, 4: // idle, waiting for a disk
		case 7:
			u.steal = n
		default:
			u.busy += n
		}
	}
	u.process = p.processes()
	return u, true
}

func (p procs) processes() map[int]ticks {
	all := make(map[int]ticks)
	names, _ := filepath.Glob(filepath.Join(p.root, "proc/[0-9]*"))
	for _, dir := range names {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if t, ok := processTicks(p.text(filepath.Join("proc", filepath.Base(dir), "stat"))); ok {
			all[pid] = t
		}
	}
	return all
}

// processTicks reads a line of the form pid (name) state and numbers, of which the
// 12th and 13th are the times. The name may hold anything.
func processTicks(line string) (t ticks, ok bool) {
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return t, false
	}
	fields := strings.Fields(line[end+1:])
	if len(fields) < 13 {
		return t, false
	}
	user, err := strconv.ParseUint(fields[11], 10, 64)
	system, err2 := strconv.ParseUint(fields[12], 10, 64)
	return ticks{line[open+1 : end], user + system}, err == nil && err2 == nil
}

// Parts of the CPUs that count as a disturbance when others take them.
const (
	othersPartMax = 0.05
	stolenPartMax = 0.01
	namedMax      = 3 // processes that are named
)

// between says what others took between two moments.
func between(before, after usage, self int) []Sign {
	total := float64(max(after.total-min(before.total, after.total), 1))
	own := after.process[self].count - before.process[self].count
	busy := after.busy - before.busy
	others := float64(busy-min(own, busy)) / total
	stolen := float64(after.steal-min(before.steal, after.steal)) / total
	signs := []Sign{
		{Name: "other programs", Text: fmt.Sprintf("%.0f %% of the CPUs%s", 100*others, busiest(before, after, self))},
		{Name: "the host", Text: fmt.Sprintf("took %.1f %% of the CPUs away (steal)", 100*stolen)},
	}
	if others > othersPartMax {
		signs[0].Advice = "stop what else runs, or compare only figures that were taken in turn (loadgen limit, loadgen sweep)"
	}
	if stolen > stolenPartMax {
		signs[1].Advice = "this virtual machine shares its CPUs: repeat, and trust ratios of figures taken in turn only"
	}
	return signs
}

// busiest names the processes that took most.
func busiest(before, after usage, self int) string {
	type taker struct {
		pid   int
		name  string
		ticks uint64
	}
	var list []taker
	for pid, t := range after.process {
		took := t.count - min(before.process[pid].count, t.count)
		if _, known := before.process[pid]; known && pid != self && took > 0 {
			list = append(list, taker{pid, t.name, took})
		}
	}
	slices.SortFunc(list, func(a, b taker) int { return cmp.Or(cmp.Compare(b.ticks, a.ticks), cmp.Compare(a.pid, b.pid)) })
	var words []string
	for _, t := range list[:min(len(list), namedMax)] {
		words = append(words, fmt.Sprintf("%s (%d)", t.name, t.pid))
	}
	if len(words) == 0 {
		return ""
	}
	return ", most of it " + strings.Join(words, ", ")
}
