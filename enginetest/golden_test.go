package enginetest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/engine"
)

// Goal: a golden store opens for the table that wrote it, and one that has become another
// is told so.
func TestGoldenTellsWhatAnotherVersionMakesOfAStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "v1")
	r := &trial[account, basket, buy, int]{spec: good(), generate: generate, seed: 1}
	if err := r.writeGolden(dir); err != nil {
		t.Fatal(err)
	}
	if err := r.readGolden(dir, t.TempDir()); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		what, words string
		change      func(s *baskets)
	}{
		{"Apply means something else", "give the table another Version", func(s *baskets) {
			s.Apply = func(_ *engine.Context[account], s *basket, e buy) int { s.total -= e.Pieces; return 0 }
		}},
		{"Apply deletes what it kept", "is gone", func(s *baskets) {
			s.Apply = func(c *engine.Context[account], _ *basket, _ buy) int { c.Delete(); return 0 }
		}},
		{"another codec", "it does not open", func(s *baskets) { s.EventCodec = alone{} }},
		{"another version", "it does not open", func(s *baskets) { s.Version++ }},
	} {
		spec := good()
		c.change(&spec)
		other := &trial[account, basket, buy, int]{spec: spec, generate: generate, seed: 1}
		if err := other.readGolden(dir, t.TempDir()); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, want words like %q", c.what, err, c.words)
		}
	}
	Golden(t, engine.NewTable(good()), generate, filepath.Dir(dir))
}
