package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
)

func TestWebPagesShowStoreAndRuntime(t *testing.T) {
	ctx := context.Background()
	target, err := store.Open(ctx, store.Options{Dir: filepath.Join(t.TempDir(), "s"), EventBytes: 16, Ack: "written"})
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close(ctx)
	for range 7 {
		if err := target.Do(ctx, workload.Event{Key: []byte("secret"), Value: 1}); err != nil {
			t.Fatal(err)
		}
	}
	handler, err := pages(target)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/": "/debug/statsviz/", "/metrics": `keyfold_events_total{shard="0"} 7`, "/debug/pprof/": "goroutine",
		"/debug/statsviz/": "statsviz", "/debug/pprof/cmdline": "loadgen",
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if body := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(body, want) || strings.Contains(body, "secret") {
			t.Errorf("%s: %d, %.200q; want %q", path, w.Code, body, want)
		}
	}
}

func TestWebPagesStayOnThisMachineUnlessTold(t *testing.T) {
	for flag, want := range map[string]string{
		"6060": "127.0.0.1:6060", ":6060": "127.0.0.1:6060", "0.0.0.0:80": "0.0.0.0:80", "[::1]:80": "[::1]:80",
	} {
		if have := listenAddress(flag); have != want {
			t.Errorf("--http %s listens on %s, want %s", flag, have, want)
		}
	}
	r := loadgen(t, "", "run", "--events=2k", "--keys=1k", "--quiet", "--http=0")
	if r.code != exitFine || !strings.Contains(r.err, "http://127.0.0.1:") {
		t.Errorf("%+v", r)
	}
	if r := loadgen(t, "", "run", "--events=2k", "--keys=1k", "--quiet", "--http=127.0.0.1:nowhere"); r.code == exitFine || !strings.Contains(r.err, "--http") {
		t.Errorf("%+v", r)
	}
}
