package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/bench/pair"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/stats"
)

// tiny makes a contest short.
var tiny = []string{"--keys=300", "--events=2k", "--rounds=2"}

// Goal: for each door the result names the row of the door first, has every round, and
// a ratio that is the median of what the rounds say.
func TestLimitStoresPairedRounds(t *testing.T) {
	for _, door := range pair.Doors() {
		name := filepath.Join(t.TempDir(), "l.json")
		args := append([]string{"limit", "--door", string(door), "--shards=2", "--json", name}, tiny...)
		out := loadgen(t, "", args...)
		if out.code != exitFine || !strings.Contains(out.out, "ratio_to_limit ") {
			t.Fatalf("%+v", out)
		}
		r, err := report.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		first := map[pair.Door]string{pair.Producer: pipelineName}[door]
		if first == "" {
			first = ownersName
		}
		if len(r.LimitRows) != 2 || r.LimitRows[0].Name != first || r.Verify == nil || !r.Verify.OK || r.Events != 4000 {
			t.Errorf("%+v", r)
		}
		ratios := stats.Ratios(r.Sample(engineName).Rounds, r.Sample(first).Rounds)
		want := stats.SpreadOf(ratios)
		if r.RatioToLimit != want.Median || r.LimitRows[0].Ratio != want || len(ratios) != 2 || !slices.Equal(r.Sample(ratioName).Rounds, ratios) {
			t.Errorf("ratio %v, %+v, want %+v", r.RatioToLimit, r.LimitRows[0], want)
		}
		text, err := os.ReadFile(name)
		if err != nil || !strings.Contains(string(text), `"ratio_to_limit": `) {
			t.Errorf("%v, %s", err, text)
		}
	}
}

// Goal: the engine that is durable takes its turns in the same rounds, and its ratio is
// to the engine, not to a limit row.
func TestLimitPairsTheDurableEngineWithItself(t *testing.T) {
	for _, door := range pair.Doors() {
		name := filepath.Join(t.TempDir(), "l.json")
		out := loadgen(t, "", append([]string{"limit", "--durable", "--door", string(door), "--json", name}, tiny...)...)
		if out.code != exitFine || !strings.Contains(out.out, "of the engine, synced at every group commit") {
			t.Fatalf("%+v", out)
		}
		r, err := report.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		durable := r.Sample(durableAck)
		if durable == nil || r.Durable == nil || len(r.LimitRows) != 2 {
			t.Fatalf("%+v", r.Rounds)
		}
		want := stats.SpreadOf(stats.Ratios(durable.Rounds, r.Sample(engineName).Rounds))
		if len(durable.Rounds) != 2 || r.Durable.Ratio != want {
			t.Errorf("%+v, want %+v", r.Durable, want)
		}
	}
}

func TestLimitLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	if r := loadgen(t, "", append([]string{"limit", "--dir", dir}, tiny...)...); r.code != exitFine {
		t.Fatalf("%+v", r)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// resultFile stores a result with one sample.
func resultFile(t *testing.T, sample report.Sample) string {
	t.Helper()
	r := report.Result{Schema: report.Schema, Rounds: report.Rounds{Samples: []report.Sample{sample}, RatioToLimit: 1}}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "r.json", string(text))
}

func TestDriftIsToldAndDoesNotFail(t *testing.T) {
	stored := resultFile(t, report.Sample{Name: ratioName, Rounds: []float64{100, 101, 102, 103, 104}})
	args := append([]string{"limit", "--against", stored}, "--keys=300", "--events=2k", "--rounds=5")
	r := loadgen(t, "", args...)
	if r.code != exitFine || !strings.Contains(r.out, "ratio_to_limit 102.000 -> ") || !strings.Contains(r.out, "(p=0.008 n=5+5)") ||
		!strings.Contains(r.out, "the count of CPUs differs") {
		t.Errorf("%+v", r)
	}
}

