package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/peers/drive"
	"github.com/keyfold/keyfold/bench/peers/job"
	"github.com/keyfold/keyfold/bench/peers/rival"
)

// A turn is what one peer does in one round, in a process of its own: so that CPU,
// memory and bytes are its own, and that nothing of it is left for the next one.
type turn struct {
	Rival string   `json:"rival"`
	Job   job.Spec `json:"job"`
	// Cells are those of one Sync side by side.
	Cells []drive.Cell `json:"cells"`
	// Dir is for its files, and does not exist.
	Dir string `json:"dir"`
	// Marks, if not empty, is the file for how far the lanes are: the store is filled and
	// loaded until the process is killed. Killed is what it said of a store that lies in
	// Dir: it is opened and surveyed.
	Marks  string     `json:"marks,omitempty"`
	Killed []job.Sent `json:"killed,omitempty"`
}

// outcome is what came of a turn.
type outcome struct {
	Measured []drive.Measured `json:"measured"`
	// Checks are one for each opening of a store that holds nothing after it, else one
	// at the end.
	Checks []job.Check `json:"checks"`
	// Opened is what came of a store that was killed.
	Opened *opening `json:"opened,omitempty"`
	Failed string   `json:"failed,omitempty"`
	slow   bool     // it took longer than it may, and failed for that
}

// failed takes over an error, if it is one.
func (o *outcome) failed(err error) {
	if err != nil {
		_, o.slow = errors.AsType[*slowError](err)
		o.Failed = strings.TrimSpace(o.Failed + " " + err.Error())
	}
}

// err says what is wrong with the outcome, or is nil.
func (o *outcome) err() error {
	if o.Failed != "" {
		return errors.New(o.Failed)
	}
	var errs []error
	for i := range o.Checks {
		errs = append(errs, o.Checks[i].Err())
	}
	return errors.Join(errs...)
}

// child takes the turn of its orders and writes the outcome. It ends at once when alive
// does: then nobody waits for it.
func child(orders string, alive io.Reader, out io.Writer) error {
	var t turn
	if err := json.Unmarshal([]byte(orders), &t); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, alive) // ends when the parent does
		os.Exit(exitFailed)
	}()
	encoder := json.NewEncoder(out)
	o := t.take(encoder)
	return encoder.Encode(o)
}

// take takes the turn. out is told when a load begins.
func (t *turn) take(out *json.Encoder) (o outcome) {
	found, _ := rival.Find([]string{t.Rival})
	if len(found) != 1 {
		o.Failed = fmt.Sprintf("there is no peer %q", t.Rival)
		return o
	}
	if found[0].Procs > 0 {
		runtime.GOMAXPROCS(found[0].Procs)
	}
	switch taken := (&taker{turn: t, rival: found[0], out: &o}); {
	case len(t.Killed) > 0:
		o.failed(taken.survey())
	case t.Marks != "":
		o.failed(taken.load(out))
	default:
		return t.takeWith(found[0])
	}
	return o
}

// takeWith takes the turn of a rival.
func (t *turn) takeWith(r *rival.Rival) (o outcome) {
	taken := taker{turn: t, rival: r, out: &o}
	o.failed(taken.all())
	return o
}

// taker is a turn under way.
type taker struct {
	turn   *turn
	rival  *rival.Rival
	out    *outcome
	expect *job.Expect
	parts  []limit.Stream
}

// all measures the cells of one Sync after the other on the same store.
func (t *taker) all() error {
	cells := t.turn.Cells
	for len(cells) > 0 {
		n := 1
		for n < len(cells) && cells[n].Sync == cells[0].Sync {
			n++
		}
		if err := t.some(cells[:n], n == len(cells)); err != nil {
			return err
		}
		cells = cells[n:]
	}
	return nil
}

// some opens the store for the Sync of cells and measures them.
func (t *taker) some(cells []drive.Cell, last bool) (err error) {
	lanes := t.rival.Lanes(cells[0].Sync)
	if lanes != len(t.parts) {
		if t.parts, err = job.Draw(t.turn.Job, lanes); err != nil {
			return err
		}
	}
	store, err := t.rival.Open(rival.Config{Dir: t.turn.Dir, Keys: t.turn.Job.Keys, Sync: cells[0].Sync})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if t.expect == nil || t.rival.Volatile {
		if err := t.fill(store, lanes); err != nil {
			return err
		}
	}
	for _, c := range cells {
		debug.FreeOSMemory() // what filling has left is not the store's
		if err := drive.Calm(t.turn.Dir); err != nil {
			return err
		}
		m, err := drive.Run(t.rival, store, t.parts, c, t.expect)
		if err != nil {
			return err
		}
		t.out.Measured = append(t.out.Measured, m)
	}
	if t.rival.Forgets || !last && !t.rival.Volatile {
		return nil
	}
	check, err := t.expect.Compare(t.rival.Keeps, store.Each)
	t.out.Checks = append(t.out.Checks, check)
	return err
}

// fill puts all keys into the store.
func (t *taker) fill(store rival.Store, lanes int) error {
	t.expect = job.NewExpect(t.turn.Job.Keys)
	if err := os.MkdirAll(t.turn.Dir, 0o755); err != nil {
		return err
	}
	if t.rival.Forgets {
		return nil
	}
	doors := make([]rival.Lane, lanes)
	for i := range doors {
		var err error
		if doors[i], err = store.Lane(i); err != nil {
			return err
		}
	}
	err := job.Fill(t.turn.Job.Keys, lanes, func(lane int, batch limit.Stream) error { return doors[lane].Apply(batch) })
	for _, d := range doors {
		err = errors.Join(err, d.Flush())
	}
	t.expect.Filled()
	return err
}
