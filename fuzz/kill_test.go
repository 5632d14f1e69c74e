package fuzz

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/keyfold/keyfold/engine"
)

// Orders are what a child is told: how far each partition is, and how to run.
type orders struct {
	Lengths []int
	Shards  int
	Device  engine.LogDevice
}

// planned is event i of a partition, the same in parent and child.
func (r *rig) planned(partition, i int) event {
	random := rand.New(rand.NewPCG(uint64(partition), uint64(i)))
	n := name{notes: i%4 == 0}
	for found := false; !found; found = r.partition(n.key) == partition {
		n.key = fmt.Sprintf("key-%d", random.IntN(64))
	}
	return event{name: n, step: step{Number: uint64(i), Filler: filler(random.IntN(150), random.Uint64())}}
}

// beChild opens the store in dir and sends events to all partitions at once, until it
// is killed. It prints each event before it sends it and when it is acknowledged.
func beChild(dir string) error {
	var o orders
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return err
	}
	r := newRig(small(), hashes["full"])
	r.dir, r.options.Shards, r.options.Device = dir, o.Shards, o.Device
	if err := r.open(); err != nil {
		return err
	}
	var group sync.WaitGroup
	errs := make([]error, len(o.Lengths))
	for p, first := range o.Lengths {
		group.Go(func() { errs[p] = r.sendPlanned(p, first) })
	}
	group.Wait()
	return errors.Join(errs...)
}

func (r *rig) sendPlanned(partition, first int) error {
	for i := first; ; i++ {
		e := r.planned(partition, i)
		fmt.Printf("s %d %d\n", partition, i)
		ctx, cancel := patiently()
		_, err := r.send(ctx, e.name, e.step, engine.Durable)
		cancel()
		if err != nil {
			return err
		}
		fmt.Printf("a %d %d\n", partition, i)
	}
}

// Goal: a killed process takes nothing with it that was acknowledged.
// Method: a child under load is killed after a random number of acks, again and again;
// each time a copy of its store is opened and judged, and the next child opens the
// store itself.
func TestAKilledProcessLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	random := random(t)
	for device, kind := range map[string]engine.LogDevice{"library": engine.DeviceLibrary, "direct": engine.DeviceDirect} {
		dir := t.TempDir()
		r := newRig(small(), hashes["full"])
		for cycle := range 5 * *rounds {
			o := orders{Lengths: r.lengths(), Shards: 1 + random.IntN(3), Device: kind}
			if err := r.runChild(dir, o, 1+random.IntN(400)); err != nil {
				t.Fatalf("%s, cycle %d: %v", device, cycle, err)
			}
			if err := r.judgeCopy(t, dir); err != nil {
				t.Fatalf("%s, cycle %d: %v", device, cycle, err)
			}
		}
		t.Logf("%s: events %v", device, r.lengths())
	}
}

// runChild lets a child live for so many acks, kills it, and tells the oracle of all
// that it has printed.
func (r *rig) runChild(dir string, o orders, acks int) error {
	told, err := json.Marshal(o)
	if err != nil {
		return err
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"="+dir)
	child.Stdin = bytes.NewReader(told)
	var complaint strings.Builder
	child.Stderr = &complaint
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	err = r.follow(out, acks, child.Process.Kill)
	_ = child.Wait() // it was killed
	if complaint.Len() > 0 {
		err = errors.Join(err, errors.New(complaint.String()))
	}
	return err
}

// follow reads what a child prints to its end, and kills it after so many acks.
func (r *rig) follow(out io.Reader, acks int, kill func() error) error {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var what string
		var partition, i int
		if _, err := fmt.Sscan(lines.Text(), &what, &partition, &i); err != nil {
			return err
		}
		l := &r.oracle.lines[partition]
		if what == "s" {
			r.oracle.submit(partition, r.planned(partition, i))
			continue
		}
		l.durable()
		if acks--; acks == 0 {
			if err := kill(); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}

// judgeCopy opens a copy of the store.
func (r *rig) judgeCopy(t *testing.T, dir string) error {
	r.dir = t.TempDir()
	if err := os.CopyFS(r.dir, os.DirFS(dir)); err != nil {
		return err
	}
	if err := r.reopen(safe); err != nil {
		return err
	}
	return r.close()
}
