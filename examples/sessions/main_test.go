package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyfold/keyfold/enginetest"
)

// Goal: a session ends once, when its gap has passed, whatever happens to the process.
// Method: clicks with pauses on a clock that the test moves, and crashes in between.
func TestSessionsEndOnceThroughCrashes(t *testing.T) {
	const gap = 30 * time.Minute
	table := users(gap)
	store := enginetest.Open(t, table)
	click := func(user string) {
		t.Helper()
		if _, err := table.Do(t.Context(), user, Click{Page: 7}); err != nil {
			t.Fatal(err)
		}
	}
	for session := range 3 {
		for range 4 {
			click("ann")
			store.Advance(gap / 2)
			store.CrashAndReopen(enginetest.PowerLostTorn)
		}
		click("bob")
		store.Advance(gap)
		if ann, _, err := table.Get(t.Context(), "ann"); err != nil || ann.Sessions != int64(session+1) || ann.Open.Events != 0 || ann.Clicks != 4*ann.Sessions {
			t.Fatalf("session %d: %+v, %v", session, ann, err)
		}
	}
	bob, _, err := table.Get(t.Context(), "bob")
	if err != nil || bob.Sessions != 3 || bob.Longest != 0 {
		t.Fatalf("%+v, %v", bob, err)
	}
	store.Advance(91 * 24 * time.Hour)
	if _, there, err := table.Get(t.Context(), "bob"); there || err != nil {
		t.Fatalf("bob is there after 91 days: %v, %v", there, err)
	}
}

func TestClicksOfTheExampleMakeSessions(t *testing.T) {
	var out strings.Builder
	if err := run(context.Background(), filepath.Join(t.TempDir(), "store"), nil, &out, 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), ", 0 that go on") || !strings.Contains(out.String(), "1 sessions") {
		t.Fatal(out.String())
	}
}

func Example() {
	dir, err := os.MkdirTemp("", "sessions")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	in := strings.NewReader(`{"date":"2001-01-01T06:00:00Z","origin":"ORD","destination":"LAX"}
{"date":"2001-01-01T11:00:00Z","origin":"ORD","destination":"LAX"}
{"date":"2001-01-01T12:00:00Z","origin":"LAS","destination":"PHL"}
{"date":"2001-01-02T06:00:00Z","origin":"ORD","destination":"LAX"}
`)
	if err := run(context.Background(), filepath.Join(dir, "store"), in, os.Stdout, 0); err != nil {
		panic(err)
	}
	// Output:
	// 2 keys, 1 sessions that ended with 2 events, 2 that go on
	// ORD-LAX: 1 sessions, 2 events, the longest took 5h0m0s
	// LAS-PHL: 0 sessions, 0 events, the longest took 0s
}
