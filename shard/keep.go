package shard

import "time"

// A Keep says how much of the log is kept that no recovery needs. The zero Keep keeps
// nothing.
type Keep struct {
	On    bool
	Bytes int64         // of files, of this shard; 0: no bound
	Age   time.Duration // since a generation was sealed; 0: no bound
}

// keptMax is how many generations are kept at most, so that the CURRENT file, which names
// them, stays small.
const keptMax = 4096

// trim takes the oldest generations off the list that are too many, too large together or
// too old. It looks whenever a snapshot is published, and at every open.
func (k Keep) trim(kept []Generation, now int64) []Generation {
	if !k.On {
		return nil
	}
	total := int64(0)
	first := len(kept)
	for ; first > 0 && len(kept)-first < keptMax; first-- {
		g := &kept[first-1]
		total += g.Bytes
		if k.Bytes > 0 && total > k.Bytes || k.Age > 0 && now-g.Ended > int64(k.Age) {
			break
		}
	}
	return kept[first:]
}

// keep is what the configuration says now.
func (c *Config) keep() Keep {
	if c.Log.Keep == nil {
		return Keep{}
	}
	return c.Log.Keep()
}

// LogBytes is the size of the sealed generations that the CURRENT file of a shard names,
// and when the newest of them ended.
func LogBytes(cfg Config) (bytes, ended int64, err error) {
	current, err := readCurrent(cfg.Log.FS, cfg.Dir, cfg.ID)
	if err != nil {
		return 0, 0, err
	}
	for _, g := range append(current.Kept, current.Generations...) {
		bytes += g.Bytes
		ended = max(ended, g.Ended)
	}
	return bytes, ended, nil
}
