package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/bench/profile"
)

// Goal: a profile is the same table whether a run prints it or it is read later, and
// its pages are written.
func TestProfileOfARunIsReadAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "p")
	run := loadgen(t, "", "run", "--keys=100k", "--events=500k", "--profile", dir, "--quiet")
	if run.code != exitFine {
		t.Fatalf("%+v", run)
	}
	file := filepath.Join(dir, profile.FileName)
	again := loadgen(t, "", "profile", file)
	table := func(o outcome) (lines []string) {
		for line := range strings.Lines(o.out) {
			if strings.Contains(line, " %  ") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	if again.code != exitFine || len(table(again)) == 0 || strings.Join(table(again), "") != strings.Join(table(run), "") {
		t.Errorf("%+v instead of %+v", again, run)
	}
	if _, err := os.Stat(filepath.Join(dir, profile.FlameName)); err != nil {
		t.Error(err)
	}
	page := filepath.Join(dir, "diff.html")
	diff := loadgen(t, "", "profile", "--diff", file, file, "--flame", page)
	if diff.code != exitFine || !strings.Contains(diff.out, "the two are the same") || !strings.Contains(diff.out, page) {
		t.Errorf("%+v", diff)
	}
	if _, err := os.Stat(page); err != nil {
		t.Error(err)
	}
}

func TestWrongProfilesAreToldInOneSentence(t *testing.T) {
	file := writeFile(t, "f", "x")
	for name, c := range map[string]wrong{
		"no profile":    {[]string{"profile"}, exitUsage, "file"},
		"other file":    {[]string{"profile", file}, exitUsage, "is not a profile"},
		"missing file":  {[]string{"profile", filepath.Join(t.TempDir(), "none")}, exitUsage, "no such file"},
		"other profile": {[]string{"profile", file, "--diff", file}, exitUsage, "is not a profile"},
	} {
		c.check(t, name)
	}
}