func TestCompareFailsOnlyBeyondItsLimitAndChance(t *testing.T) {
	base := []float64{100, 101, 102, 103, 104}
	scaled := func(by float64) []float64 {
		list := slices.Clone(base)
		for i := range list {
			list[i] *= by
		}
		return list
	}
	for name, c := range map[string]struct {
		after []float64
		less  bool
		limit string
		code  int
	}{
		"worse":                  {scaled(0.8), false, "5%", exitLimit},
		"a little worse":         {scaled(0.8), false, "25%", exitFine},
		"no limit":               {scaled(0.8), false, "", exitFine},
		"better":                 {scaled(1.2), false, "5%", exitFine},
		"longer times":           {scaled(1.2), true, "5%", exitLimit},
		"shorter times":          {scaled(0.8), true, "5%", exitFine},
		"chance":                 {[]float64{60, 90, 95, 140, 150}, false, "5%", exitFine},
		"too few rounds to tell": {[]float64{60}, false, "5%", exitLimit},
	} {
		args := []string{"compare", resultFile(t, report.Sample{Name: "a", Rounds: base, LessIsBetter: c.less}),
			resultFile(t, report.Sample{Name: "a", Rounds: c.after, LessIsBetter: c.less})}
		if c.limit != "" {
			args = append(args, "--limit", c.limit)
		}
		if r := loadgen(t, "", args...); r.code != c.code || !strings.Contains(r.out, "102") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestCompareJoinsFilesOfOneSide(t *testing.T) {
	files := func(values ...float64) string {
		var names []string
		for _, v := range values {
			names = append(names, resultFile(t, report.Sample{Name: "a", Rounds: []float64{v}}))
		}
		return strings.Join(names, ",")
	}
	r := loadgen(t, "", "compare", files(1, 2, 3, 4), files(5, 6, 7, 8))
	if r.code != exitFine || !strings.Contains(r.out, "(p=0.029 n=4+4)") {
		t.Errorf("%+v", r)
	}
}

func TestCompareReadsSingleRuns(t *testing.T) {
	name := filepath.Join(t.TempDir(), "r.json")
	if r := loadgen(t, "", "run", "--keys=10", "--events=1k", "--quiet", "--json", name); r.code != exitFine {
		t.Fatalf("%+v", r)
	}
	r := loadgen(t, "", "compare", name, name, "--limit=1%")
	if r.code != exitFine || !strings.Contains(r.out, "rate events/s") || !strings.Contains(r.out, "p99 us") || !strings.Contains(r.out, "+0.0%") {
		t.Errorf("%+v", r)
	}
}

func TestWrongContestsAreToldInOneSentence(t *testing.T) {
	file := writeFile(t, "f", "x")
	a, b := resultFile(t, report.Sample{Name: "a", Rounds: []float64{1}}), resultFile(t, report.Sample{Name: "b", Rounds: []float64{1}})
	for name, c := range map[string]wrong{
		"no rounds":      {[]string{"limit", "--rounds=0"}, exitUsage, "--rounds"},
		"no events":      {[]string{"limit", "--events=0"}, exitUsage, "--events"},
		"no keys":        {[]string{"limit", "--keys=0"}, exitUsage, "--keys"},
		"too many keys":  {[]string{"limit", "--keys=900M", "--events=10"}, exitUsage, "fewer --keys"},
		"door":           {[]string{"limit", "--door=window"}, exitUsage, "producer"},
		"dist":           {[]string{"limit", "--dist=normal"}, exitUsage, "zipf:0.99"},
		"partitions":     {[]string{"limit", "--partitions=3"}, exitUsage, "power of two"},
		"long events":    {[]string{"limit", "--size=64"}, exitUsage, "sweep"},
		"short events":   {[]string{"limit", "--size=16"}, exitUsage, "32"},
		"never durable":  {[]string{"limit", "--sync=never", "--ack=durable"}, exitUsage, "durable"},
		"durable twice":  {[]string{"limit", "--durable", "--ack=durable", "--sync=commit"}, exitUsage, "--sync an interval"},
		"no directory":   {[]string{"limit", "--dir", filepath.Join(t.TempDir(), "none")}, exitUsage, "--dir"},
		"no result":      {[]string{"limit", "--against", file}, exitFailed, "not a result"},
		"missing result": {[]string{"limit", "--against", file + "x"}, exitUsage, "--against"},
		"no JSON":        {[]string{"limit", "--json", t.TempDir()}, exitUsage, "--json"},
		"one result":     {[]string{"compare", a}, exitUsage, "<new>"},
		"no such result": {[]string{"compare", a, a + "x"}, exitFailed, "no such file"},
		"text":           {[]string{"compare", a, file}, exitFailed, "not a result"},
		"other figures":  {[]string{"compare", a, b}, exitUsage, "no figure of the same name"},
		"no percentage":  {[]string{"compare", a, a, "--limit=5"}, exitUsage, "5%"},
		"no limit":       {[]string{"compare", a, a, "--limit=0%"}, exitUsage, "0%"},
	} {
		c.check(t, name)
	}
}
