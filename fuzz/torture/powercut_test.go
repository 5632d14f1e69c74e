package torture

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/keyfold/keyfold/fuzz/torture/disk"
	"github.com/keyfold/keyfold/fuzz/torture/drive"
	"github.com/keyfold/keyfold/fuzz/torture/load"
	"github.com/keyfold/keyfold/internal/matrix"
)

// A powerCutter ends children by taking the power from under their file system.
type powerCutter struct {
	kind  disk.Kind
	cut   disk.Cut
	image *disk.Image
}

func (p *powerCutter) store(r *row) *drive.Store {
	dir := r.directory(shared)
	image, err := disk.Make(p.kind, dir)
	r.check(err)
	r.Cleanup(func() {
		if !r.Failed() {
			r.check(errors.Join(image.Remove()))
		}
	})
	p.image = image
	return drive.New(filepath.Join(image.Dir(), "store"), r.directory(shared))
}

// orders: the disk fails when the power does.
func (p *powerCutter) orders(o load.Orders) load.Orders {
	o.Faults = true
	return o
}

func (p *powerCutter) end(r *row, c *drive.Child) error {
	if err := c.Healthy(); err != nil {
		return errors.Join(err, c.EndBy())
	}
	return errors.Join(c.EndWith(func() error {
		err := p.image.Shutdown(p.cut)
		_ = c.Kill() // it may have ended by itself, without a disk
		return err
	}), p.image.Unmount(), p.image.Mount())
}

// powerCuts is the row of a file system and a cut.
func powerCuts(t *testing.T, m matrix.Row, kind disk.Kind, cut disk.Cut, ci, longRun int) {
	m.Goal = "no durably acknowledged event lost, no refused open, a second recovery equal"
	m.System = string(kind)
	r := begin(t, m, ci, longRun)
	if reason := disk.Missing(kind); reason != "" {
		r.without(reason)
	}
	if os.Getenv(namespaceVariable) == "" {
		r.without("there is no mount namespace of our own")
	}
	r.lanes(3, func(r *row) { r.torture(&powerCutter{kind: kind, cut: cut}) })
}

// Goal: what was acknowledged as durable survives a power cut, and the rest is a prefix.
// Method: the file system is shut down under a child with a random load; what it had
// acknowledged before is looked for after a mount.
func TestPowerCutOfExt4LosesNothingDurable(t *testing.T) {
	powerCuts(t, matrix.Row{Row: "R2", Name: "power cut of ext4 under load"}, disk.Ext4, disk.Plain, 100, 3300)
}

// This cut writes metadata without the data that belongs to it: torn frames, and zeros.
func TestPowerCutOfExt4WithTheJournalFlushedLosesNothingDurable(t *testing.T) {
	powerCuts(t, matrix.Row{Row: "R2", Name: "power cut of ext4 that still writes the journal, without the data"}, disk.Ext4, disk.LogFlushed, 50, 1700)
}

func TestPowerCutOfXFSLosesNothingDurable(t *testing.T) {
	powerCuts(t, matrix.Row{Row: "R3", Name: "power cut of XFS under load"}, disk.XFS, disk.Plain, 15, 700)
}

func TestPowerCutOfXFSWithTheJournalFlushedLosesNothingDurable(t *testing.T) {
	powerCuts(t, matrix.Row{Row: "R3", Name: "power cut of XFS that still writes the journal, without the data"}, disk.XFS, disk.LogFlushed, 10, 300)
}
