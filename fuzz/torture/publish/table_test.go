package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const rows = `{"row":"R10","name":"b","goal":"g","cycles":1,"checked":2,"violations":0,"seconds":1}
{"row":"R2","name":"a|x","goal":"g","cycles":1000,"checked":1234567,"violations":0,"seconds":1,"system":"ext4"}

{"row":"R2","name":"a|x","goal":"g","cycles":500,"checked":1,"violations":0,"seconds":2,"system":"ext4"}
{"row":"S1","name":"c","goal":"g","cycles":0,"checked":0,"violations":0,"seconds":0,"skipped":"no root"}
`

func TestEqualRowsAreAddedUpAndInOrder(t *testing.T) {
	table, err := read(rows)
	if err != nil {
		t.Fatal(err)
	}
	text := table.text("Here.")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, want := range []string{
		"| R2 | a/x | g | ext4 | 1,500 | 1,234,568 | 0 |  |",
		"| R10 | b | g |  | 1 | 2 | 0 |  |",
		"| S1 | c | g |  | 0 | 0 | 0 | 1: no root |",
	} {
		if got := lines[len(lines)-3+i]; got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
	if !strings.Contains(text, "1,501 cycles, 1,234,570 acknowledged events looked for, **0 violations**, 1 tests skipped") {
		t.Error(text)
	}
}

func TestTableReplacesTheOneBefore(t *testing.T) {
	dir := t.TempDir()
	page, file := filepath.Join(dir, "page"), filepath.Join(dir, "rows")
	write(t, page, "above\n"+beginMarker+"\nold\n"+endMarker+"\nbelow\n")
	write(t, file, rows)
	for range 2 {
		if err := publish(file, page); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	s := string(text)
	if !strings.HasPrefix(s, "above\n") || !strings.HasSuffix(s, "\nbelow\n") || strings.Contains(s, "old") || strings.Count(s, "| R10 |") != 1 {
		t.Error(s)
	}
}

func TestMissedGoalsFailWhenTheTableIsWritten(t *testing.T) {
	dir := t.TempDir()
	page, file := filepath.Join(dir, "page"), filepath.Join(dir, "rows")
	write(t, page, beginMarker+endMarker)
	write(t, file, `{"row":"R1","name":"n","goal":"g","violations":2}`)
	if err := publish(file, page); err == nil || !strings.Contains(err.Error(), "R1") {
		t.Error(err)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "**2 violations**") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestPageWithoutAPlaceIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	page, file := filepath.Join(dir, "page"), filepath.Join(dir, "rows")
	write(t, page, "nothing")
	write(t, file, rows)
	if err := publish(file, page); err == nil {
		t.Error("no error")
	}
	if text, err := os.ReadFile(page); err != nil || string(text) != "nothing" {
		t.Errorf("%s, %v", text, err)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
