package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
)

// alarms is a table with everything that is kept beside keys and states.
func alarms() *engine.Table[string, session, int64, struct{}] {
	spec := sessions().Spec()
	spec.Name, spec.Once, spec.TTL = "alarms", engine.Once{IDs: 100}, engine.TTL{Idle: 1000 * time.Hour}
	spec.Apply = func(c *engine.Context[string], s *session, hours int64) struct{} {
		s.Clicks++
		c.SetTimer(c.Now().Add(time.Duration(hours) * time.Hour))
		return struct{}{}
	}
	spec.OnTimer = func(*engine.Context[string], *session) {}
	return engine.NewTable(spec)
}

// kept makes a closed store with history, a table of alarms, and one that is dropped.
func kept(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	o := engine.Options{Shards: 1, Partitions: 4, KeepLog: engine.KeepLog{Bytes: 1 << 20}}
	old, table := sessions(), alarms()
	e, err := engine.Open(t.Context(), dir, o, old, table)
	if err == nil {
		_, err = old.Do(t.Context(), "ann", 7)
	}
	if err == nil {
		err = e.Close()
	}
	if err == nil {
		e, err = engine.Open(t.Context(), dir, o, engine.Dropped("sessions"), table)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := table.Producer(engine.ProducerOptions[string, int64]{Name: "clicks"})
	if err == nil {
		err = p.Send(t.Context(), "eve", 2)
	}
	if err == nil {
		err = p.Close(t.Context())
	}
	for i := range 6 {
		if err == nil {
			_, err = table.DoOnce(t.Context(), engine.EventIDOf(fmt.Sprint(i)), fmt.Sprint("key-", i%3), int64(100*(1+i%3)))
		}
		if err == nil && i%2 == 1 {
			err = e.Snapshot(t.Context())
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

// Goal: what a store has beside keys and states is shown, and history, and what was dropped.
func TestInspectShowsWhatIsKeptBesideKeys(t *testing.T) {
	dir := kept(t)
	keyfold(t, "inspect", dir).wants(t, "the store", exitFine, "sessions, version 0: dropped", "alarms, version 0: 4 keys",
		"4 keys with times, 6 ids of events, 1 position of a stream", "kept as history")
	keyfold(t, "verify", dir, "--json").wants(t, "as JSON", exitFine, `"timed": 4`, `"ids": 6`, `"origins": 1`, `"dropped": true`, `"kept": true`)
	one := keyfold(t, "inspect", dir, "--table", "alarms", "--key", "key-2")
	one.wants(t, "a key", exitFine, `key         "key-2": {"Clicks":2,"LastPage":0}`)
	found := regexp.MustCompile(`; timer at (.*); last event at (.*)\n`).FindStringSubmatch(one.out)
	if found == nil {
		t.Fatalf("no times in\n%s", one.out)
	}
	timer, err1 := time.Parse(time.DateTime, found[1])
	touched, err2 := time.Parse(time.DateTime, found[2])
	if after := timer.Sub(touched); err1 != nil || err2 != nil || after != 300*time.Hour {
		t.Errorf("the timer is due %v after the event: %v, %v\n%s", after, err1, err2, one.out)
	}
	keyfold(t, "inspect", dir, "--table", "alarms", "--json").wants(t, "keys in JSON", exitFine, `"timer":"2`, `"touched":"2`)
	log := keyfold(t, "inspect", dir, "--log", "--table", "alarms", "--limit", "0", "--json")
	if events := strings.Count(log.out, `"kind":"event"`); log.code != exitFine || events != 7 {
		t.Errorf("%d events in the log with its history, want 7\n%s%s", events, log.out, log.err)
	}
}

// Goal: damage of history hides nothing else, and is told.
func TestDamagedHistoryIsLeftOutOfTheLogAndTold(t *testing.T) {
	dir := kept(t)
	logs := filepath.Join(dir, "layout-0001", "shard-000", "log")
	damage(t, logs, "*1", "*") // the oldest generation
	log := keyfold(t, "inspect", dir, "--log", "--table", "alarms", "--limit", "0", "--json")
	log.wants(t, "damaged history", exitFailed, "is damaged at offset", `"kind":"event"`)
	keyfold(t, "verify", dir).wants(t, "damaged history", exitDamaged, "spare")
}
