package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/fsys"
)

// outcome is what a command line came to.
type outcome struct {
	code     int
	out, err string
}

// keyfold runs a command line in this process.
func keyfold(t *testing.T, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	code := start(&process{ctx: t.Context(), stdout: &out, stderr: &errs, args: args})
	return outcome{code, out.String(), errs.String()}
}

type session struct{ Clicks, LastPage int64 }

func sessions() *engine.Table[string, session, int64, struct{}] {
	return engine.Fold("sessions", func(_ *engine.Context[string], s *session, page int64) {
		s.Clicks, s.LastPage = s.Clicks+1, page
	})
}

// store makes a store with two keys and three events, and snapshots of it. It is closed.
func store(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	table := sessions()
	e, err := engine.Open(t.Context(), dir, engine.Options{Shards: 1, Partitions: 4}, table)
	for _, key := range []string{"ann", "bob", "ann"} {
		if err == nil {
			_, err = table.Do(t.Context(), key, 7)
		}
		if err == nil {
			err = e.Snapshot(context.Background())
		}
	}
	if err == nil {
		err = e.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// damage changes a byte in the middle of the last file that matches.
func damage(t *testing.T, pattern ...string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(pattern...))
	if err != nil || len(names) == 0 {
		t.Fatal(pattern, err)
	}
	name := names[len(names)-1]
	b, err := os.ReadFile(name)
	if err == nil {
		b[len(b)/2] ^= 1
		err = os.WriteFile(name, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// wants checks an outcome: its code, and words of its output and errors.
func (o outcome) wants(t *testing.T, what string, code int, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(o.out+o.err, word) {
			t.Errorf("%s: no %q in\n%s%s", what, word, o.out, o.err)
		}
	}
	if o.code != code || strings.Count(o.err, "\n") > 1 {
		t.Errorf("%s: code %d, want %d\n%s%s", what, o.code, code, o.out, o.err)
	}
}

func TestVerifyTellsWholeFromDamagedFromRefused(t *testing.T) {
	dir := store(t)
	keyfold(t, "verify", dir).wants(t, "whole", exitFine, "4 partitions", "sessions, version 0: 2 keys", "struct{Clicks int64; LastPage int64}", "verdict     whole")
	shard := filepath.Join(dir, "layout-0001", "shard-000")
	damage(t, shard, "snapshot", "*")
	keyfold(t, "verify", dir).wants(t, "a damaged snapshot", exitDamaged, "left out", "DAMAGED", "Open takes it")
	keyfold(t, "inspect", dir).wants(t, "a damaged snapshot", exitDamaged, "faults      1")
	damage(t, shard, "CURRENT")
	keyfold(t, "verify", dir).wants(t, "a damaged CURRENT", exitRefused, "refused", "CURRENT at offset", "Open refuses it")
	damage(t, dir, "MANIFEST")
	keyfold(t, "verify", dir).wants(t, "a damaged manifest", exitRefused, "refused", "MANIFEST at offset")
}

func TestVerifyAsJSON(t *testing.T) {
	dir := store(t)
	damage(t, dir, "layout-0001", "shard-000", "CURRENT")
	o := keyfold(t, "verify", "--json", dir)
	var v struct {
		Whole, Refused bool
		Why            string
		Tables         []struct{ Name, Key string }
		Faults         []struct{ Meaning, Path, Text string }
	}
	if err := json.Unmarshal([]byte(o.out), &v); err != nil || o.code != exitRefused || v.Whole || !v.Refused || !strings.Contains(v.Why, "CURRENT") ||
		len(v.Tables) != 2 || v.Tables[0].Key != "string" || len(v.Faults) != 1 || v.Faults[0].Meaning != "refused" {
		t.Errorf("%v, %v\n%s%s", v, err, o.out, o.err)
	}
}

func TestInspectShowsKeysAndEvents(t *testing.T) {
	dir := store(t)
	keyfold(t, "inspect", dir).wants(t, "the store", exitFine, "sessions, version 0: 2 keys", "shard 0")
	keyfold(t, "inspect", dir, "--table", "sessions").wants(t, "a table", exitFine,
		`key         "ann": {"Clicks":2,"LastPage":7}`, `key         "bob": {"Clicks":1,"LastPage":7}`, "2 of 2 keys")
	one := keyfold(t, "inspect", dir, "--table", "sessions", "--key", "bob", "--json")
	one.wants(t, "a key", exitFine, `"key":"bob","state":{"Clicks":1,"LastPage":7}`)
	if strings.Count(one.out, "\n") != 1 {
		t.Errorf("one key in JSON:\n%s", one.out)
	}
	keyfold(t, "inspect", dir, "--table", "sessions", "--key", "eve").wants(t, "no such key", exitFine, "do not have this key")
	keyfold(t, "inspect", dir, "--log").wants(t, "the log", exitFine, `sessions "ann": 7`)
	keyfold(t, "inspect", dir, "--log", "--json", "--table", "sessions", "--key", "ann").wants(t, "the log of a key", exitFine, `"kind":"event","table":"sessions"`, `"event":7`)
	keyfold(t, "inspect", dir, "--log", "--limit", "0").wants(t, "all of the log", exitFine, "event")
}

// What a new user does wrong is told in one line that says what to do.
func TestErrorsOfANewUserReadWell(t *testing.T) {
	dir := store(t)
	table := sessions()
	e, err := engine.Open(t.Context(), dir, engine.Options{}, table)
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"verify"}, {"inspect"}, {"inspect", "--table", "sessions"}, {"inspect", "--log"}} {
		keyfold(t, append(command, dir)...).wants(t, "an open store", exitFailed, "the store is open; close the program", "process")
		keyfold(t, append(command, dir+"x")...).wants(t, "no directory", exitFailed, "there is no store in "+dir+"x", "engine.Open")
		keyfold(t, append(command, filepath.Dir(dir))...).wants(t, "the parent", exitFailed, "there is no store in "+filepath.Dir(dir)+", but in "+dir)
		keyfold(t, append(command, filepath.Join(dir, "layout-0001"))...).wants(t, "a part of it", exitFailed, "no file MANIFEST")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	keyfold(t).wants(t, "no command", exitUsage, "keyfold --help")
	keyfold(t, "verify").wants(t, "no directory", exitUsage, "<dir>")
	keyfold(t, "inspect", dir, "--key", "ann").wants(t, "a key without a table", exitUsage, "--table")
	keyfold(t, "inspect", dir, "--limit", "-1", "--table", "sessions").wants(t, "a negative limit", exitUsage, "--limit")
	keyfold(t, "inspect", dir, "--table", "visits").wants(t, "another table", exitFailed, `no table "visits"; it has sessions`)
	if err := fsys.WriteSealed(fsys.OS(), filepath.Join(dir, "MANIFEST"), "KFMANIFE", 99, nil); err != nil {
		t.Fatal(err)
	}
	keyfold(t, "verify", dir).wants(t, "a newer format", exitRefused, "version 99", "newer")
	keyfold(t, "inspect", dir, "--log").wants(t, "a newer format", exitFailed, "version 99", "newer")
	keyfold(t, "--help").wants(t, "help", exitFine, "Exit code", "verify", "inspect")
}

func TestSalvageSaysWhatItDropsAndWritesOnlyWhenTold(t *testing.T) {
	dir := store(t)
	to := filepath.Join(t.TempDir(), "new")
	keyfold(t, "salvage", dir).wants(t, "a whole store", exitFine, "4 of 4 partitions without a loss, 3 events", "nothing was written")
	shard := filepath.Join(dir, "layout-0001", "shard-000")
	damage(t, shard, "snapshot", "*")
	damage(t, shard, "log", "*", "*")
	damage(t, shard, "CURRENT")
	keyfold(t, "salvage", dir, "--to", to).wants(t, "a damaged store", exitDamaged, "met ", "CURRENT is damaged", "snapshot", "without a loss that anything speaks of", "is not counted", "nothing was written")
	if _, err := os.Stat(to); err == nil {
		t.Errorf("it wrote without being told")
	}
	keyfold(t, "salvage", dir, "--write").wants(t, "no place to write to", exitUsage, "--to")
	keyfold(t, "salvage", dir, "--write", "--to", to).wants(t, "a damaged store, written", exitDamaged, "which opens")
	keyfold(t, "salvage", dir, "--write", "--to", to).wants(t, "a directory that is there", exitFailed, "is there already")
	keyfold(t, "verify", to).wants(t, "what was written", exitFine, "verdict     whole")
	keyfold(t, "salvage", dir, "--json").wants(t, "as JSON", exitDamaged, `"losses":`, `"notes": [`)
}

// Goal: the empty key can be asked for like any other, and is not all keys.
func TestTheEmptyKeyCanBeInspected(t *testing.T) {
	dir := store(t)
	empty := []string{"inspect", dir, "--table", "sessions", "--key", ""}
	keyfold(t, empty...).wants(t, "a table without it", exitFine, "do not have this key")
	table := sessions()
	e, err := engine.Open(t.Context(), dir, engine.Options{}, table)
	if err == nil {
		_, err = table.Do(t.Context(), "", 9)
	}
	if err == nil {
		err = e.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range [][]string{{"--json"}, {"--json", "--log"}} {
		o := keyfold(t, append(empty, more...)...)
		o.wants(t, "the empty key", exitFine, `"key":""`)
		if strings.Count(o.out, "\n") != 1 {
			t.Errorf("%v: one key in JSON:\n%s", more, o.out)
		}
	}
	keyfold(t, "inspect", dir, "--key", "").wants(t, "the empty key without a table", exitUsage, "--table")
}

// A broken is an output that cannot be written.
type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

// Goal: what could not be written is told, with the code of what was found.
func TestOutputThatCannotBeWrittenIsTold(t *testing.T) {
	dir := store(t)
	full := broken{&os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.ENOSPC}}
	on := func(code int, args ...string) {
		t.Helper()
		var errs bytes.Buffer
		got := start(&process{ctx: t.Context(), stdout: full, stderr: &errs, args: args})
		if want := "keyfold: the output could not be written: write /dev/stdout: " + syscall.ENOSPC.Error() + "\n"; got != code || errs.String() != want {
			t.Errorf("%v: code %d, want %d; it says %q", args, got, code, errs.String())
		}
	}
	on(exitFailed, "verify", dir)
	on(exitFailed, "inspect", dir, "--table", "sessions", "--json")
	damage(t, dir, "MANIFEST")
	on(exitRefused, "verify", dir)
	on(exitRefused, "verify", dir, "--json")
	on(exitRefused, "inspect", dir)
}

// Goal: the exit code tells of damage also when nobody reads the rest.
func TestTheCodeTellsOfDamageWhenNobodyReads(t *testing.T) {
	dir := store(t)
	damage(t, dir, "MANIFEST")
	for _, command := range []string{"verify", "inspect"} {
		var errs bytes.Buffer
		code := start(&process{ctx: t.Context(), stdout: broken{syscall.EPIPE}, stderr: &errs, args: []string{command, dir}})
		if code != exitRefused || errs.Len() > 0 {
			t.Errorf("%s: code %d, want %d; it says %q", command, code, exitRefused, errs.String())
		}
	}
}

// Goal: a backup becomes a store that is whole, and a damaged one becomes none.
func TestRestoreMakesAStoreOfABackup(t *testing.T) {
	dir := store(t)
	table := sessions()
	e, err := engine.Open(t.Context(), dir, engine.Options{}, table)
	var backup bytes.Buffer
	if err == nil {
		err = e.Backup(t.Context(), &backup)
	}
	if err == nil {
		err = e.Close()
	}
	name := filepath.Join(t.TempDir(), "sessions.backup")
	if err == nil {
		err = os.WriteFile(name, backup.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "store")
	keyfold(t, "restore", name, to).wants(t, "a backup", exitFine, "sessions, version 0: 2 keys", "verdict     whole")
	keyfold(t, "restore", name, to+"1", "--json").wants(t, "as JSON", exitFine, `"whole": true`, `"sessions"`)
	keyfold(t, "restore", name, to).wants(t, "over a store", exitFailed, "not empty")
	damage(t, name)
	keyfold(t, "restore", name, to+"2").wants(t, "a damaged backup", exitFailed, "keyfold: restore: damaged backup")
	keyfold(t, "verify", to+"2").wants(t, "what is left of that", exitFailed, "no store")
}
