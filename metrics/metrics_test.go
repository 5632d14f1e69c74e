package metrics_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/metrics"
)

// figures are those of one shard with one table.
func figures() engine.Stats {
	var s engine.Stats
	s.Shards = make([]engine.ShardStats, 1)
	sh := &s.Shards[0]
	sh.Events, sh.Busy.Apply = 12, 1500*time.Millisecond
	sh.Log.SyncTime.Add(200 * time.Microsecond)
	sh.Log.SyncTime.Add(3 * time.Millisecond)
	s.Failed = make([]error, 1)
	s.Tables = []engine.TableStats{{Name: `a "b" \`, Keys: 3}}
	s.Hot = []engine.HotKey{{Table: "t", Key: "secret", Share: 0.25}}
	return s
}

func Example() {
	all := metrics.Of(figures())
	_ = metrics.Write(os.Stdout, all[:1])
	// Output:
	// # HELP keyfold_events_total Events that the shard has accepted.
	// # TYPE keyfold_events_total counter
	// keyfold_events_total{shard="0"} 12
}

func TestTextHasLabelsBucketsAndUnits(t *testing.T) {
	var text strings.Builder
	if err := metrics.Write(&text, metrics.Of(figures())); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`keyfold_busy_seconds_total{shard="0",activity="apply"} 1.5`,
		`keyfold_table_keys{table="a \"b\" \\"} 3`,
		`keyfold_sync_duration_seconds_bucket{shard="0",le="0.000131072"} 0`,
		`keyfold_sync_duration_seconds_bucket{shard="0",le="0.000262144"} 1`,
		`keyfold_sync_duration_seconds_bucket{shard="0",le="+Inf"} 2`,
		`keyfold_sync_duration_seconds_sum{shard="0"} 0.0032`,
		`keyfold_sync_duration_seconds_count{shard="0"} 2`,
		`keyfold_hottest_key_ratio{shard="0"} 0.25`,
		`keyfold_snapshot_timestamp_seconds{shard="0"} 0`,
	} {
		if !strings.Contains(text.String(), line+"\n") {
			t.Errorf("%s is not in\n%s", line, text.String())
		}
	}
	if strings.Contains(text.String(), "secret") {
		t.Error("a key is in the metrics")
	}
}
