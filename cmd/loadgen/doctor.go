package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/report"
)

// doctorCommand looks at the machine before something is measured on it.
type doctorCommand struct {
	Dir   string        `arg:"" optional:"" type:"existingdir" help:"A directory on the disk that is to be measured; files that are made there are removed. By default that of temporary files."`
	Watch time.Duration `default:"1s" help:"How long to watch the CPUs (${default})."`
	Probe time.Duration `default:"300ms" help:"How long to try each way of syncing (${default})."`
}

// Run looks.
func (c *doctorCommand) Run(p *process) error {
	if c.Watch <= 0 || c.Probe <= 0 {
		return usage("--watch and --probe: looking takes time, not %v and %v", c.Watch, c.Probe)
	}
	if c.Dir == "" {
		c.Dir = os.TempDir()
	}
	m, err := machine.Look(c.Dir)
	if err != nil {
		return err
	}
	for i, line := range m.Lines() {
		fmt.Fprintf(p.stdout, "%-10s%s\n", []string{"machine", "disk", "program"}[i], line)
	}
	signs := machine.Signs(&m, c.Dir, c.Watch)
	fmt.Fprintf(p.stdout, "\nwriting 4 KiB and syncing it, in %s:\n", c.Dir)
	waysTable(p.stdout, machine.ProbeWays(c.Dir, c.Probe))
	fmt.Fprintf(p.stdout, "\nwhat bears on a measurement:\n")
	advised := 0
	for _, s := range signs {
		mark := "ok"
		if s.Advice != "" {
			mark = "LOOK"
			advised++
		}
		fmt.Fprintf(p.stdout, "  %-5s %-15s %s\n", mark, s.Name, s.Text)
		if s.Advice != "" {
			fmt.Fprintf(p.stdout, "  %-5s %-15s %s\n", "", "", s.Advice)
		}
	}
	if advised == 0 {
		fmt.Fprintf(p.stdout, "\nnothing that is known to disturb a measurement was found\n")
		return nil
	}
	fmt.Fprintf(p.stdout, "\n%d of these will disturb a measurement\n", advised)
	return nil
}

// waysTable prints which ways of syncing work, and how long they take.
func waysTable(w io.Writer, ways []machine.Way) {
	for _, way := range ways {
		if way.Err != nil {
			fmt.Fprintf(w, "  %-28s does not work here: %s\n", way.Name, sentence(way.Err))
			continue
		}
		fmt.Fprintf(w, "  %-28s p50 %8s   p99 %8s\n", way.Name, report.Nanos(way.Took.P50), report.Nanos(way.Took.P99))
	}
}
