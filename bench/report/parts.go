package report

import (
	"fmt"
	"io"

	"github.com/keyfold/keyfold/bench"
)

// recoveryParts writes what the time of a recovery went into. Rates are per core: of a
// second that one worker has spent.
func recoveryParts(w io.Writer, r *bench.Recovery) {
	p := r.Parts
	if p == nil || p.Workers == 0 {
		return
	}
	row(w, "", "by %s:", plural(p.Workers, "worker"))
	if r.SnapshotKeys > 0 {
		row(w, "", "snapshot %.3f s: read and verified %s, tables built %s, together %s", p.Load,
			perCore(r.SnapshotKeys, "keys", p.Read), perCore(r.SnapshotKeys, "keys", p.Build), perCore(r.SnapshotKeys, "keys", p.Read+p.Build))
	}
	if r.Events > 0 {
		row(w, "", "log %.3f s: read and verified %s, applied %s, together %s", p.Replay,
			perCore(r.Events, "events", p.Scan), perCore(r.Events, "events", p.Apply), perCore(r.Events, "events", p.Scan+p.Apply))
	}
	row(w, "", "new generations %.3f s: in them %s that may not have been durable written again and synced in %.3f s",
		p.Resume, plural(p.Copied, "frame"), p.Copy)
}

// perCore is a rate in millions.
func perCore(count uint64, what string, seconds float64) string {
	return fmt.Sprintf("%.1f M %s/s a core", float64(count)/1e6/max(seconds, 1e-9), what)
}
