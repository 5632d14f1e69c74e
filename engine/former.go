package engine

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/shard"
	"github.com/keyfold/keyfold/wal"
)

// A former layout is one that was replaced by a layout with another number of shards. Its
// log is history, and lies in a directory that no manifest names.
const formerPrefix = "former-"

func formerName(number uint32) string { return fmt.Sprintf("%s%04d", formerPrefix, number) }

// keep is how much each shard keeps of its log. Of what Options.KeepLog says, half at most
// is left to former layouts.
func (e *Engine) keep() shard.Keep {
	k := e.options.KeepLog
	if !k.on() {
		return shard.Keep{}
	}
	count := len(e.shards())
	if count == 0 {
		count = e.manifest.Shards
	}
	share := int64(0)
	if k.Bytes > 0 {
		share = max(1, (k.Bytes-e.history.bytes.Load())/int64(count))
	}
	return shard.Keep{On: true, Bytes: share, Age: k.Age}
}

// dropFormer ends with the layout before a change of the number of shards, once every
// shard has two snapshots of its own: its log becomes history, or it is removed. What
// cannot be done now is done later.
func (e *Engine) dropFormer() {
	m := e.manifest
	defer e.trimFormer()
	if m.Former == 0 {
		return
	}
	for i := range m.Shards {
		if shard.SnapshotsOf(e.shardConfig(m, i, -1)) < 2 {
			return
		}
	}
	if e.options.KeepLog.on() && e.archive(m.Former) != nil {
		return
	}
	former := m.Former
	m.Former = 0
	if m.write(e.options.Environment.FS, e.dir) == nil {
		e.removeLayout(former)
	}
}

// archive makes a layout a former one: what is not log is removed.
func (e *Engine) archive(number uint32) error {
	fs := e.options.Environment.FS
	err := fs.Rename(e.path(layoutName(number)), e.path(formerName(number)))
	if errors.Is(err, errNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keyfold: %w", err)
	}
	if err := fs.SyncDir(e.dir); err != nil {
		return fmt.Errorf("keyfold: %w", err)
	}
	for _, c := range e.layoutShards(number) {
		_ = fsys.RemoveTree(fs, filepath.Join(c.Dir, "snapshot"))
	}
	return nil
}

// layoutDir is the directory of a layout, a former one or not.
func (e *Engine) layoutDir(number uint32) string {
	dir := e.path(formerName(number))
	if _, err := e.options.Environment.FS.Lstat(dir); err == nil {
		return dir
	}
	return e.path(layoutName(number))
}

// layoutShards are the configurations of the shards of a former layout, as far as reading
// its log needs them.
func (e *Engine) layoutShards(number uint32) []shard.Config {
	all, _ := e.listShards(number)
	return all
}

// listShards is layoutShards, with the error of a directory that cannot be read.
func (e *Engine) listShards(number uint32) (all []shard.Config, err error) {
	fs := e.options.Environment.FS
	dir := e.layoutDir(number)
	entries, err := fs.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("keyfold: %w", err)
	}
	for _, entry := range entries {
		var index uint32
		if _, err := fmt.Sscanf(entry.Name(), "shard-%d", &index); err != nil {
			continue
		}
		all = append(all, shard.Config{
			Index: int(index), Dir: filepath.Join(dir, entry.Name()), Log: shard.LogConfig{FS: fs},
			ID: wal.ID{Store: e.manifest.Store, Layout: number, Shard: index},
		})
	}
	return all, nil
}

// formerLayouts are the numbers of the layouts whose log is history, oldest first.
func (e *Engine) formerLayouts() (numbers []uint32) {
	entries, err := e.options.Environment.FS.ReadDir(e.dir)
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		var number uint32
		if _, err := fmt.Sscanf(entry.Name(), formerPrefix+"%d", &number); err == nil && strings.HasPrefix(entry.Name(), formerPrefix) {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

// trimFormer removes the logs of former layouts that are not to be kept any more, and what a
// crash has left of one that was being removed. One that cannot be read now stays.
func (e *Engine) trimFormer() {
	k := e.options.KeepLog
	total := int64(0)
	numbers := e.formerLayouts()
	for i := len(numbers) - 1; i >= 0; i-- {
		bytes, ended, gone, err := e.formerLog(numbers[i])
		old := k.Age > 0 && e.options.Environment.Now()-ended > int64(k.Age)
		if !k.on() || err == nil && (gone || old || k.Bytes > 0 && total+bytes > k.Bytes/2) {
			_ = fsys.RemoveTree(e.options.Environment.FS, e.path(formerName(numbers[i])))
			continue
		}
		total += bytes
	}
	e.history.bytes.Store(total)
}

// formerLog is how much log a former layout has, and when that ended. It is gone if no shard
// says what belongs to it: a removal begins with that.
func (e *Engine) formerLog(number uint32) (bytes, ended int64, gone bool, err error) {
	shards, err := e.listShards(number)
	if err != nil {
		return 0, 0, false, err
	}
	gone = true
	for _, c := range shards {
		n, at, err := shard.LogBytes(c)
		if errors.Is(err, errNotExist) {
			continue
		}
		if err != nil {
			return 0, 0, false, err
		}
		bytes, ended, gone = bytes+n, max(ended, at), false
	}
	return bytes, ended, gone, nil
}

// formerTrails are the logs of former layouts, oldest first.
func (e *Engine) formerTrails() (all []shard.TrailSource) {
	numbers := e.formerLayouts()
	if former := e.manifest.Former; former != 0 && (len(numbers) == 0 || numbers[len(numbers)-1] != former) {
		numbers = append(numbers, former)
	}
	for _, number := range numbers {
		for _, c := range e.layoutShards(number) {
			name := filepath.Base(c.Dir)
			all = append(all, shard.TrailSource{
				FS: c.Log.FS, ID: c.ID, Routing: e.routing,
				Dir: func() string { return filepath.Join(e.layoutDir(number), name) },
			})
		}
	}
	return all
}

// trails are the logs of the running shards from the one with index have on.
func (e *Engine) trails(have int) (all []shard.TrailSource) {
	shards := e.shards()
	for i := have; i < len(shards); i++ {
		c := shards[i].Config()
		all = append(all, shard.TrailSource{
			FS: c.Log.FS, ID: c.ID, Routing: e.routing, Live: shards[i], Dir: func() string { return c.Dir },
		})
	}
	return all
}
