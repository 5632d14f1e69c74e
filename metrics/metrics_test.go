package metrics_test

import (
	"os"
	"reflect"
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

// elsewhere are the figures of a shard that no metric takes, with where they are to be seen.
var elsewhere = map[string]string{
	"Keys": "keyfold_table_keys", "StateBytes": "keyfold_table_state_bytes",
	"Log.Syncs":     "keyfold_sync_duration_seconds_count",
	"Snapshots.Err": "the log of the program; keyfold_snapshot_failures_total counts them", "Snapshots.UnderWay": "a moment",
	"Pinned": "an option of the program",
}

// Goal: what a shard counts can be monitored. Method: each figure in turn is set, and must
// change the text.
func TestEachFigureOfAShardIsInAMetric(t *testing.T) {
	none := written(t, engine.ShardStats{})
	var s engine.ShardStats
	seen := 0
	eachFigure(reflect.ValueOf(&s).Elem(), "", func(name string, set func()) {
		s = engine.ShardStats{}
		set()
		shown := written(t, s) != none
		if where, ok := elsewhere[name]; shown == ok {
			t.Errorf("%s is in a metric: %v; said of it: %q", name, shown, where)
		}
		seen++
	})
	if seen < 30 {
		t.Errorf("%d figures were looked at", seen)
	}
}

// eachFigure calls do for each figure in a struct, with what sets it.
func eachFigure(v reflect.Value, path string, do func(name string, set func())) {
	for i := range v.NumField() {
		f, name := v.Field(i), path+v.Type().Field(i).Name
		switch value := f.Addr().Interface().(type) {
		case *time.Time:
			do(name, func() { *value = time.Unix(5, 0) })
		case *error:
			do(name, func() { *value = os.ErrClosed })
		case interface{ Add(time.Duration) }: // a histogram
			do(name, func() { value.Add(time.Second) })
		default:
			switch {
			case f.Kind() == reflect.Struct:
				eachFigure(f, name+".", do)
			case f.Kind() == reflect.Bool:
				do(name, func() { f.SetBool(true) })
			case f.CanUint():
				do(name, func() { f.SetUint(5e9) })
			default:
				do(name, func() { f.SetInt(5e9) })
			}
		}
	}
}

// written is the text of the metrics of one shard.
func written(t *testing.T, s engine.ShardStats) string {
	t.Helper()
	var text strings.Builder
	if err := metrics.Write(&text, metrics.Of(engine.Stats{Shards: []engine.ShardStats{s}})); err != nil {
		t.Fatal(err)
	}
	return text.String()
}
