package profile

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

// labelled is a whole profile: two shards, and a function that belongs to none. grown
// is the time of the first.
func labelled(grown int64) *profile.Profile {
	p := &profile.Profile{
		SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}},
		PeriodType: &profile.ValueType{Type: "cpu", Unit: "nanoseconds"},
		DocURL:     "https://example.org/help",
	}
	add := func(name string, nanos int64, labels map[string][]string) {
		id := uint64(len(p.Function) + 1)
		f := &profile.Function{ID: id, Name: name}
		l := &profile.Location{ID: id, Line: []profile.Line{{Function: f}}}
		p.Function, p.Location = append(p.Function, f), append(p.Location, l)
		p.Sample = append(p.Sample, &profile.Sample{Location: []*profile.Location{l}, Value: []int64{1, nanos}, Label: labels})
	}
	add("example.org/k/shard.apply", grown, map[string][]string{"shard": {"shard-00"}, "stage": {"apply"}})
	add("example.org/k/wal.sync", 1e9, map[string][]string{"shard": {"shard-01"}, "stage": {"sync"}})
	add("runtime.idle", 2e9, nil)
	return p
}

func flame(t *testing.T, p, base *profile.Profile) string {
	t.Helper()
	var page bytes.Buffer
	if err := Flame(&page, p, base); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

// reference is what would make a browser ask for another file.
var reference = regexp.MustCompile(`<link|<script[^>]+src=|<img|@import|url\(["']?[^"'d#]|https?://[^" ]*`)

// drawing is the name of SVG, not an address.
const drawing = "http://www.w3.org/2000/svg"

func TestFlameGraphNeedsNothingButItself(t *testing.T) {
	page := flame(t, labelled(3e9), nil)
	for _, found := range reference.FindAllString(page, -1) {
		if !strings.HasPrefix(found, drawing) {
			t.Errorf("the page refers to %s", found)
		}
	}
	for _, want := range []string{"<!DOCTYPE html>", "stackViewer(", `"shard-00"`, `"shard-01"`, `"sync"`, `"(other)"`, "example.org/k/wal.sync", serverOnly} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

// Goal: pprof keeps its settings in globals, and none of one page shows in the next.
func TestFlameGraphDoesNotDependOnThoseBefore(t *testing.T) {
	p := labelled(3e9)
	before := flame(t, p, nil)
	diff := flame(t, p, labelled(1e9))
	if diff == before || !strings.Contains(diff, "shard.apply") {
		t.Error("the page of a difference is that of a profile")
	}
	if after := flame(t, p, nil); after != before {
		t.Error("a page after that of a difference is another one")
	}
	if p.DocURL == "" || p.Sample[2].Label != nil {
		t.Error("the profile was changed")
	}
}

func TestDifferenceIsInPartsOfTheWhole(t *testing.T) {
	after := labelled(6e9)
	for _, s := range after.Sample {
		s.Value[1] *= 10 // a longer run
	}
	c, err := Compare(labelled(1e9), after)
	if err != nil || c.SecondsBefore != 4 || c.SecondsAfter != 90 {
		t.Fatalf("%+v, %v", c, err)
	}
	first := c.Functions[0]
	if first.Name != "example.org/k/shard.apply" || first.Before != 0.25 || first.After != 6.0/9 {
		t.Errorf("%+v", c.Functions)
	}
	if len(c.Functions) != 3 || len(c.ShardStages) != 3 || c.ShardStages[1].Points() >= 0 {
		t.Errorf("%+v", c)
	}
}

func TestChangesNameWhatIsNewAndWhatIsGone(t *testing.T) {
	got := changes([]Share{{Name: "gone", Part: 0.6}, {Name: "stays", Part: 0.4}}, []Share{{Name: "new", Part: 0.6}, {Name: "stays", Part: 0.4}})
	want := []Change{{"gone", 0.6, 0}, {"new", 0, 0.6}, {"stays", 0.4, 0.4}}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("%+v", got)
	}
}

func TestReadTellsWhatIsNoProfileOfTheCPU(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	heap := labelled(1)
	heap.SampleType[1].Type = "inuse_space"
	other := filepath.Join(dir, "heap.pb.gz")
	if err := write(heap, other); err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]string{
		text: "is not a profile", other: "-cpuprofile", filepath.Join(dir, "none"): "no such file", dir: "directory",
	} {
		if _, err := Read(name); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStoredProfileIsReadAndDrawn(t *testing.T) {
	name := filepath.Join(t.TempDir(), FileName)
	if err := write(labelled(1e9), name); err != nil {
		t.Fatal(err)
	}
	p, err := Read(name)
	if err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(t.TempDir(), FlameName)
	if err := WriteFlame(page, p, nil); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.HasSuffix(strings.TrimSpace(string(text)), "</html>") {
		t.Error(err)
	}
}
