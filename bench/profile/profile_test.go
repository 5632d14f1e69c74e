package profile

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"runtime/pprof"
	"testing"
	"time"

	"github.com/google/pprof/profile"
)

// sample takes nanos in a function, under labels.
func sample(nanos int64, function string, labels map[string][]string) *profile.Sample {
	return &profile.Sample{
		Value:    []int64{1, nanos},
		Label:    labels,
		Location: []*profile.Location{{Line: []profile.Line{{Function: &profile.Function{Name: function}}}}},
	}
}

func TestSumTellsShardsStagesAndFunctionsApart(t *testing.T) {
	shard := func(s string) map[string][]string { return map[string][]string{"shard": {s}, "stage": {"apply"}} }
	p := &profile.Profile{
		SampleType: []*profile.ValueType{{Type: "samples"}, {Type: "cpu"}},
		Sample: []*profile.Sample{
			sample(3e9, "github.com/x/slab.(*Table[go.shape.struct { a.b/c }]).Find", shard("shard-00")),
			sample(1e9, "github.com/x/slab.hash", shard("shard-01")),
			sample(2e9, "runtime.mallocgc", nil),
			sample(1e9, "memeqbody", nil),
			{Value: []int64{1, 1e9}},
		},
	}
	s, err := Sum(p)
	if err != nil || s.Seconds != 8 {
		t.Fatalf("%+v, %v", s, err)
	}
	want := map[string]float64{"shard-00": 3, "shard-01": 1, "(other)": 4}
	for _, sh := range s.Shards {
		if want[sh.Name] != sh.Seconds || math.Abs(sh.Part-sh.Seconds/8) > 1e-9 {
			t.Errorf("%+v", sh)
		}
	}
	if len(s.Shards) != 3 || s.Stages[0].Name != "(other)" || s.Stages[1].Seconds != 4 {
		t.Errorf("%+v", s)
	}
	if both := s.ShardStages; len(both) != 3 || both[0] != (Share{"(other)", 4, 0.5}) || both[1] != (Share{"shard-00 apply", 3, 0.375}) {
		t.Errorf("%+v", both)
	}
	if f := s.Functions[0].Name; f != "github.com/x/slab.(*Table).Find" {
		t.Error(f)
	}
	if s.Packages[0] != (Share{"github.com/x/slab", 4, 0.5}) || s.Packages[1] != (Share{"runtime", 3, 0.375}) {
		t.Errorf("%+v", s.Packages)
	}
}

func TestListsWithoutLabelsAreEmpty(t *testing.T) {
	p := &profile.Profile{
		SampleType: []*profile.ValueType{{Type: "cpu"}},
		Sample:     []*profile.Sample{{Value: []int64{5}}},
	}
	if s, err := Sum(p); err != nil || s.Shards != nil || s.Stages != nil || len(s.Functions) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestRecordingIsStoredWithItsComments(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	r, err := Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	pprof.Do(t.Context(), pprof.Labels("shard", "shard-07"), func(context.Context) {
		for start := time.Now(); time.Since(start) < 100*time.Millisecond; {
		}
	})
	s, err := r.Stop("seed 42")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(s.File)
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.ParseData(data)
	if err != nil || len(p.Comments) != 1 || p.Comments[0] != "seed 42" {
		t.Errorf("%v, %v", p.Comments, err)
	}
}
