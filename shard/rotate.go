package shard

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/keyfold/keyfold/wal"
)

// A rotation is a new generation on its way to being valid. The shard writes to it
// at once, but acknowledges nothing of it before finish: a crash until then voids it.
type rotation struct {
	retired *wal.Writer
	writer  *wal.Writer
	current Current // names the new generation and seals the old one
}

// rotate begins a new generation behind the open frame, which must be written. No
// sync may be under way, and the last rotation must be finished. Without room on the
// disk it changes nothing.
func (s *Shard) rotate() error {
	if s.failed() {
		return s.Err()
	}
	j := &s.log
	end := j.writer.End()
	s.moving.forget(func(id uint32) bool { return s.parts[id].ID == id })
	starts := startsOf(0, s.owned, s.moving.leaving, s.moving.gone, s.cfg.eras()).after(s.alarm.clock.Paused).encode()
	if err := s.cfg.roomToRotate(len(starts)); err != nil {
		return err
	}
	if err := j.current.reserve(s.cfg.Log.FS, s.cfg.Dir); err != nil {
		return err
	}
	number := s.cfg.freshNumber(&j.current)
	writer, err := s.cfg.createGeneration(number, end, s.clock.mark, starts)
	if err != nil {
		if !errors.Is(err, wal.ErrNoSpace) {
			s.fail(err)
		}
		return err
	}
	j.current = j.current.grown(ending{end, j.writer.Bytes(), s.clock.mark}, number, j.logged)
	j.logged = false
	s.alarm.logged, s.alarm.said = len(s.alarm.tables) == 0, s.alarm.clock.Paused
	j.rotation = &rotation{retired: j.writer, writer: writer, current: j.current}
	j.writer, j.segments = writer, writer.Segments()
	j.frame.Reset()
	return nil
}

// rotationBytes must be free before a rotation begins: for directories, names, and
// what other shards take in the meantime.
const rotationBytes = 256 << 10

// roomToRotate makes sure that a lack of room is found while it costs nothing: once a
// rotation has begun it would fail the shard.
func (c *Config) roomToRotate(bytes int) error {
	free, err := c.Log.FS.Free(c.Dir)
	if err != nil || free >= uint64(rotationBytes+bytes) {
		return nil // where nobody knows, the rotation will find out
	}
	return fmt.Errorf("shard: begin a generation: %d bytes free: %w", free, wal.ErrNoSpace)
}

// finish makes the new generation valid. A crash between the steps leaves the old
// generation whole and the new one unnamed, so that it does not exist.
func (r *rotation) finish(s *Shard) error {
	if _, err := r.retired.Sync(); err != nil {
		return err
	}
	if _, err := r.writer.Sync(); err != nil {
		return err
	}
	if err := r.current.write(s.cfg.Log.FS, s.cfg.Dir); err != nil {
		return err
	}
	return r.retired.Close()
}

// generationDir is the directory of a generation.
func (c *Config) generationDir(number uint64) string {
	return filepath.Join(c.Dir, "log", fmt.Sprintf("%08d", number))
}

// createGeneration makes a generation whose header holds starts.
func (c *Config) createGeneration(number uint64, previous wal.End, now int64, starts []byte) (*wal.Writer, error) {
	start := wal.Start{Generation: number, Previous: previous, Time: now, Payload: starts}
	w, err := wal.Create(c.generationDir(number), c.ID, start, c.walOptions())
	if err != nil {
		return nil, fmt.Errorf("shard: begin generation %d: %w", number, err)
	}
	return w, nil
}
